/*
 * One record of the write-ahead log: its bytes, how to make and to read them.
 * SPDX-License-Identifier: MIT
 *
 * All integers are little-endian, whatever the machine. No alignment, no gaps.
 *
 *   offset  size  field       meaning
 *        0     4  crc32       CRC-32/IEEE of every byte that follows it
 *        4     4  record_len  bytes in the whole record, crc32 included
 *        8     1  type        1 = SET, 2 = DEL
 *        9     2  key_len     bytes in the key, 1 to 65,535
 *       11     K  key         the key, one NUL, then zeros: K is key_len + 1
 *                             rounded up to a multiple of 4
 *     11+K     2  value_len   SET only: bytes in the value, 0 to 65,535
 *     13+K     V  value       SET only: the value and one NUL (value_len + 1)
 *
 * A record is canonical if and only if
 *   1. crc32 matches the record_len - 4 bytes behind it;
 *   2. record_len is exactly what type, key_len and value_len add up to;
 *   3. type is 1 or 2, and key_len is not 0;
 *   4. the NULs and the padding are zero bytes.
 *
 * Lengths govern: a key or a value may hold any byte, NUL included. The NULs
 * are there for whoever reads a hexdump. SET foo=bar is these 21 bytes:
 *
 *   29 f0 57 95  15 00 00 00  01  03 00  66 6f 6f 00  03 00  62 61 72 00
 *   crc32        record_len   SET key_len f  o  o NUL val_len b  a  r NUL
 *
 * Encode into a buffer of your own; decode in place, without a copy:
 *
 *     uint8_t buf[WAL_RECORD_MAX_BYTES];
 *     size_t len;
 *     struct wal_record record = { .type = WAL_SET, .key = k, .key_len = 3,
 *                                  .value = v, .value_len = 3 };
 *
 *     int err = wal_record_encode(&record, buf, sizeof(buf), &len);
 *     ...
 *     if (wal_record_decode(buf, len, &record, &len) == WAL_RECORD_OK)
 *         ...
 */
#ifndef WAL_RECORD_H
#define WAL_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum {
    WAL_KEY_MAX_BYTES = 65535,
    WAL_VALUE_MAX_BYTES = 65535,
    WAL_RECORD_MIN_BYTES = 11 + 4,
    WAL_RECORD_MAX_BYTES = 11 + (WAL_KEY_MAX_BYTES + 1) + 2 +
                           (WAL_VALUE_MAX_BYTES + 1),
};

_Static_assert(WAL_RECORD_MAX_BYTES == 131085, "the largest record there is");

enum wal_record_type {
    WAL_SET = 1,
    WAL_DEL = 2,
};

/* A record in memory, to be encoded or as decoded. The bytes belong to the caller
 * (after a decode: to the buffer that was decoded) and must live as long as the
 * struct is used. */
struct wal_record {
    uint8_t type;         /* enum wal_record_type */
    const uint8_t *key;   /* not NULL */
    uint16_t key_len;     /* 1 to WAL_KEY_MAX_BYTES */
    const uint8_t *value; /* may be NULL when value_len is 0 */
    uint16_t value_len;   /* 0 for DEL */
};

/* What the bytes say. None of these is an error of the machine. */
enum wal_record_verdict {
    WAL_RECORD_OK,      /* a canonical record stands at the start */
    WAL_RECORD_END,     /* there are no bytes at all */
    WAL_RECORD_TORN,    /* the input ends before the record does: fewer than 8
                           bytes, or a record_len from WAL_RECORD_MIN_BYTES to
                           WAL_RECORD_MAX_BYTES that reaches past the input */
    WAL_RECORD_CORRUPT, /* anything else; zeros, for one, are not a record */
};

/*
 * Writes `record` at `buf`, which has room for `cap` bytes, and stores its size
 * in bytes in *len_out.
 *
 * Returns 0; -EINVAL, whatever `cap` is, for an unknown type, an empty key or a
 * DEL whose value_len is not 0; otherwise -ENOBUFS where `cap` is too small. On
 * an error nothing is written, *len_out neither.
 */
int wal_record_encode(const struct wal_record *record, uint8_t *buf, size_t cap,
                      size_t *len_out);

/*
 * Reads the record at the start of `buf`, which holds `len` bytes (a whole log,
 * say: what follows the record is not looked at). Never reads past `len`, never
 * trusts a length before it is checked.
 *
 * Only for WAL_RECORD_OK are the outputs written: *record_out, whose key and
 * value point into `buf`, and *len_out, the bytes the record takes: the next
 * one starts there.
 */
enum wal_record_verdict wal_record_decode(const uint8_t *buf, size_t len,
                                          struct wal_record *record_out,
                                          size_t *len_out);

#endif
