/*
 * Recovery: replay what is whole, cut what is torn, refuse what is corrupt.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_recovery.h"

#include <errno.h>

int wal_recover(const char *path, struct kv *kv,
                struct wal_recovery *found_out)
{
    (void)path;
    (void)kv;
    (void)found_out;
    return -ENOSYS;
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct kv kv;
    struct wal_recovery found;

    kv_init(&kv);
    int err = wal_recover("recovery.wal", &kv, &found);
    printf("wal_recover: %s\n", err ? strerror(-err) : "ok");
    kv_free(&kv);
    return err ? 1 : 0;
}

#endif
