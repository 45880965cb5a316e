/*
 * What a script is told of a recovery and of a map.
 * SPDX-License-Identifier: MIT
 */
#ifndef KV_REPLIES_H
#define KV_REPLIES_H

#include <errno.h>
#include <stdlib.h>

#include "driver.h"
#include "w10/kv.h"
#include "w10/wal_recovery.h"

static inline void reply_pair(void *arg, const struct kv_entry *entry)
{
    (void)arg;
    reply_bytes("k", entry->key, entry->key_len);
    reply_bytes("v", entry->value, entry->value_len);
}

static inline void put_pair(struct kv *kv, char **args)
{
    size_t key_len, value_len;
    uint8_t *key = bytes_of(args[0], &key_len);
    uint8_t *value = bytes_of(args[1], &value_len);

    if (kv_set(kv, key, key_len, value, value_len) < 0)
        driver_fail("out of memory");
    free(value);
    free(key);
}

/* Recovers PATH, into a map that holds KEY and VALUE if there are any: what was
 * found, whether that was written at all (99 records take more than 99 bytes),
 * and every pair of the map. */
static inline void
reply_recovery(char **args,
               int (*recover)(const char *, struct kv *, struct wal_recovery *))
{
    struct wal_recovery found = { 99, 99, 99 };
    struct kv kv;

    kv_init(&kv);
    if (args[1])
        put_pair(&kv, args + 1);
    int ret = recover(args[0], &kv, &found);
    reply(" ret=%d", ret);
    if (ret == 0 || ret == -EBADMSG)
        reply(" records=%llu valid=%llu cut=%llu",
              (unsigned long long)found.records,
              (unsigned long long)found.valid_bytes,
              (unsigned long long)found.cut_bytes);
    if ((ret == 0 || ret == -EBADMSG) && found.records == 99 &&
        found.valid_bytes == 99 && found.cut_bytes == 99)
        reply(" unwritten=1");
    kv_each(&kv, reply_pair, NULL);
    kv_free(&kv);
}

#endif
