/*
 * Calls of w18/anchor_record.h: the witness's cosignature.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "anchor_args.h"

enum { UNTOUCHED = 0xA5 };

static void reply_cosignature(const struct anchor_cosignature *cosignature)
{
    reply(" id=%llu", (unsigned long long)cosignature->id);
    reply_bytes("digest", cosignature->digest, sizeof(cosignature->digest));
    reply(" time=%llu", (unsigned long long)cosignature->time);
    reply_bytes("signature", cosignature->signature,
                sizeof(cosignature->signature));
}

/* anchor_ed25519_key SEED */
static void call_key(char **args)
{
    uint8_t seed[ANCHOR_SEED_BYTES], key[ANCHOR_KEY_BYTES];

    exactly(seed, sizeof(seed), args[0]);
    memset(key, UNTOUCHED, sizeof(key));
    reply(" ret=%d", anchor_ed25519_key(seed, key));
    reply_bytes("key", key, sizeof(key));
}

/* anchor_ed25519_sign SEED MESSAGE */
static void call_sign(char **args)
{
    uint8_t seed[ANCHOR_SEED_BYTES], signature[ANCHOR_SIGNATURE_BYTES];
    size_t len;
    uint8_t *message = bytes_of(args[1], &len);

    exactly(seed, sizeof(seed), args[0]);
    memset(signature, UNTOUCHED, sizeof(signature));
    reply(" ret=%d", anchor_ed25519_sign(seed, message, len, signature));
    reply_bytes("signature", signature, sizeof(signature));
    free(message);
}

/* anchor_ed25519_verify KEY MESSAGE SIGNATURE */
static void call_verify_bytes(char **args)
{
    uint8_t key[ANCHOR_KEY_BYTES], signature[ANCHOR_SIGNATURE_BYTES];
    size_t len;
    uint8_t *message = bytes_of(args[1], &len);

    exactly(key, sizeof(key), args[0]);
    exactly(signature, sizeof(signature), args[2]);
    reply(" verdict=%d",
          (int)anchor_ed25519_verify(key, message, len, signature));
    free(message);
}

/* anchor_cosign ID PREV PAYLOAD TIME SEED */
static void call_cosign(char **args)
{
    struct anchor_record record = record_of(args);
    struct anchor_cosignature cosignature;
    uint8_t seed[ANCHOR_SEED_BYTES];

    exactly(seed, sizeof(seed), args[4]);
    memset(&cosignature, UNTOUCHED, sizeof(cosignature));
    reply(" ret=%d",
          anchor_cosign(&record, u64_of(args[3]), seed, &cosignature));
    reply_cosignature(&cosignature);
}

/* anchor_cosignature_encode ID DIGEST TIME SIGNATURE */
static void call_encode(char **args)
{
    struct anchor_cosignature cosignature = cosignature_of(args);
    uint8_t *bytes = malloc(ANCHOR_COSIGNATURE_BYTES);

    memset(bytes, UNTOUCHED, ANCHOR_COSIGNATURE_BYTES);
    reply(" ret=%d", anchor_cosignature_encode(&cosignature, bytes));
    reply_bytes("buf", bytes, ANCHOR_COSIGNATURE_BYTES);
    free(bytes);
}

/* anchor_cosignature_decode BYTES */
static void call_decode(char **args)
{
    struct anchor_cosignature cosignature, before;
    size_t len;
    uint8_t *bytes = bytes_of(args[0], &len);

    memset(&before, UNTOUCHED, sizeof(before));
    cosignature = before;
    enum anchor_verdict verdict =
        anchor_cosignature_decode(bytes, len, &cosignature);
    reply(" verdict=%d", (int)verdict);
    if (verdict == ANCHOR_OK)
        reply_cosignature(&cosignature);
    else
        reply(" wrote=%d", memcmp(&cosignature, &before, sizeof(before)) != 0);
    free(bytes);
}

/* anchor_cosignature_verify ID DIGEST TIME SIGNATURE ID PREV PAYLOAD KEY: the
 * cosignature, the record, and the witness's key or x for none. */
static void call_verify(char **args)
{
    struct anchor_cosignature cosignature = cosignature_of(args);
    struct anchor_record record = record_of(args + 4);
    size_t len;
    uint8_t *key = bytes_of(args[7], &len);

    reply(" verdict=%d", (int)anchor_cosignature_verify(&cosignature, &record,
                                                        len ? key : NULL));
    free(key);
}

static const struct call calls[] = {
    { "anchor_ed25519_key", call_key },
    { "anchor_ed25519_sign", call_sign },
    { "anchor_ed25519_verify", call_verify_bytes },
    { "anchor_cosign", call_cosign },
    { "anchor_cosignature_encode", call_encode },
    { "anchor_cosignature_decode", call_decode },
    { "anchor_cosignature_verify", call_verify },
    { NULL, NULL },
};

/* libcrypto reads its configuration and fetches SHA-256 and Ed25519 at the first
 * use of each. That the signature is none does not matter. */
static void warm_up(void)
{
    static const unsigned char zeros[64];
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, zeros, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);
    if (key && context &&
        EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1)
        EVP_DigestVerify(context, zeros, sizeof(zeros), zeros, sizeof(zeros));
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
    driver_warm_up = warm_up;
}
