/*
 * Calls of w10/wal_recovery.h.
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>

#include "driver.h"
#include "w10/kv.h"
#include "w10/wal_recovery.h"

static void show_pair(void *arg, const struct kv_entry *entry)
{
    (void)arg;
    reply_bytes("k", entry->key, entry->key_len);
    reply_bytes("v", entry->value, entry->value_len);
}

/* wal_recover PATH: what was found, and every pair of the map. */
static void call_recover(char **args)
{
    struct wal_recovery found = { 99, 99, 99 };
    struct kv kv;

    kv_init(&kv);
    int ret = wal_recover(args[0], &kv, &found);
    reply(" ret=%d", ret);
    if (ret == 0 || ret == -EBADMSG)
        reply(" records=%llu valid=%llu cut=%llu",
              (unsigned long long)found.records,
              (unsigned long long)found.valid_bytes,
              (unsigned long long)found.cut_bytes);
    kv_each(&kv, show_pair, NULL);
    kv_free(&kv);
}

static const struct call calls[] = {
    { "wal_recover", call_recover },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
