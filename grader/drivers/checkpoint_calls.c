/*
 * Calls of w10/checkpoint.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "w10/checkpoint.h"

enum { HANDLES = 2 };

static struct kv_log logs[HANDLES];
static int is_open[HANDLES];

static struct kv_log *log_of(const char *arg)
{
    long i = number_of(arg);

    if (i < 0 || i >= HANDLES)
        driver_fail("no such handle");
    return &logs[i];
}

/* A script cannot tell that an open failed: calls on what is not open are left
 * out, and say so. */
static int skipped(const struct kv_log *log)
{
    if (!is_open[log - logs])
        reply(" skipped=1");
    return !is_open[log - logs];
}

static void show_pair(void *arg, const struct kv_entry *entry)
{
    (void)arg;
    reply_bytes("k", entry->key, entry->key_len);
    reply_bytes("v", entry->value, entry->value_len);
}

/* kv_log_open HANDLE DIR: the segment, and every pair of the map. */
static void call_open(char **args)
{
    struct kv_log *log = log_of(args[0]);

    /* Whatever stands in the struct before must not matter. */
    memset(log, 0x5A, sizeof(*log));
    int ret = kv_log_open(log, args[1]);
    is_open[log - logs] = ret == 0;
    reply(" ret=%d", ret);
    if (ret == 0) {
        reply(" segment=%llu", (unsigned long long)log->segment);
        kv_each(&log->kv, show_pair, NULL);
    }
}

/* kv_log_append HANDLE TYPE KEY VALUE */
static void call_append(char **args)
{
    struct kv_log *log = log_of(args[0]);
    size_t key_len, value_len;

    if (skipped(log))
        return;
    uint8_t *key = bytes_of(args[2], &key_len);
    uint8_t *value = bytes_of(args[3], &value_len);
    struct wal_record record = {
        .type = (uint8_t)number_of(args[1]),
        .key = key,
        .key_len = (uint16_t)key_len,
        .value = value_len ? value : NULL,
        .value_len = (uint16_t)value_len,
    };
    reply(" ret=%d", kv_log_append(log, &record));
    free(value);
    free(key);
}

/* kv_log_checkpoint HANDLE */
static void call_checkpoint(char **args)
{
    struct kv_log *log = log_of(args[0]);

    if (skipped(log))
        return;
    int ret = kv_log_checkpoint(log);
    reply(" ret=%d segment=%llu", ret, (unsigned long long)log->segment);
}

/* kv_log_map HANDLE: every pair of the map, as it is now. */
static void call_map(char **args)
{
    struct kv_log *log = log_of(args[0]);

    if (skipped(log))
        return;
    reply(" ret=0");
    kv_each(&log->kv, show_pair, NULL);
}

/* kv_log_close HANDLE */
static void call_close(char **args)
{
    struct kv_log *log = log_of(args[0]);

    if (skipped(log))
        return;
    is_open[log - logs] = 0;
    reply(" ret=%d", kv_log_close(log));
}

static const struct call calls[] = {
    { "kv_log_open", call_open },
    { "kv_log_append", call_append },
    { "kv_log_checkpoint", call_checkpoint },
    { "kv_log_map", call_map },
    { "kv_log_close", call_close },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
