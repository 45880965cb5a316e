/*
 * Calls of w10/wal_batch.h.
 * SPDX-License-Identifier: MIT
 */
#include "kv_replies.h"
#include "w10/wal_batch.h"

/* wal_batch_recover PATH */
static void call_recover(char **args)
{
    reply_recovery(args, wal_batch_recover);
}

static const struct call calls[] = {
    { "wal_batch_recover", call_recover },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
