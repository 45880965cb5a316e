/*
 * A decoder that encodes what it read and compares the bytes.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_record.h"

#include <errno.h>

#include <string.h>

#include "crc32.h"

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

/* Canonical means: encoding what was read gives the same bytes again. */
static int is_canonical(const struct wal_record *record, const uint8_t *buf,
                        size_t size)
{
    static uint8_t again[WAL_RECORD_MAX_BYTES];
    size_t len;

    return wal_record_encode(record, again, sizeof(again), &len) == 0 &&
           len == size && memcmp(again, buf, size) == 0;
}

enum wal_record_verdict wal_record_decode(const uint8_t *buf, size_t len,
                                          struct wal_record *record_out,
                                          size_t *len_out)
{
    if (len < TYPE_AT)
        return len ? WAL_RECORD_TORN : WAL_RECORD_END;

    size_t size = get32(buf + LEN_AT);
    if (size - WAL_RECORD_MIN_BYTES >
        WAL_RECORD_MAX_BYTES - WAL_RECORD_MIN_BYTES)
        return WAL_RECORD_CORRUPT;
    if (size > len)
        return WAL_RECORD_TORN;

    size_t key_len = get16(buf + KEY_LEN_AT);
    size_t value_at = KEY_AT + (key_len / 4 + 1) * 4;
    struct wal_record record = { .type = buf[TYPE_AT],
                                 .key = buf + KEY_AT,
                                 .key_len = (uint16_t)key_len };
    if (record.type == WAL_SET && value_at + 2 < size) {
        record.value_len = get16(buf + value_at);
        record.value = buf + value_at + 2;
    }
    /* Nothing is copied before it is known to lie inside the record. */
    if (record_bytes(record.type, key_len, record.value_len) != size ||
        !is_canonical(&record, buf, size))
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
