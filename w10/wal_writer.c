/*
 * The append side of the log: write all, sync, and only then say so.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_writer.h"

#include <errno.h>

int write_full(int fd, const void *buf, size_t len)
{
    (void)fd;
    (void)buf;
    (void)len;
    return -ENOSYS;
}

int wal_sync_fd(int fd)
{
    (void)fd;
    return -ENOSYS;
}

int wal_sync_dir(const char *path)
{
    (void)path;
    return -ENOSYS;
}

int wal_open(struct wal_writer *writer, const char *path)
{
    (void)writer;
    (void)path;
    return -ENOSYS;
}

int wal_append(struct wal_writer *writer, const struct wal_record *record)
{
    (void)writer;
    (void)record;
    return -ENOSYS;
}

int wal_close(struct wal_writer *writer)
{
    (void)writer;
    return -ENOSYS;
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>

int main(void)
{
    static struct wal_writer writer;
    int err = wal_open(&writer, "test.wal");

    printf("wal_open: %s\n", err ? strerror(-err) : "ok");
    return err ? 1 : 0;
}

#endif
