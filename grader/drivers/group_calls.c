/*
 * Calls of w10/group_commit.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdatomic.h>
#include <string.h>

enum { HANDLES = 2 };
#include "handles.h"
#include "wal_args.h"
#include "w10/group_commit.h"

static struct wal_group groups[HANDLES];

/* wal_group_open HANDLE PATH */
static void call_open(char **args)
{
    int handle = handle_of(args[0]);
    struct wal_group *group = &groups[handle];

    /* Whatever stands in the struct before must not matter. (It is large: not
     * where the script runs a thousandfold.) */
    if (driver_input == driver_run)
        memset(group, 0x5A, sizeof(*group));
    int ret = wal_group_open(group, args[1]);
    handle_is_open[handle] = ret == 0;
    reply(" ret=%d", ret);
}

/* wal_group_commit HANDLE TYPE KEY VALUE. May be called after a close. */
static void call_commit(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    struct given_record given = given_record(args + 1);
    reply(" ret=%d", wal_group_commit(&groups[handle], &given.record));
    given_record_free(&given);
}

/* wal_group_close HANDLE */
static void call_close(char **args)
{
    int handle = handle_of(args[0]);

    if (!skipped(handle))
        reply(" ret=%d", wal_group_close(&groups[handle]));
}

void __real_wal_mark_put(uint8_t *mark, size_t batch_len, uint64_t synced);
void __wrap_wal_mark_put(uint8_t *mark, size_t batch_len, uint64_t synced);

/* Of the last mark. No order comes from it that would hide a race. */
static _Atomic long long marked = -1;

void __wrap_wal_mark_put(uint8_t *mark, size_t batch_len, uint64_t synced)
{
    atomic_store_explicit(&marked, (long long)synced, memory_order_relaxed);
    __real_wal_mark_put(mark, batch_len, synced);
}

/* marked: how many bytes the last mark said to be synced; -1 without a call of
 * wal_mark_put() */
static void call_marked(char **args)
{
    (void)args;
    reply(" synced=%lld",
          atomic_load_explicit(&marked, memory_order_relaxed));
}

static const struct call calls[] = {
    { "wal_group_open", call_open },
    { "wal_group_commit", call_commit },
    { "wal_group_close", call_close },
    { "marked", call_marked },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
