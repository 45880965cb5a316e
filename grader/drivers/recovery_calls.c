/*
 * Calls of w10/wal_recovery.h.
 * SPDX-License-Identifier: MIT
 */
#include "driver.h"
#include "kv_replies.h"

/* wal_recover PATH [KEY VALUE]: into a map that holds that pair already. */
static void call_recover(char **args)
{
    reply_recovery(args, wal_recover);
}

static const struct call calls[] = {
    { "wal_recover", call_recover },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
