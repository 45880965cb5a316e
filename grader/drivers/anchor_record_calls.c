/*
 * Calls of w18/anchor_record.h: records and the log.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "anchor_args.h"
#include "mapped.h"

extern const char __executable_start; /* ld(1): where the program is loaded */

/* How many calls of libcrypto until one fails; 0: none does. */
static long until_failure;

/* libcrypto_fails N: the Nth call from now of a function of anchor_record.names
 * fails, as for want of memory; with 0 none does. Reported as a fault. */
static void call_libcrypto_fails(char **args)
{
    until_failure = number_of(args[0]);
}

static int fails(const char *name, const char *from)
{
    if (until_failure == 0 || --until_failure > 0)
        return 0;
    driver_say("! %ld %s errno 0 @0x%lx fd=-1\n", driver_call, name,
               (unsigned long)(from - &__executable_start));
    return 1;
}

/* Linked with -Wl,--wrap=NAME for each; `failed` is what it returns then. */
#define WRAP(type, failed, name, params, args)                                 \
    type __real_##name params;                                                 \
    type __wrap_##name params;                                                 \
    type __wrap_##name params                                                  \
    {                                                                          \
        return fails(#name, __builtin_return_address(0)) ? failed              \
                                                         : __real_##name args; \
    }

WRAP(int, 0, EVP_Digest,
     (const void *data, size_t len, void *md, unsigned *size, const void *type,
      void *engine),
     (data, len, md, size, type, engine))
WRAP(int, 0, EVP_Q_digest,
     (void *library, const char *name, const char *properties, const void *data,
      size_t len, void *md, size_t *size),
     (library, name, properties, data, len, md, size))
WRAP(int, 0, EVP_DigestInit, (void *context, const void *type), (context, type))
WRAP(int, 0, EVP_DigestInit_ex, (void *context, const void *type, void *engine),
     (context, type, engine))
WRAP(int, 0, EVP_DigestInit_ex2,
     (void *context, const void *type, const void *params),
     (context, type, params))
WRAP(int, 0, EVP_DigestUpdate, (void *context, const void *data, size_t len),
     (context, data, len))
WRAP(int, 0, EVP_DigestFinal, (void *context, void *md, unsigned *size),
     (context, md, size))
WRAP(int, 0, EVP_DigestFinal_ex, (void *context, void *md, unsigned *size),
     (context, md, size))
WRAP(void *, NULL, EVP_MD_CTX_new, (void), ())
WRAP(void *, NULL, EVP_MD_fetch,
     (void *library, const char *name, const char *properties),
     (library, name, properties))
WRAP(void *, NULL, EVP_PKEY_new_raw_public_key,
     (int type, void *engine, const void *key, size_t len),
     (type, engine, key, len))
WRAP(int, 0, EVP_DigestVerifyInit,
     (void *context, void *pkey_context, const void *type, void *engine,
      void *key),
     (context, pkey_context, type, engine, key))
WRAP(void *, NULL, SHA256, (const void *data, size_t len, void *md),
     (data, len, md))

/* A pattern for what must stay untouched. */
enum { UNTOUCHED = 0xA5 };

static void reply_record(const struct anchor_record *record)
{
    reply(" id=%llu", (unsigned long long)record->id);
    reply_bytes("prev", record->prev, sizeof(record->prev));
    reply_bytes("payload", record->payload, sizeof(record->payload));
}

/* anchor_sha256 BYTES; no bytes are NULL */
static void call_sha256(char **args)
{
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    size_t len;
    uint8_t *bytes = bytes_of(args[0], &len);

    memset(digest, UNTOUCHED, sizeof(digest));
    reply(" ret=%d", anchor_sha256(len ? bytes : NULL, len, digest));
    reply_bytes("digest", digest, sizeof(digest));
    free(bytes);
}

static void read_by_sha256(const void *bytes, size_t len)
{
    uint8_t digest[ANCHOR_DIGEST_BYTES];

    anchor_sha256(bytes, len, digest);
}

/* anchor_sha256_long LEN: whether it leaves bytes out */
static void call_sha256_long(char **args)
{
    reply(" early=%d", stops_early(read_by_sha256, u64_of(args[0])));
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

/* anchor_record_decode BYTES [TOTAL]: in a block of exactly that size, or, with
 * TOTAL, in memory that can only be read, TOTAL bytes long. */
static void call_decode(char **args)
{
    struct anchor_record record, before;
    size_t len;
    uint8_t *given = bytes_of(args[0], &len);
    size_t total = args[1] ? u64_of(args[1]) : len;
    const uint8_t *bytes = args[1] ? mapped(given, len, total) : given;

    memset(&before, UNTOUCHED, sizeof(before));
    record = before;
    enum anchor_verdict verdict = anchor_record_decode(bytes, total, &record);
    reply(" verdict=%d", (int)verdict);
    if (verdict == ANCHOR_OK)
        reply_record(&record);
    else
        reply(" wrote=%d", memcmp(&record, &before, sizeof(record)) != 0);
    free(given);
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
    { "libcrypto_fails", call_libcrypto_fails },
    { "anchor_sha256", call_sha256 },
    { "anchor_sha256_long", call_sha256_long },
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
