/*
 * Checkpoints: the snapshot is durable under its name before any segment goes.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "checkpoint.h"

#include <errno.h>

int kv_log_open(struct kv_log *log, const char *dir)
{
    (void)log;
    (void)dir;
    return -ENOSYS;
}

int kv_log_append(struct kv_log *log, const struct wal_record *record)
{
    (void)log;
    (void)record;
    return -ENOSYS;
}

int kv_log_checkpoint(struct kv_log *log)
{
    (void)log;
    return -ENOSYS;
}

int kv_log_close(struct kv_log *log)
{
    (void)log;
    return -ENOSYS;
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>

int main(void)
{
    static struct kv_log log;
    int err = kv_log_open(&log, "checkpoint_dir");

    printf("kv_log_open: %s\n", err ? strerror(-err) : "ok");
    return err ? 1 : 0;
}

#endif
