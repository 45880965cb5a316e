/*
 * Encodes and decodes one log record; wal_record.h has the layout.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_record.h"

#include <errno.h>

int wal_record_encode(const struct wal_record *record, uint8_t *buf, size_t cap,
                      size_t *len_out)
{
    (void)record;
    (void)buf;
    (void)cap;
    (void)len_out;
    return -ENOSYS;
}

enum wal_record_verdict wal_record_decode(const uint8_t *buf, size_t len,
                                          struct wal_record *record_out,
                                          size_t *len_out)
{
    (void)buf;
    (void)len;
    (void)record_out;
    (void)len_out;
    return WAL_RECORD_CORRUPT;
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
