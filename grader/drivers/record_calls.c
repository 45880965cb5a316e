/*
 * Calls of w10/crc32.h and w10/wal_record.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "mapped.h"
#include "wal_args.h"
#include "w10/crc32.h"

enum { UNTOUCHED = 12345 }; /* what no size here is */

/* crc32_update BYTES...: the checksum of all pieces, one after another. No bytes
 * are NULL; the second piece stands one byte off an aligned address, and so on. */
static void call_crc(char **args)
{
    uint32_t crc = 0;

    for (size_t off = 0; args[off]; off++) {
        size_t len;
        uint8_t *bytes = bytes_of(args[off], &len);
        uint8_t *block = malloc(off + len);

        if (!block)
            driver_fail("out of memory");
        memcpy(block + off, bytes, len);
        crc = crc32_update(crc, len ? block + off : NULL, len);
        free(block);
        free(bytes);
    }
    reply(" crc=%u", (unsigned)crc);
}

static void read_by_crc(const void *bytes, size_t len)
{
    crc32_update(0, bytes, len);
}

/* crc32_update_long LEN: whether it leaves bytes out */
static void call_crc_long(char **args)
{
    reply(" early=%d", stops_early(read_by_crc, u64_of(args[0])));
}

/* wal_record_encode TYPE KEY VALUE CAP. A buffer that must stay untouched is
 * filled with a pattern and reported as it is. */
static void call_encode(char **args)
{
    size_t cap = (size_t)number_of(args[3]), len = UNTOUCHED;
    struct given_record given = given_record(args);
    uint8_t *buf = malloc(cap);

    if (!buf && cap)
        driver_fail("out of memory");
    if (cap)
        memset(buf, 0xA5, cap);
    int ret = wal_record_encode(&given.record, buf, cap, &len);
    reply(" ret=%d len=%zu wrote=%d", ret, ret ? 0 : len, len != UNTOUCHED);
    reply_bytes("buf", buf, ret == 0 && len < cap ? len : cap);
    free(buf);
    given_record_free(&given);
}

/* Whether a field stands in the `len` bytes at `bytes`. */
static int stands_in(const uint8_t *field, size_t field_len,
                     const uint8_t *bytes, size_t len)
{
    uintptr_t at = (uintptr_t)field - (uintptr_t)bytes;

    return field_len == 0 || (at <= len && field_len <= len - at);
}

static void reply_record(const struct wal_record *record, const uint8_t *bytes,
                         size_t len)
{
    size_t value_len = record->type == WAL_SET ? record->value_len : 0;

    reply(" type=%d value_len=%d inside=%d", record->type, record->value_len,
          stands_in(record->key, record->key_len, bytes, len) &&
              stands_in(record->value, value_len, bytes, len));
    reply_bytes("key", record->key, record->key_len);
    reply_bytes("value", record->value, value_len);
}

/* wal_record_decode BYTES [TOTAL]: in a block of exactly that size, or, with
 * TOTAL, in memory that can only be read, TOTAL bytes long. */
static void call_decode(char **args)
{
    static const uint8_t untouched;
    size_t len, used = UNTOUCHED;
    uint8_t *given = bytes_of(args[0], &len);
    size_t total = args[1] ? u64_of(args[1]) : len;
    const uint8_t *bytes = args[1] ? mapped(given, len, total) : given;
    struct wal_record record = { .type = 99,
                                 .key = &untouched,
                                 .value_len = UNTOUCHED };
    enum wal_record_verdict verdict =
        wal_record_decode(bytes, total, &record, &used);

    reply(" verdict=%d", (int)verdict);
    if (verdict == WAL_RECORD_OK) {
        reply(" used=%zu", used);
        reply_record(&record, bytes, len);
    } else {
        reply(" wrote=%d", used != UNTOUCHED || record.type != 99 ||
                               record.key != &untouched ||
                               record.value_len != UNTOUCHED);
    }
    free(given);
}

static const struct call calls[] = {
    { "crc32_update", call_crc },
    { "crc32_update_long", call_crc_long },
    { "wal_record_encode", call_encode },
    { "wal_record_decode", call_decode },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
