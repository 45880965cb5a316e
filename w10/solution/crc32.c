/*
 * CRC-32/IEEE, four bits a step.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crc32.h"

//> table
/* The CRC of each 4-bit value: the remainder of i by 0xEDB88320, reflected. */
static const uint32_t table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC,
    0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
    0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};
//< table

uint32_t crc32_update(uint32_t crc, const void *data, size_t len)
{
//> crc32_update
    const uint8_t *p = data;

    crc = ~crc; /* undoes the final xor of the piece before */
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
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
