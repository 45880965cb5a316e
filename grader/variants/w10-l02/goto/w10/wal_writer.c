/*
 * A writer in goto style: one exit a function, dirname(3) and fstat(2) in
 * place of our own.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_writer.h"

#include <errno.h>

#include <assert.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int write_full(int fd, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENOSPC; /* no error and no progress: do not spin */
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int wal_sync_fd(int fd)
{
    /* A crash before this returns 0 may take any of what was not synced. */
    while (fsync(fd) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int wal_sync_dir(const char *path)
{
    int err = -ENOMEM;
    int fd = -1;
    char *copy = strdup(path);

    if (!copy)
        goto out;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY);
    if (fd == -1)
        goto failed;
    if (fsync(fd) == -1)
        goto failed;
    err = 0;
    goto out;
failed:
    err = -errno;
out:
    if (fd != -1 && close(fd) == -1 && err == 0)
        err = -errno;
    free(copy);
    return err;
}

int wal_open(struct wal_writer *writer, const char *path)
{
    struct stat st;
    int err = 0;

    memset(writer, 0, sizeof(*writer));
    writer->fd = open(path, O_CREAT | O_APPEND | O_WRONLY,
                      S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
    if (writer->fd == -1)
        return -errno;
    if (fstat(writer->fd, &st) == -1) {
        err = -errno;
        goto failed;
    }
    writer->offset = (uint64_t)st.st_size;
    err = wal_sync_dir(path);
    if (err)
        goto failed;
    return 0;
failed:
    close(writer->fd);
    writer->fd = -1;
    return err;
}

int wal_append(struct wal_writer *writer, const struct wal_record *record)
{
    size_t len = 0;
    int err = writer->error;

    if (err)
        goto out;
    err = wal_record_encode(record, writer->scratch, sizeof(writer->scratch),
                            &len);
    if (err)
        goto out;
    if ((err = write_full(writer->fd, writer->scratch, len)) != 0)
        goto broken;
    if ((err = wal_sync_fd(writer->fd)) != 0)
        goto broken;
    writer->offset += len;
    goto out;
broken:
    writer->error = err;
out:
    return err;
}

int wal_close(struct wal_writer *writer)
{
    int err = writer->error;

    assert(writer->fd >= 0);
    /* Not after a failure: a sync that works now would prove nothing. A crash
     * here loses nothing: every append that returned 0 has been synced. */
    if (!err)
        err = wal_sync_fd(writer->fd);
    /* Never again, not even for EINTR: the descriptor is gone (close(2)). */
    if (close(writer->fd) < 0 && !err)
        err = -errno;
    writer->fd = -1;
    return err;
}

#ifndef NO_SELF_TEST

#include <stdio.h>

static int append(struct wal_writer *writer, uint8_t type, const char *key,
                  const char *value)
{
    uint64_t before = writer->offset;
    struct wal_record record = { .type = type,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint16_t)strlen(key),
                                 .value = (const uint8_t *)value,
                                 .value_len = (uint16_t)strlen(value) };
    int err = wal_append(writer, &record);

    if (err) {
        fprintf(stderr, "append %s: %s\n", key, strerror(-err));
        return err;
    }
    printf("append %s %s%s%s → %llu bytes\n", type == WAL_SET ? "SET" : "DEL",
           key, type == WAL_SET ? "=" : "", value,
           (unsigned long long)(writer->offset - before));
    return 0;
}

int main(void)
{
    static struct wal_writer writer; /* too large for a small stack */
    int err;

    if (unlink("test.wal") < 0 && errno != ENOENT) {
        fprintf(stderr, "unlink test.wal: %s\n", strerror(errno));
        return 1;
    }
    err = wal_open(&writer, "test.wal");
    if (err) {
        fprintf(stderr, "wal_open: %s\n", strerror(-err));
        return 1;
    }
    printf("wal_open: ok\n");
    if (append(&writer, WAL_SET, "foo", "bar") ||
        append(&writer, WAL_SET, "name", "alice") ||
        append(&writer, WAL_SET, "count", "42") ||
        append(&writer, WAL_DEL, "name", ""))
        return 1;
    err = wal_close(&writer);
    if (err) {
        fprintf(stderr, "wal_close: %s\n", strerror(-err));
        return 1;
    }
    printf("wal_close: ok\n");
    printf("total offset: %llu\n", (unsigned long long)writer.offset);
    return 0;
}

#endif
