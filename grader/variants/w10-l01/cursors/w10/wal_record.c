/*
 * A format read and written through cursors, byte by byte, without memcpy(3).
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_record.h"

#include <errno.h>

#include <stddef.h>

#include "crc32.h"

/* A reader that never passes its end: once it would, `failed` stays set. */
struct reader {
    const uint8_t *at, *end;
    int failed;
};

static const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *bytes = r->at;

    if (r->failed || (size_t)(r->end - r->at) < len) {
        r->failed = 1;
        return NULL;
    }
    r->at += len;
    return bytes;
}

static uint32_t take_number(struct reader *r, unsigned size)
{
    const uint8_t *bytes = take(r, size);
    uint32_t value = 0;

    while (bytes && size-- > 0)
        value = value * 256 + bytes[size];
    return value;
}

static void take_zeros(struct reader *r, size_t len)
{
    const uint8_t *bytes = take(r, len);

    for (size_t i = 0; bytes && i < len; i++)
        r->failed |= bytes[i] != 0;
}

static uint8_t *give_number(uint8_t *at, uint32_t value, unsigned size)
{
    for (; size > 0; size--, value /= 256)
        *at++ = (uint8_t)(value % 256);
    return at;
}

static uint8_t *give_bytes(uint8_t *at, const uint8_t *bytes, size_t len,
                           size_t zeros)
{
    for (size_t i = 0; i < len; i++)
        *at++ = bytes[i];
    while (zeros-- > 0)
        *at++ = 0;
    return at;
}

int wal_record_encode(const struct wal_record *record, uint8_t *buf, size_t cap,
                      size_t *len_out)
{
    int is_set = record->type == WAL_SET;
    size_t key_zeros = 4 - record->key_len % 4;
    size_t len = 11 + record->key_len + key_zeros;

    if (!is_set && (record->type != WAL_DEL || record->value_len > 0))
        return -EINVAL;
    if (record->key_len == 0)
        return -EINVAL;
    if (is_set)
        len += 3 + (size_t)record->value_len;
    if (len > cap)
        return -ENOBUFS;
    uint8_t *at = give_number(buf + 4, (uint32_t)len, 4);
    at = give_number(at, record->type, 1);
    at = give_number(at, record->key_len, 2);
    at = give_bytes(at, record->key, record->key_len, key_zeros);
    if (is_set) {
        at = give_number(at, record->value_len, 2);
        at = give_bytes(at, record->value, record->value_len, 1);
    }
    give_number(buf, crc32_update(0, buf + 4, len - 4), 4);
    *len_out = (size_t)(at - buf);
    return 0;
}

enum wal_record_verdict wal_record_decode(const uint8_t *buf, size_t len,
                                          struct wal_record *record_out,
                                          size_t *len_out)
{
    struct reader r = { buf, buf + len, 0 };
    struct wal_record record = { 0 };

    if (len == 0)
        return WAL_RECORD_END;
    uint32_t crc = take_number(&r, 4);
    uint32_t size = take_number(&r, 4);
    if (r.failed)
        return WAL_RECORD_TORN;
    if (size < WAL_RECORD_MIN_BYTES || size > WAL_RECORD_MAX_BYTES)
        return WAL_RECORD_CORRUPT;
    if (size > len)
        return WAL_RECORD_TORN;
    if (crc32_update(0, buf + 4, size - 4) != crc)
        return WAL_RECORD_CORRUPT;
    r.end = buf + size;
    record.type = (uint8_t)take_number(&r, 1);
    record.key_len = (uint16_t)take_number(&r, 2);
    record.key = take(&r, record.key_len);
    take_zeros(&r, 4 - record.key_len % 4u);
    if (record.type == WAL_SET) {
        record.value_len = (uint16_t)take_number(&r, 2);
        record.value = take(&r, record.value_len);
        take_zeros(&r, 1);
    } else if (record.type != WAL_DEL) {
        r.failed = 1;
    }
    if (r.failed || r.at != r.end || record.key_len == 0)
        return WAL_RECORD_CORRUPT;
    *record_out = record;
    *len_out = size;
    return WAL_RECORD_OK;
}

#ifdef SELF_TEST

#include <stdio.h>

static const char *verdict_name(enum wal_record_verdict verdict)
{
    static const char *const names[] = { "ok", "end", "torn", "corrupt" };

    return names[verdict];
}

static void show_bytes(const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x%s", (unsigned)buf[i], i + 1 < len ? " " : "\n");
}

static void show_verdict(const char *what, const uint8_t *buf, size_t len)
{
    struct wal_record record;
    size_t used;

    printf("%s: %s\n", what,
           verdict_name(wal_record_decode(buf, len, &record, &used)));
}

int main(void)
{
    static const uint8_t zeros[64];
    uint8_t buf[64];
    size_t len;
    struct wal_record set = { .type = WAL_SET,
                              .key = (const uint8_t *)"foo",
                              .key_len = 3,
                              .value = (const uint8_t *)"bar",
                              .value_len = 3 };
    struct wal_record del = { .type = WAL_DEL,
                              .key = (const uint8_t *)"name",
                              .key_len = 4 };

    if (wal_record_encode(&del, buf, sizeof(buf), &len) < 0) {
        printf("wal_record_encode: it does not encode DEL name yet\n");
        return 1;
    }
    printf("DEL name: %zu bytes\n", len);
    show_bytes(buf, len);
    if (wal_record_encode(&set, buf, sizeof(buf), &len) < 0) {
        printf("wal_record_encode: it does not encode SET foo=bar yet\n");
        return 1;
    }
    printf("SET foo=bar: %zu bytes\n", len);
    show_bytes(buf, len);

    show_verdict("all 21 bytes", buf, len);
    show_verdict("the first 20", buf, len - 1);
    show_verdict("no bytes", buf, 0);
    buf[17] ^= 1;
    show_verdict("one bit of the value flipped", buf, len);
    show_verdict("64 zero bytes", zeros, sizeof(zeros));
    return 0;
}

#endif
