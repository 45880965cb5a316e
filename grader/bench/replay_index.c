/*
 * Makes of replay_wal.c what SQLite's recovery is: each record is verified, and
 * the map gets its place in the log, not its value.
 * SPDX-License-Identifier: MIT
 *
 * Linked with --wrap=kv_set --wrap=replay_count --wrap=replay_open, so that
 * wal_recover() is the same. There are only SETs in the log.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <unistd.h>

#include "bench.h"
#include "kv.h"
#include "replay.h"
#include "wal_record.h"

int __real_kv_set(struct kv *kv, const void *key, size_t key_len,
                  const void *value, size_t value_len);
void __real_replay_open(const char *path);
uint64_t __real_replay_count(void);

static const struct kv *indexed;
static const char *log_path;
static uint64_t end;

/* The key gets the offset of its record. */
int __wrap_kv_set(struct kv *kv, const void *key, size_t key_len,
                  const void *value, size_t value_len)
{
    uint64_t at = end;

    (void)value;
    indexed = kv;
    end += REPLAY_AROUND_VALUE_BYTES + value_len;
    return __real_kv_set(kv, key, key_len, &at, sizeof(at));
}

void __wrap_replay_open(const char *path)
{
    log_path = path;
    __real_replay_open(path);
}

static void look_up(void *arg, const struct kv_entry *entry)
{
    static uint8_t bytes[WAL_RECORD_MAX_BYTES];
    struct wal_record record;
    uint64_t at;
    size_t len;

    memcpy(&at, entry->value, sizeof(at));
    ssize_t n = pread(*(int *)arg, bytes, sizeof(bytes), (off_t)at);
    must(n < 0 || wal_record_decode(bytes, (size_t)n, &record, &len) !=
                      WAL_RECORD_OK,
         "no record where the index says");
    must(record.key_len != entry->key_len ||
             memcmp(record.key, entry->key, entry->key_len) != 0,
         "another record where the index says");
}

uint64_t __wrap_replay_count(void)
{
    int fd = open(log_path, O_RDONLY);

    must(fd < 0, log_path);
    kv_each(indexed, look_up, &fd);
    return __real_replay_count();
}
