/*
 * Anchor records, their chain and the witness's cosignature, over libcrypto.
 * SPDX-License-Identifier: MIT
 *
 * The layouts and every promise are in anchor_record.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "anchor_record.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

enum record_at {
    RECORD_ID = 16,
    RECORD_PREV = 24,
    RECORD_PAYLOAD = 56,
    RECORD_DIGEST = 88,
};

enum cosignature_at {
    COSIGNATURE_ID = 16,
    COSIGNATURE_RECORD = 24,
    COSIGNATURE_TIME = 56,
    COSIGNATURE_SIGNATURE = 64,
    COSIGNATURE_DIGEST = 128,
};

_Static_assert(RECORD_DIGEST + ANCHOR_DIGEST_BYTES == ANCHOR_RECORD_BYTES,
               "the digest ends the record");
_Static_assert(COSIGNATURE_DIGEST + ANCHOR_DIGEST_BYTES ==
                   ANCHOR_COSIGNATURE_BYTES,
               "the digest ends the cosignature");

/* What prev holds in record 0, which has no predecessor. */
static const uint8_t no_digest[ANCHOR_DIGEST_BYTES];

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        at[i] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static int same_digest(const uint8_t *left, const uint8_t *right)
{
    return memcmp(left, right, ANCHOR_DIGEST_BYTES) == 0;
}

/* ---- w18-l01: records and the log ------------------------------------ */

int anchor_sha256(const void *data, size_t length,
                  uint8_t digest_out[ANCHOR_DIGEST_BYTES])
{
    /* One call: EVP_Digest with EVP_sha256(). OpenSSL 3 has retired
     * SHA256_Init and its kin. */
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    if (EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL) != 1) {
        return -ENOMEM;
    }
    memcpy(digest_out, digest, sizeof(digest));
    return 0;
}

/* Ends `bytes` with the digest of all that stands before `digest_at`. */
static int seal(uint8_t *bytes, size_t digest_at)
{
    return anchor_sha256(bytes, digest_at, bytes + digest_at);
}

/* Judges what both layouts share: length, last digest, magic. */
static enum anchor_verdict check_seal(const uint8_t *bytes, size_t length,
                                      size_t digest_at, const char *magic)
{
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    if (length < digest_at + ANCHOR_DIGEST_BYTES) {
        return ANCHOR_TORN;
    }
    if (length > digest_at + ANCHOR_DIGEST_BYTES) {
        return ANCHOR_MALFORMED;
    }
    if (anchor_sha256(bytes, digest_at, digest) != 0) {
        return ANCHOR_UNJUDGED;
    }
    if (!same_digest(digest, bytes + digest_at)) {
        return ANCHOR_TORN;
    }
    if (memcmp(bytes, magic, ANCHOR_MAGIC_BYTES) != 0) {
        return ANCHOR_MALFORMED;
    }
    return ANCHOR_OK;
}

int anchor_record_encode(const struct anchor_record *record,
                         uint8_t bytes_out[ANCHOR_RECORD_BYTES])
{
    /* Refuse what decode would refuse; then the fields in the header's
     * order, and the digest last. */
    uint8_t bytes[ANCHOR_RECORD_BYTES];
    int err;
    if (record->id == 0 && !same_digest(record->prev, no_digest)) {
        return -EINVAL;
    }
    memcpy(bytes, ANCHOR_RECORD_MAGIC, ANCHOR_MAGIC_BYTES);
    put_u64(bytes + RECORD_ID, record->id);
    memcpy(bytes + RECORD_PREV, record->prev, ANCHOR_DIGEST_BYTES);
    memcpy(bytes + RECORD_PAYLOAD, record->payload, ANCHOR_DIGEST_BYTES);
    err = seal(bytes, RECORD_DIGEST);
    if (err != 0) {
        return err;
    }
    memcpy(bytes_out, bytes, sizeof(bytes));
    return 0;
}

enum anchor_verdict anchor_record_decode(const uint8_t *bytes, size_t length,
                                         struct anchor_record *record_out)
{
    /* Length first, or the digest reads past the input. Fill record_out
     * only after the last check. */
    struct anchor_record record;
    uint8_t again[ANCHOR_RECORD_BYTES];
    if (length > ANCHOR_RECORD_BYTES) {
        return ANCHOR_MALFORMED;
    }
    if (length < ANCHOR_RECORD_BYTES ||
        anchor_sha256(bytes, RECORD_DIGEST, again) != 0 ||
        !same_digest(again, bytes + RECORD_DIGEST)) {
        return ANCHOR_TORN;
    }
    record.id = get_u64(bytes + RECORD_ID);
    memcpy(record.prev, bytes + RECORD_PREV, ANCHOR_DIGEST_BYTES);
    memcpy(record.payload, bytes + RECORD_PAYLOAD, ANCHOR_DIGEST_BYTES);
    /* There is one spelling: what this record is encoded as. */
    if (anchor_record_encode(&record, again) != 0 ||
        memcmp(again, bytes, sizeof(again)) != 0) {
        return ANCHOR_MALFORMED;
    }
    *record_out = record;
    return ANCHOR_OK;
}

int anchor_record_digest(const struct anchor_record *record,
                         uint8_t digest_out[ANCHOR_DIGEST_BYTES])
{
    /* Encode: the digest is the last field. */
    uint8_t bytes[ANCHOR_RECORD_BYTES];
    int err = anchor_record_encode(record, bytes);
    if (err == 0) {
        memcpy(digest_out, bytes + RECORD_DIGEST, ANCHOR_DIGEST_BYTES);
    }
    return err;
}

int anchor_log_next(const struct anchor_log *log,
                    const uint8_t payload[ANCHOR_DIGEST_BYTES],
                    struct anchor_record *record_out)
{
    /* The id is the count, prev is the last digest. */
    if (log->count == UINT64_MAX) {
        return -EOVERFLOW;
    }
    record_out->id = log->count;
    memcpy(record_out->prev, log->last, ANCHOR_DIGEST_BYTES);
    memcpy(record_out->payload, payload, ANCHOR_DIGEST_BYTES);
    return 0;
}

enum anchor_verdict anchor_log_append(struct anchor_log *log,
                                      const struct anchor_record *record)
{
    /* Full, repeat, gap, chain; compute the new digest before you touch
     * the log. */
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    if (log->count == UINT64_MAX) {
        return ANCHOR_FULL;
    }
    if (record->id < log->count) {
        return ANCHOR_REPEAT;
    }
    if (record->id > log->count) {
        return ANCHOR_GAP;
    }
    if (!same_digest(record->prev, log->last)) {
        return ANCHOR_BROKEN_CHAIN;
    }
    if (anchor_record_digest(record, digest) != 0) {
        return ANCHOR_UNJUDGED;
    }
    memcpy(log->last, digest, sizeof(digest));
    log->count++;
    return ANCHOR_OK;
}

/* ---- w18-l02: the witness's cosignature ------------------------------ */

int anchor_ed25519_key(const uint8_t seed[ANCHOR_SEED_BYTES],
                       uint8_t key_out[ANCHOR_KEY_BYTES])
{
    /* EVP_PKEY_new_raw_private_key, EVP_PKEY_get_raw_public_key. */
    uint8_t key[ANCHOR_KEY_BYTES];
    size_t length = sizeof(key);
    int done;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
                                                  ANCHOR_SEED_BYTES);
    if (pair == NULL) {
        return -ENOMEM;
    }
    done = EVP_PKEY_get_raw_public_key(pair, key, &length);
    EVP_PKEY_free(pair);
    if (done != 1) {
        return -ENOMEM;
    }
    memcpy(key_out, key, sizeof(key));
    return 0;
}

int anchor_ed25519_sign(const uint8_t seed[ANCHOR_SEED_BYTES],
                        const void *message, size_t length,
                        uint8_t signature_out[ANCHOR_SIGNATURE_BYTES])
{
    /* EVP_DigestSignInit with no digest (Ed25519 brings its own), then
     * EVP_DigestSign in one shot. Free what you made on every path. */
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
    size_t signature_length = sizeof(signature);
    int done = 0;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
                                                  ANCHOR_SEED_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (pair != NULL && context != NULL &&
        EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1) {
        done = EVP_DigestSign(context, signature, &signature_length, message,
                              length);
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    if (done != 1) {
        return -ENOMEM;
    }
    memcpy(signature_out, signature, sizeof(signature));
    return 0;
}

enum anchor_verdict
anchor_ed25519_verify(const uint8_t key[ANCHOR_KEY_BYTES], const void *message,
                      size_t length,
                      const uint8_t signature[ANCHOR_SIGNATURE_BYTES])
{
    /* As above with EVP_DigestVerify. Three outcomes, one of them good. */
    enum anchor_verdict verdict = ANCHOR_UNJUDGED;
    EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                       key, ANCHOR_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (public_key != NULL && context != NULL &&
        EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1) {
        int outcome = EVP_DigestVerify(context, signature,
                                       ANCHOR_SIGNATURE_BYTES, message, length);
        verdict = outcome == 1 ? ANCHOR_OK : ANCHOR_BAD_SIGNATURE;
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return verdict;
}

/* The 64 bytes that the witness signs: the start of the file itself, so that
 * there is nothing to reassemble when it is verified. */
static void put_signed_bytes(uint8_t bytes[COSIGNATURE_SIGNATURE],
                             const struct anchor_cosignature *cosignature)
{
    memcpy(bytes, ANCHOR_COSIGNATURE_MAGIC, ANCHOR_MAGIC_BYTES);
    put_u64(bytes + COSIGNATURE_ID, cosignature->id);
    memcpy(bytes + COSIGNATURE_RECORD, cosignature->digest,
           ANCHOR_DIGEST_BYTES);
    put_u64(bytes + COSIGNATURE_TIME, cosignature->time);
}

int anchor_cosign(const struct anchor_record *record, uint64_t time,
                  const uint8_t seed[ANCHOR_SEED_BYTES],
                  struct anchor_cosignature *cosignature_out)
{
    /* Name the record, lay out the 64 bytes, sign them. */
    uint8_t message[COSIGNATURE_SIGNATURE];
    struct anchor_cosignature cosignature = { .id = record->id, .time = time };
    int err = anchor_record_digest(record, cosignature.digest);
    if (err != 0) {
        return err;
    }
    put_signed_bytes(message, &cosignature);
    err = anchor_ed25519_sign(seed, message, sizeof(message),
                              cosignature.signature);
    if (err != 0) {
        return err;
    }
    *cosignature_out = cosignature;
    return 0;
}

int anchor_cosignature_encode(const struct anchor_cosignature *cosignature,
                              uint8_t bytes_out[ANCHOR_COSIGNATURE_BYTES])
{
    /* The signed bytes, the signature, the digest of both. */
    uint8_t bytes[ANCHOR_COSIGNATURE_BYTES];
    int err;
    put_signed_bytes(bytes, cosignature);
    memcpy(bytes + COSIGNATURE_SIGNATURE, cosignature->signature,
           ANCHOR_SIGNATURE_BYTES);
    err = seal(bytes, COSIGNATURE_DIGEST);
    if (err != 0) {
        return err;
    }
    memcpy(bytes_out, bytes, sizeof(bytes));
    return 0;
}

enum anchor_verdict
anchor_cosignature_decode(const uint8_t *bytes, size_t length,
                          struct anchor_cosignature *cosignature_out)
{
    /* As strict as anchor_record_decode. */
    enum anchor_verdict verdict =
        check_seal(bytes, length, COSIGNATURE_DIGEST, ANCHOR_COSIGNATURE_MAGIC);
    if (verdict != ANCHOR_OK) {
        return verdict;
    }
    cosignature_out->id = get_u64(bytes + COSIGNATURE_ID);
    memcpy(cosignature_out->digest, bytes + COSIGNATURE_RECORD,
           ANCHOR_DIGEST_BYTES);
    cosignature_out->time = get_u64(bytes + COSIGNATURE_TIME);
    memcpy(cosignature_out->signature, bytes + COSIGNATURE_SIGNATURE,
           ANCHOR_SIGNATURE_BYTES);
    return ANCHOR_OK;
}

enum anchor_verdict
anchor_cosignature_verify(const struct anchor_cosignature *cosignature,
                          const struct anchor_record *record,
                          const uint8_t *key)
{
    /* The names first: a good signature of another record proves nothing
     * about this one. */
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    uint8_t message[COSIGNATURE_SIGNATURE];
    if (anchor_record_digest(record, digest) != 0) {
        return ANCHOR_UNJUDGED;
    }
    if (cosignature->id != record->id ||
        !same_digest(cosignature->digest, digest)) {
        return ANCHOR_MISMATCH;
    }
    if (key == NULL) {
        return ANCHOR_OK;
    }
    put_signed_bytes(message, cosignature);
    return anchor_ed25519_verify(key, message, sizeof(message),
                                 cosignature->signature);
}

/* ---- self-test: ./anchor_record_test, ./anchor_record_test cosign ----- */

#ifdef SELF_TEST
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(const char *what, int err)
{
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-err));
        exit(1);
    }
}

static const char *word_for(enum anchor_verdict verdict)
{
    static const char *const words[] = {
        [ANCHOR_OK] = "ok",
        [ANCHOR_UNJUDGED] = "not judged",
        [ANCHOR_TORN] = "torn",
        [ANCHOR_MALFORMED] = "malformed",
        [ANCHOR_REPEAT] = "repeat",
        [ANCHOR_GAP] = "gap",
        [ANCHOR_BROKEN_CHAIN] = "broken chain",
        [ANCHOR_FULL] = "full",
        [ANCHOR_MISMATCH] = "mismatch",
        [ANCHOR_BAD_SIGNATURE] = "bad signature",
    };
    return words[verdict];
}

static void print_hex(const char *label, const uint8_t *bytes, size_t length)
{
    printf("%s: ", label);
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
}

/* Which lengths and which flipped bits does decode take for a record? */
static void test_decode(const struct anchor_record *record)
{
    struct anchor_record ignored;
    uint8_t bytes[ANCHOR_RECORD_BYTES + 1] = { 0 };
    int taken = 0;
    must("anchor_record_encode", anchor_record_encode(record, bytes));
    for (size_t length = 119; length <= 121; length++) {
        /* A copy of this very size: AddressSanitizer sees a read beyond. */
        uint8_t *exact = malloc(length);
        must("malloc", exact == NULL ? -ENOMEM : 0);
        memcpy(exact, bytes, length);
        printf("%zu bytes: %s\n", length,
               word_for(anchor_record_decode(exact, length, &ignored)));
        free(exact);
    }
    for (int bit = 0; bit < ANCHOR_RECORD_BYTES * 8; bit++) {
        uint8_t mask = (uint8_t)(1 << bit % 8);
        bytes[bit / 8] ^= mask;
        taken += anchor_record_decode(bytes, ANCHOR_RECORD_BYTES, &ignored) ==
                 ANCHOR_OK;
        bytes[bit / 8] ^= mask;
    }
    printf("flipped bits taken for a record: %d of %d\n", taken,
           ANCHOR_RECORD_BYTES * 8);
}

static void test_log(void)
{
    struct anchor_log log = { 0 };
    struct anchor_log full = { .count = UINT64_MAX };
    struct anchor_record record = { 0 };
    uint8_t payload[ANCHOR_DIGEST_BYTES];
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    must("anchor_sha256", anchor_sha256("abc", 3, payload));
    print_hex("sha256(abc)", payload, sizeof(payload));
    for (int i = 0; i < 2; i++) {
        must("anchor_log_next", anchor_log_next(&log, payload, &record));
        must("anchor_record_digest", anchor_record_digest(&record, digest));
        print_hex(i == 0 ? "record 0" : "record 1", digest, sizeof(digest));
        printf("append: %s\n", word_for(anchor_log_append(&log, &record)));
    }
    printf("again: %s\n", word_for(anchor_log_append(&log, &record)));
    record.id = 3;
    printf("id 3: %s\n", word_for(anchor_log_append(&log, &record)));
    record.id = 2;
    printf("prev of 1 in 2: %s\n", word_for(anchor_log_append(&log, &record)));
    record.id = UINT64_MAX;
    printf("after 2^64 - 1 records: %s\n",
           word_for(anchor_log_append(&full, &record)));
    must("anchor_log_next", anchor_log_next(&log, payload, &record));
    test_decode(&record);
}

/* RFC 8032, section 7.1: the answers stand there and in the lesson. */
static void test_ed25519(const char *label,
                         const uint8_t seed[ANCHOR_SEED_BYTES],
                         const char *message)
{
    uint8_t key[ANCHOR_KEY_BYTES];
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
    size_t length = strlen(message);
    must("anchor_ed25519_key", anchor_ed25519_key(seed, key));
    must("anchor_ed25519_sign",
         anchor_ed25519_sign(seed, message, length, signature));
    print_hex(label, key, sizeof(key));
    print_hex("signature", signature, sizeof(signature));
    printf("verify: %s\n",
           word_for(anchor_ed25519_verify(key, message, length, signature)));
    signature[0] ^= 1;
    printf("flipped: %s\n",
           word_for(anchor_ed25519_verify(key, message, length, signature)));
}

static void test_cosign(const uint8_t seed[ANCHOR_SEED_BYTES])
{
    struct anchor_record record = { 0 };
    struct anchor_cosignature cosignature;
    uint8_t key[ANCHOR_KEY_BYTES];
    uint8_t bytes[ANCHOR_COSIGNATURE_BYTES];
    must("anchor_ed25519_key", anchor_ed25519_key(seed, key));
    must("anchor_cosign",
         anchor_cosign(&record, 1700000000, seed, &cosignature));
    must("anchor_cosignature_encode",
         anchor_cosignature_encode(&cosignature, bytes));
    print_hex("time field", bytes + 56, 8);
    print_hex("cosignature", bytes + 128, ANCHOR_DIGEST_BYTES);
    printf("decode: %s\n", word_for(anchor_cosignature_decode(
                               bytes, sizeof(bytes), &cosignature)));
    printf("verify: %s\n",
           word_for(anchor_cosignature_verify(&cosignature, &record, key)));
    cosignature.time++;
    printf("a second later: %s\n",
           word_for(anchor_cosignature_verify(&cosignature, &record, key)));
    record.payload[0] = 1;
    printf("another record: %s\n",
           word_for(anchor_cosignature_verify(&cosignature, &record, key)));
}

int main(int argc, char **argv)
{
    static const uint8_t test_1[ANCHOR_SEED_BYTES] = {
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
        0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
        0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    };
    static const uint8_t test_2[ANCHOR_SEED_BYTES] = {
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3,
        0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab,
        0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
    };
    if (argc == 2 && strcmp(argv[1], "cosign") == 0) {
        test_ed25519("RFC 8032 test 1", test_1, "");
        test_ed25519("RFC 8032 test 2", test_2, "\x72");
        test_cosign(test_1);
        return 0;
    }
    test_log();
    return 0;
}
#endif
