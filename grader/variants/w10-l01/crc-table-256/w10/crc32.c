/*
 * A checksum with a table of 256 entries, made at the first call.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crc32.h"

static uint32_t table[256];

/* Entry i is the CRC register after the byte i, begun with 0. */
static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
        table[i] = crc;
    }
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data, *end = p + len;

    if (table[1] == 0)
        make_table();
    crc ^= 0xFFFFFFFF;
    while (p != end)
        crc = table[(crc ^ *p++) & 0xFF] ^ (crc >> 8);
    return crc ^ 0xFFFFFFFF;
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
