/*
 * CRC-32/IEEE over bytes in memory.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crc32.h"

//> table
#include <string.h>

enum {
    STEP_BYTES = 16,
    FOLD_BYTES = 304, /* what a fold leaves: 300, rounded up to words of 8 */
    BLOCK_BYTES = 4096,
};

/* table[k][b] is the CRC of the byte b with k zero bytes behind it. */
static uint32_t table[STEP_BYTES][256];

/* Runs before main(), so that no thread can meet half a table. */
__attribute__((constructor)) static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        table[0][b] = b;
        for (int bit = 0; bit < 8; bit++)
            table[0][b] =
                (table[0][b] >> 1) ^ (table[0][b] & 1 ? 0xEDB88320 : 0);
    }
    for (int k = 1; k < STEP_BYTES; k++) {
        for (int b = 0; b < 256; b++)
            table[k][b] = (table[k - 1][b] >> 8) ^
                          table[0][table[k - 1][b] & 0xFF];
    }
}

/* The CRCs of four bytes, each as it is with those behind it and `zeros` zero
 * bytes more. */
static uint32_t four(int zeros, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return table[zeros + 3][a] ^ table[zeros + 2][b] ^ table[zeros + 1][c] ^
           table[zeros][d];
}

/*
 * The CRC of a sum (an xor) is the sum of the CRCs. So sixteen bytes are taken
 * apart, and no look-up waits for another (Kounavis and Berry, "A Systematic
 * Approach to Building High Performance, Software-based, CRC Generators",
 * 2005). What came before is added to the first four.
 */
static uint32_t one_step(uint32_t crc, const uint8_t *p)
{
    return four(12, p[0] ^ (crc & 0xFF), p[1] ^ ((crc >> 8) & 0xFF),
                p[2] ^ ((crc >> 16) & 0xFF), p[3] ^ (crc >> 24)) ^
           four(8, p[4], p[5], p[6], p[7]) ^ four(4, p[8], p[9], p[10], p[11]) ^
           four(0, p[12], p[13], p[14], p[15]);
}

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= STEP_BYTES; p += STEP_BYTES, len -= STEP_BYTES)
        crc = one_step(crc, p);
    for (; len > 0; p++, len--)
        crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xFF];
    return crc;
}

static uint64_t load(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* The eight bytes at `p`, with all that was taken away in front of them. */
static uint64_t fold(const uint8_t *p, const uint8_t *taken)
{
    return load(p) ^ load(taken - 145) ^ load(taken - 183) ^
           load(taken - 211) ^ load(taken - 300);
}

/*
 * The polynomial divides x^300 + x^155 + x^117 + x^89 + 1. It divides the eighth
 * power of that too, which is the same sum with each exponent times eight: so
 * with bytes for bits. A byte can be taken away if it is added to those that
 * stand 145, 183, 211 and 300 behind it, and no table is needed until 304 bytes
 * are left (the idea is that of Russell, "Chorba", 2024, arXiv:2412.16398).
 * `len` is a multiple of 8, from FOLD_BYTES to BLOCK_BYTES.
 */
static uint32_t by_folding(uint32_t crc, const uint8_t *p, size_t len)
{
    uint8_t taken[BLOCK_BYTES + FOLD_BYTES] = { 0 }, left[FOLD_BYTES];
    uint8_t *q = taken + FOLD_BYTES;
    uint64_t word;

    for (int i = 0; i < 4; i++) /* comes to stand on the first four bytes */
        q[i - 300] = (uint8_t)(crc >> (8 * i));
    for (; len > FOLD_BYTES; p += 8, q += 8, len -= 8) {
        word = fold(p, q);
        memcpy(q, &word, sizeof(word));
    }
    for (size_t i = 0; i < FOLD_BYTES; i += 8) {
        word = fold(p + i, q + i);
        memcpy(left + i, &word, sizeof(word));
    }
    return by_table(0, left, sizeof(left));
}
//< table

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
//> crc32_update
    const uint8_t *p = data;

    crc = ~crc; /* undoes the final xor of the piece before */
    while (len >= 3 * FOLD_BYTES) {
        size_t n = len < BLOCK_BYTES ? len / 8 * 8 : BLOCK_BYTES;

        crc = by_folding(crc, p, n);
        p += n;
        len -= n;
    }
    return ~by_table(crc, p, len);
//< crc32_update
/* skeleton crc32_update
    (void)crc;
    (void)data;
    (void)len;
    return 0;
*/
}

#ifdef SELF_TEST

#include <stdio.h>

int main(void)
{
    static const uint8_t zeros[4];
    uint32_t first = crc32_update(0, "1234", 4);

    printf("crc32 of nothing: %08x\n", (unsigned)crc32_update(0, NULL, 0));
    printf("crc32 of 123456789: %08x\n",
           (unsigned)crc32_update(0, "123456789", 9));
    printf("crc32 of 1234, then 56789: %08x\n",
           (unsigned)crc32_update(first, "56789", 5));
    printf("crc32 of four zero bytes: %08x\n",
           (unsigned)crc32_update(0, zeros, sizeof(zeros)));
    return 0;
}

#endif
