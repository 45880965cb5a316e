/*
 * A checksum that takes eight bytes a step, by eight tables.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crc32.h"

static uint32_t table[8][256];

/* table[k][i] is the register after the byte i and k zero bytes behind it. */
static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320u);
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = table[k - 1][i];

            table[k][i] = (crc >> 8) ^ table[0][crc & 255];
        }
    }
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    if (table[0][1] == 0)
        make_tables();
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t next = 0;

        for (int i = 0; i < 4; i++) {
            next ^= table[7 - i][((crc >> (8 * i)) & 255) ^ p[i]];
            next ^= table[3 - i][p[4 + i]];
        }
        crc = next;
    }
    for (; len > 0; len--)
        crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
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
