/*
 * Calls of w18/anchor_record.h: records and the log.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "anchor_args.h"

/* A pattern for what must stay untouched. */
enum { UNTOUCHED = 0xA5 };

static void reply_record(const struct anchor_record *record)
{
    reply(" id=%llu", (unsigned long long)record->id);
    reply_bytes("prev", record->prev, sizeof(record->prev));
    reply_bytes("payload", record->payload, sizeof(record->payload));
}

/* anchor_sha256 BYTES */
static void call_sha256(char **args)
{
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    size_t len;
    uint8_t *bytes = bytes_of(args[0], &len);

    memset(digest, UNTOUCHED, sizeof(digest));
    reply(" ret=%d", anchor_sha256(bytes, len, digest));
    reply_bytes("digest", digest, sizeof(digest));
    free(bytes);
}

/* anchor_record_encode ID PREV PAYLOAD */
static void call_encode(char **args)
{
    struct anchor_record record = record_of(args);
    uint8_t *bytes = malloc(ANCHOR_RECORD_BYTES);

    memset(bytes, UNTOUCHED, ANCHOR_RECORD_BYTES);
    reply(" ret=%d", anchor_record_encode(&record, bytes));
    reply_bytes("buf", bytes, ANCHOR_RECORD_BYTES);
    free(bytes);
}

/* anchor_record_decode BYTES */
static void call_decode(char **args)
{
    struct anchor_record record, before;
    size_t len;
    uint8_t *bytes = bytes_of(args[0], &len);

    memset(&before, UNTOUCHED, sizeof(before));
    record = before;
    enum anchor_verdict verdict = anchor_record_decode(bytes, len, &record);
    reply(" verdict=%d", (int)verdict);
    if (verdict == ANCHOR_OK)
        reply_record(&record);
    else
        reply(" wrote=%d", memcmp(&record, &before, sizeof(record)) != 0);
    free(bytes);
}

/* anchor_record_digest ID PREV PAYLOAD */
static void call_digest(char **args)
{
    struct anchor_record record = record_of(args);
    uint8_t digest[ANCHOR_DIGEST_BYTES];

    memset(digest, UNTOUCHED, sizeof(digest));
    reply(" ret=%d", anchor_record_digest(&record, digest));
    reply_bytes("digest", digest, sizeof(digest));
}

/* anchor_log_next COUNT LAST PAYLOAD */
static void call_next(char **args)
{
    struct anchor_log log = { .count = u64_of(args[0]) };
    struct anchor_record record;
    uint8_t payload[ANCHOR_DIGEST_BYTES];

    exactly(log.last, sizeof(log.last), args[1]);
    exactly(payload, sizeof(payload), args[2]);
    memset(&record, UNTOUCHED, sizeof(record));
    reply(" ret=%d", anchor_log_next(&log, payload, &record));
    reply_record(&record);
}

/* anchor_log_append COUNT LAST ID PREV PAYLOAD: the verdict, and the log. */
static void call_append(char **args)
{
    struct anchor_log log = { .count = u64_of(args[0]) };
    struct anchor_record record = record_of(args + 2);

    exactly(log.last, sizeof(log.last), args[1]);
    reply(" verdict=%d", (int)anchor_log_append(&log, &record));
    reply(" count=%llu", (unsigned long long)log.count);
    reply_bytes("last", log.last, sizeof(log.last));
}

static const struct call calls[] = {
    { "anchor_sha256", call_sha256 },
    { "anchor_record_encode", call_encode },
    { "anchor_record_decode", call_decode },
    { "anchor_record_digest", call_digest },
    { "anchor_log_next", call_next },
    { "anchor_log_append", call_append },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
