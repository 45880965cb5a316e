/*
 * Calls of w10/crc32.h and w10/wal_record.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "wal_args.h"
#include "w10/crc32.h"

/* crc32_update BYTES...: the checksum of all pieces, one after another. */
static void call_crc(char **args)
{
    uint32_t crc = 0;

    for (; *args; args++) {
        size_t len;
        uint8_t *bytes = bytes_of(*args, &len);

        crc = crc32_update(crc, bytes, len);
        free(bytes);
    }
    reply(" crc=%u", (unsigned)crc);
}

/* wal_record_encode TYPE KEY VALUE CAP. A buffer that must stay untouched is
 * filled with a pattern and reported as it is. */
static void call_encode(char **args)
{
    size_t cap = (size_t)number_of(args[3]), len = 0;
    struct given_record given = given_record(args);
    uint8_t *buf = malloc(cap);

    if (!buf && cap)
        driver_fail("out of memory");
    if (cap)
        memset(buf, 0xA5, cap);
    int ret = wal_record_encode(&given.record, buf, cap, &len);
    reply(" ret=%d len=%zu", ret, ret ? 0 : len);
    reply_bytes("buf", buf, ret == 0 && len < cap ? len : cap);
    free(buf);
    given_record_free(&given);
}

/* wal_record_decode BYTES */
static void call_decode(char **args)
{
    static const uint8_t untouched;
    size_t len, used = 12345;
    uint8_t *bytes = bytes_of(args[0], &len);
    struct wal_record record = { .type = 99, .key = &untouched };
    enum wal_record_verdict verdict =
        wal_record_decode(bytes, len, &record, &used);

    reply(" verdict=%d", (int)verdict);
    if (verdict == WAL_RECORD_OK) {
        reply(" used=%zu type=%d", used, record.type);
        reply_bytes("key", record.key, record.key_len);
        reply_bytes("value", record.value, record.type == WAL_SET ? record.value_len : 0);
    } else {
        reply(" wrote=%d", used != 12345 || record.type != 99 ||
                               record.key != &untouched);
    }
    free(bytes);
}

static const struct call calls[] = {
    { "crc32_update", call_crc },
    { "wal_record_encode", call_encode },
    { "wal_record_decode", call_decode },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
