/*
 * A writer with the record format and the checksum in the same file.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_writer.h"
#include "crc32.h"

#include <errno.h>

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* The CRC of each 4-bit value: entry i is i divided by 0xEDB88320. */
static const uint32_t table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC,
    0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
    0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc; /* undoes the final xor of the piece before */
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

enum {
    CRC_AT = 0,
    LEN_AT = 4,
    TYPE_AT = 8,
    KEY_LEN_AT = 9,
    KEY_AT = 11,
};

/* Bytes that a key takes: itself, its NUL, zeros up to a multiple of 4. */
static size_t key_field_bytes(size_t key_len)
{
    return (key_len + 1 + 3) / 4 * 4;
}

static size_t record_bytes(uint8_t type, size_t key_len, size_t value_len)
{
    size_t bytes = KEY_AT + key_field_bytes(key_len);

    return type == WAL_SET ? bytes + 2 + value_len + 1 : bytes;
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)v);
    put16(p + 2, (uint16_t)(v >> 16));
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static int all_zero(const uint8_t *p, size_t len)
{
    while (len > 0 && *p == 0) {
        p++;
        len--;
    }
    return len == 0;
}

int wal_record_encode(const struct wal_record *record, uint8_t *buf, size_t cap,
                      size_t *len_out)
{
    if (record->key_len == 0)
        return -EINVAL;
    if (record->type != WAL_SET && record->type != WAL_DEL)
        return -EINVAL;
    if (record->type == WAL_DEL && record->value_len != 0)
        return -EINVAL;

    size_t key_bytes = key_field_bytes(record->key_len);
    size_t bytes =
        record_bytes(record->type, record->key_len, record->value_len);
    if (cap < bytes)
        return -ENOBUFS;

    memset(buf, 0, bytes); /* every NUL and all padding, in one stroke */
    put32(buf + LEN_AT, (uint32_t)bytes);
    buf[TYPE_AT] = record->type;
    put16(buf + KEY_LEN_AT, record->key_len);
    memcpy(buf + KEY_AT, record->key, record->key_len);
    if (record->type == WAL_SET) {
        uint8_t *value = buf + KEY_AT + key_bytes;

        put16(value, record->value_len);
        if (record->value_len > 0) /* memcpy(…, NULL, 0) is undefined */
            memcpy(value + 2, record->value, record->value_len);
    }
    put32(buf + CRC_AT, crc32_update(0, buf + LEN_AT, bytes - LEN_AT));
    *len_out = bytes;
    return 0;
}

enum wal_record_verdict wal_record_decode(const uint8_t *buf, size_t len,
                                          struct wal_record *record_out,
                                          size_t *len_out)
{
    struct wal_record r = { 0 };

    if (len == 0)
        return WAL_RECORD_END;
    if (len < TYPE_AT)
        return WAL_RECORD_TORN;

    size_t bytes = get32(buf + LEN_AT);
    if (bytes < WAL_RECORD_MIN_BYTES || bytes > WAL_RECORD_MAX_BYTES)
        return WAL_RECORD_CORRUPT;
    if (bytes > len)
        return WAL_RECORD_TORN;

    /* From here on the whole record is in the buffer. Each length is held
     * against `bytes` before the byte that it leads to is read. */
    r.type = buf[TYPE_AT];
    r.key_len = get16(buf + KEY_LEN_AT);
    r.key = buf + KEY_AT;
    if ((r.type != WAL_SET && r.type != WAL_DEL) || r.key_len == 0)
        return WAL_RECORD_CORRUPT;

    size_t key_bytes = key_field_bytes(r.key_len);
    if (r.type == WAL_SET) {
        if (bytes < KEY_AT + key_bytes + 2)
            return WAL_RECORD_CORRUPT;
        r.value_len = get16(buf + KEY_AT + key_bytes);
        r.value = buf + KEY_AT + key_bytes + 2;
    }
    if (bytes != record_bytes(r.type, r.key_len, r.value_len))
        return WAL_RECORD_CORRUPT;
    if (!all_zero(r.key + r.key_len, key_bytes - r.key_len))
        return WAL_RECORD_CORRUPT;
    if (r.type == WAL_SET && r.value[r.value_len] != 0)
        return WAL_RECORD_CORRUPT;
    /* Last, since it costs the most. */
    if (get32(buf + CRC_AT) != crc32_update(0, buf + LEN_AT, bytes - LEN_AT))
        return WAL_RECORD_CORRUPT;

    *record_out = r;
    *len_out = bytes;
    return WAL_RECORD_OK;
}

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
    err = write_full(writer->fd, writer->scratch, len);
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
