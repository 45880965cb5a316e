/*
 * A writer that gives header and payload to writev(2) as two parts of one
 * write.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_writer.h"

#include <errno.h>

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Keeps the first error: from now on the handle only repeats it. */
static int poison(struct wal_writer *writer, int err)
{
    writer->error = err;
    return err;
}

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
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (len >= sizeof(dir))
        return -ENAMETOOLONG;
    memcpy(dir, path, len);
    dir[len] = '\0';
    if (len == 0)
        strcpy(dir, slash ? "/" : ".");

    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* A crash before this returns may leave the directory without the file. */
    int err = wal_sync_fd(fd);
    if (close(fd) < 0 && !err)
        err = -errno;
    return err;
}

int wal_open(struct wal_writer *writer, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0)
        return -errno;

    /* Also where the file was there already: its maker may have died here. */
    int err = wal_sync_dir(path);
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0 && !err)
        err = -errno;
    if (err) {
        close(fd); /* nothing was written through it: no error to lose */
        return err;
    }
    writer->fd = fd;
    writer->offset = (uint64_t)end;
    writer->error = 0;
    return 0;
}

/* The header and whatever follows it, in one call, then the rest. */
static int write_parts(int fd, uint8_t *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        size_t head = done < 11 ? 11 - done : 0;
        struct iovec parts[2] = {
            { bytes + done, head },
            { bytes + done + head, len - done - head },
        };
        ssize_t n = writev(fd, parts, 2);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    return 0;
}

int wal_append(struct wal_writer *writer, const struct wal_record *record)
{
    size_t len;

    assert(writer->fd >= 0);
    if (writer->error)
        return writer->error;

    int err = wal_record_encode(record, writer->scratch,
                                sizeof(writer->scratch), &len);
    if (err)
        return err;

    /* A crash from here on leaves any part of the record: recovery's work. */
    err = write_parts(writer->fd, writer->scratch, len);
    if (err)
        return poison(writer, err);
    /* Once this returns 0, no crash takes the record away. */
    err = wal_sync_fd(writer->fd);
    if (err)
        return poison(writer, err);

    writer->offset += len;
    return 0;
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
