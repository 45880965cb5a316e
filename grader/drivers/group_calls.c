/*
 * Calls of w10/group_commit.h and of w10/wal_batch.h.
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "w10/group_commit.h"

enum { HANDLES = 2 };

static struct wal_group groups[HANDLES];
static int is_open[HANDLES];

static struct wal_group *group_of(const char *arg)
{
    long i = number_of(arg);

    if (i < 0 || i >= HANDLES)
        driver_fail("no such handle");
    return &groups[i];
}

/* A script cannot tell that an open failed: calls on what is not open are left
 * out, and say so. */
static int skipped(const struct wal_group *group)
{
    if (!is_open[group - groups])
        reply(" skipped=1");
    return !is_open[group - groups];
}

/* wal_group_open HANDLE PATH */
static void call_open(char **args)
{
    struct wal_group *group = group_of(args[0]);

    /* Whatever stands in the struct before must not matter. (It is large: not
     * where the script runs a thousandfold.) */
    if (driver_input == driver_run)
        memset(group, 0x5A, sizeof(*group));
    int ret = wal_group_open(group, args[1]);
    is_open[group - groups] = ret == 0;
    reply(" ret=%d", ret);
}

/* wal_group_commit HANDLE TYPE KEY VALUE. May be called after a close. */
static void call_commit(char **args)
{
    struct wal_group *group = group_of(args[0]);
    size_t key_len, value_len;

    if (skipped(group))
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
    reply(" ret=%d", wal_group_commit(group, &record));
    free(value);
    free(key);
}

/* wal_group_close HANDLE */
static void call_close(char **args)
{
    struct wal_group *group = group_of(args[0]);

    if (!skipped(group))
        reply(" ret=%d", wal_group_close(group));
}

static void show_pair(void *arg, const struct kv_entry *entry)
{
    (void)arg;
    reply_bytes("k", entry->key, entry->key_len);
    reply_bytes("v", entry->value, entry->value_len);
}

/* wal_batch_recover PATH: what was found, and every pair of the map. */
static void call_recover(char **args)
{
    struct wal_recovery found = { 99, 99, 99 };
    struct kv kv;

    kv_init(&kv);
    int ret = wal_batch_recover(args[0], &kv, &found);
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
    { "wal_group_open", call_open },
    { "wal_group_commit", call_commit },
    { "wal_group_close", call_close },
    { "wal_batch_recover", call_recover },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
