/*
 * Calls of w10/checkpoint.h.
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

enum { HANDLES = 2 };
#include "handles.h"
#include "kv_replies.h"
#include "wal_args.h"
#include "w10/checkpoint.h"

static struct kv_log logs[HANDLES];

/* kv_log_open HANDLE DIR: the segment, and every pair of the map. */
static void call_open(char **args)
{
    int handle = handle_of(args[0]);
    struct kv_log *log = &logs[handle];

    /* Whatever stands in the struct before must not matter. */
    memset(log, 0x5A, sizeof(*log));
    int ret = kv_log_open(log, args[1]);
    handle_is_open[handle] = ret == 0;
    reply(" ret=%d", ret);
    if (ret == 0) {
        reply(" segment=%llu", (unsigned long long)log->segment);
        kv_each(&log->kv, reply_pair, NULL);
    }
}

/* kv_log_append HANDLE TYPE KEY VALUE: what it returned, and the handle's error. */
static void call_append(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    struct given_record given = given_record(args + 1);
    int ret = kv_log_append(&logs[handle], &given.record);
    reply(" ret=%d error=%d", ret, logs[handle].error);
    given_record_free(&given);
}

/* kv_log_checkpoint HANDLE */
static void call_checkpoint(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    int ret = kv_log_checkpoint(&logs[handle]);
    reply(" ret=%d error=%d segment=%llu", ret, logs[handle].error,
          (unsigned long long)logs[handle].segment);
}

/* kv_log_map HANDLE: every pair of the map, as it is now. */
static void call_map(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    reply(" ret=0");
    kv_each(&logs[handle].kv, reply_pair, NULL);
}

/* kv_log_close HANDLE */
static void call_close(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    handle_is_open[handle] = 0;
    reply(" ret=%d", kv_log_close(&logs[handle]));
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
