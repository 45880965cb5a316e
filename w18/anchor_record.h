/*
 * Anchor records, the log that chains them, and the witness's cosignature.
 * SPDX-License-Identifier: MIT
 *
 * An anchor pins 32 bytes, say the root of a tree, at a place in a log from
 * which nothing is ever taken away. This file fixes the bytes; where they
 * are kept is the business of anchor_storage.h. Integers are big-endian.
 *
 * A record, ANCHOR_RECORD_BYTES long:
 *
 *   offset  size  field
 *        0    16  magic, the text "anchor-record/v1"
 *       16     8  id, 0 for the first record of a log
 *       24    32  prev, the digest of record id - 1; for id 0 all zero
 *       56    32  payload, the SHA-256 of what is anchored
 *       88    32  digest, the SHA-256 of the 88 bytes before it
 *
 * Record 0 for the payload SHA-256("abc"), which is valid:
 *
 *    0  61 6e 63 68 6f 72 2d 72  65 63 6f 72 64 2f 76 31
 *   16  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
 *   32  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
 *   48  00 00 00 00 00 00 00 00  ba 78 16 bf 8f 01 cf ea
 *   64  41 41 40 de 5d ae 22 23  b0 03 61 a3 96 17 7a 9c
 *   80  b4 10 ff 61 f2 00 15 ad  4d 83 bb 3c 8f cb 05 1b
 *   96  7f 6f f5 c9 50 24 9b 5c  50 d6 da dc bb 64 9b 6e
 *  112  a0 7b 5d cb 7c af 89 db
 *
 * A cosignature, ANCHOR_COSIGNATURE_BYTES long:
 *
 *   offset  size  field
 *        0    16  magic, the text "anchor-cosign/v1"
 *       16     8  id of the record
 *       24    32  digest of the record
 *       56     8  time of signing, seconds since 1970 (POSIX)
 *       64    64  Ed25519 signature of the 64 bytes before it
 *      128    32  digest, the SHA-256 of the 128 bytes before it
 *
 * The magic opens what is hashed and what is signed, so that no digest or
 * signature made here can stand for bytes of another kind (domain
 * separation); C2SP tlog-cosignature does it with the line "cosignature/v1".
 * The last digest says that the bytes are whole, the signature says who
 * vouches for them. As in C2SP, the signed bytes do not name the witness:
 * a witness uses one key for one log and for nothing else.
 *
 * Outputs (..._out) are written only when all went well. Whatever a call gets
 * from libcrypto it frees, on every path; what is made once and used by all
 * calls may stay. A failure is that call's alone: the next one begins anew.
 */
#ifndef ANCHOR_RECORD_H
#define ANCHOR_RECORD_H

#include <stddef.h>
#include <stdint.h>

#define ANCHOR_DIGEST_BYTES      32
#define ANCHOR_KEY_BYTES         32
#define ANCHOR_SEED_BYTES        32
#define ANCHOR_SIGNATURE_BYTES   64
#define ANCHOR_MAGIC_BYTES       16
#define ANCHOR_RECORD_BYTES      120
#define ANCHOR_COSIGNATURE_BYTES 160

#define ANCHOR_RECORD_MAGIC      "anchor-record/v1"
#define ANCHOR_COSIGNATURE_MAGIC "anchor-cosign/v1"

/* What the bytes say. What the machine does to us is a negative errno. */
enum anchor_verdict {
    ANCHOR_OK,
    ANCHOR_UNJUDGED,      /* libcrypto failed, or this is not written yet */
    ANCHOR_TORN,          /* too short, or the last digest is wrong */
    ANCHOR_MALFORMED,     /* too long, or whole but not canonical */
    ANCHOR_REPEAT,        /* the log already has a record of this id */
    ANCHOR_GAP,           /* the log lacks the record before this one */
    ANCHOR_BROKEN_CHAIN,  /* prev is not the digest of the last record */
    ANCHOR_FULL,          /* the last id, 2^64 - 1, has no successor */
    ANCHOR_MISMATCH,      /* the cosignature names another record */
    ANCHOR_BAD_SIGNATURE, /* the witness did not sign this */
};

struct anchor_record {
    uint64_t id;
    uint8_t prev[ANCHOR_DIGEST_BYTES];
    uint8_t payload[ANCHOR_DIGEST_BYTES];
};

/* The log in memory: how many records, and the digest of the last one (all
 * zero while there is none, so `struct anchor_log log = {0};` is empty). */
struct anchor_log {
    uint64_t count;
    uint8_t last[ANCHOR_DIGEST_BYTES];
};

struct anchor_cosignature {
    uint64_t id;
    uint8_t digest[ANCHOR_DIGEST_BYTES];
    uint64_t time;
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
};

/* ---- w18-l01: records and the log ------------------------------------ */

/* SHA-256 (FIPS 180-4) of `length` bytes through EVP_Digest(3). With
 * `length` 0, `data` may be NULL.
 * Returns 0, or -ENOMEM when libcrypto fails. */
int anchor_sha256(const void *data, size_t length,
                  uint8_t digest_out[ANCHOR_DIGEST_BYTES]);

/* Writes the record's bytes. The first record has no predecessor: id 0 with
 * a prev that is not zero is -EINVAL. Also -ENOMEM. */
int anchor_record_encode(const struct anchor_record *record,
                         uint8_t bytes_out[ANCHOR_RECORD_BYTES]);

/* Reads a record back; there is one spelling and no other. In this order:
 *   1. fewer than ANCHOR_RECORD_BYTES, or a wrong digest: ANCHOR_TORN;
 *   2. more than ANCHOR_RECORD_BYTES, another magic, or id 0 with a prev
 *      that is not zero: ANCHOR_MALFORMED;
 *   3. otherwise ANCHOR_OK.
 * (More bytes than a record: 2 holds, whatever the digest.) Never reads past
 * `length`. A crash can leave torn bytes, but never malformed ones. */
enum anchor_verdict anchor_record_decode(const uint8_t *bytes, size_t length,
                                         struct anchor_record *record_out);

/* The digest that record id + 1 and the cosignature name.
 * Returns what anchor_record_encode returns. */
int anchor_record_digest(const struct anchor_record *record,
                         uint8_t digest_out[ANCHOR_DIGEST_BYTES]);

/* Makes the record that continues the log, which stays as it is.
 * Returns 0, or -EOVERFLOW when the log is full. */
int anchor_log_next(const struct anchor_log *log,
                    const uint8_t payload[ANCHOR_DIGEST_BYTES],
                    struct anchor_record *record_out);

/* Adds a record: its id is log->count and its prev is log->last. A log with
 * 2^64 - 1 records is full, since one more could not be counted. On any
 * verdict but ANCHOR_OK the log stays as it is. Ids are judged before the
 * chain: ANCHOR_FULL, ANCHOR_REPEAT, ANCHOR_GAP, ANCHOR_BROKEN_CHAIN. */
enum anchor_verdict anchor_log_append(struct anchor_log *log,
                                      const struct anchor_record *record);

/* ---- w18-l02: the witness's cosignature ------------------------------ */

/* The Ed25519 public key (RFC 8032) of a 32-byte secret seed; 0 or -ENOMEM. */
int anchor_ed25519_key(const uint8_t seed[ANCHOR_SEED_BYTES],
                       uint8_t key_out[ANCHOR_KEY_BYTES]);

/* Signs any message, an empty one included; 0 or -ENOMEM. */
int anchor_ed25519_sign(const uint8_t seed[ANCHOR_SEED_BYTES],
                        const void *message, size_t length,
                        uint8_t signature_out[ANCHOR_SIGNATURE_BYTES]);

/* ANCHOR_OK if and only if EVP_DigestVerify(3) returned exactly 1. It also
 * returns 0 and negative numbers, which C takes for "true" as well: all of
 * them are ANCHOR_BAD_SIGNATURE. */
enum anchor_verdict
anchor_ed25519_verify(const uint8_t key[ANCHOR_KEY_BYTES], const void *message,
                      size_t length,
                      const uint8_t signature[ANCHOR_SIGNATURE_BYTES]);

/* What a witness does once it has remembered the record (w18-l04): names
 * the record, dates it and signs. Returns 0, -EINVAL for a record that
 * cannot be encoded, or -ENOMEM. */
int anchor_cosign(const struct anchor_record *record, uint64_t time,
                  const uint8_t seed[ANCHOR_SEED_BYTES],
                  struct anchor_cosignature *cosignature_out);

/* Writes the cosignature's bytes; 0 or -ENOMEM. */
int anchor_cosignature_encode(const struct anchor_cosignature *cosignature,
                              uint8_t bytes_out[ANCHOR_COSIGNATURE_BYTES]);

/* Like anchor_record_decode: too short or a wrong last digest is
 * ANCHOR_TORN, too long or another magic ANCHOR_MALFORMED. Whether anybody
 * signed is a question for anchor_cosignature_verify. */
enum anchor_verdict
anchor_cosignature_decode(const uint8_t *bytes, size_t length,
                          struct anchor_cosignature *cosignature_out);

/* Does the cosignature match? It MUST name the record's id and digest
 * (ANCHOR_MISMATCH), and its signature MUST verify with the witness's
 * `key` of ANCHOR_KEY_BYTES (ANCHOR_BAD_SIGNATURE). Without a key (NULL)
 * the names alone are compared, which tells a slip but not a forgery. */
enum anchor_verdict
anchor_cosignature_verify(const struct anchor_cosignature *cosignature,
                          const struct anchor_record *record,
                          const uint8_t *key);

#endif
