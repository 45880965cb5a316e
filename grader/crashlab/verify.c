/*
 * The floor of a recovery that verifies: how many Ed25519 signatures a second.
 * SPDX-License-Identifier: MIT
 *
 * Verifies one signature over and over with EVP_DigestVerify(3), the key made once.
 * Prints how many a second; `verify N` does it N times.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const unsigned char seed[32] = "a seed for the floor", message[64];

static int once(EVP_PKEY *key, const unsigned char *signature, size_t len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good = EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
               EVP_DigestVerify(context, signature, len, message,
                                sizeof(message)) == 1;

    EVP_MD_CTX_free(context);
    return !good;
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 10000, bad = 0;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
                                                 sizeof(seed));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[64];
    size_t len = sizeof(signature);
    struct timespec start, end;

    if (EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, signature, &len, message, sizeof(message)) != 1)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < times; i++)
        bad |= once(key, signature, len);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", times / ((double)(end.tv_sec - start.tv_sec) +
                              (double)(end.tv_nsec - start.tv_nsec) / 1e9));
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return bad;
}
