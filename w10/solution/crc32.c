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
    LEFT_BYTES = 304,   /* by a fold, for the table: 300, in words of 8 */
    FOLDED_BYTES = 4096 /* at most, in one go */
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

//< table
//> by_table
static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= STEP_BYTES; p += STEP_BYTES, len -= STEP_BYTES)
        crc = one_step(crc, p);
    for (; len > 0; p++, len--)
        crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xFF];
    return crc;
}
//< by_table
//> by_folding

static uint64_t load(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* The eight bytes at `p` and all that was added to them. */
static uint64_t sum(const uint8_t *p, const uint8_t *taken)
{
    return load(p) ^ load(taken - 145) ^ load(taken - 183) ^
           load(taken - 211) ^ load(taken - 300);
}

/*
 * A long piece needs no look-up before its last 304 bytes. The polynomial
 * divides x^300 + x^155 + x^117 + x^89 + 1, and so the eighth power of that,
 * which is the same sum with each exponent times eight: bytes for bits. A byte
 * may thus be taken away where it is added to the bytes 145, 183, 211 and 300
 * behind it (after Russell, "Chorba: A novel CRC32 implementation", 2024,
 * arXiv:2412.16398). `len` is a multiple of 8, LEFT_BYTES to FOLDED_BYTES.
 */
static uint32_t by_folding(uint32_t crc, const uint8_t *p, size_t len)
{
    uint8_t taken[LEFT_BYTES + FOLDED_BYTES], left[LEFT_BYTES];
    uint8_t *t = taken + LEFT_BYTES; /* what was taken away at p */
    uint64_t word;

    memset(taken, 0, LEFT_BYTES);
    for (int i = 0; i < 4; i++) /* is added to the first four bytes */
        t[i - 300] = (uint8_t)(crc >> (8 * i));
    for (; len > LEFT_BYTES; p += 8, t += 8, len -= 8) {
        word = sum(p, t);
        memcpy(t, &word, sizeof(word));
    }
    memset(t, 0, LEFT_BYTES); /* of what stays nothing is taken away */
    for (size_t i = 0; i < LEFT_BYTES; i += 8) {
        word = sum(p + i, t + i);
        memcpy(left + i, &word, sizeof(word));
    }
    return by_table(0, left, sizeof(left));
}
//< by_folding

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
//> crc32_update
    const uint8_t *p = data;

    crc = ~crc; /* undoes the final xor of the piece before */
    while (len >= 3 * LEFT_BYTES) {
        size_t n = len < FOLDED_BYTES ? len / 8 * 8 : FOLDED_BYTES;

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
