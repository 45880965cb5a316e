/*
 * crc BLOCKS: crc32_update() beside a loop that looks up a byte at a time.
 * SPDX-License-Identifier: MIT
 *
 * Prints how many blocks of 4 KiB a second each of them takes, in turns.
 */
#define _POSIX_C_SOURCE 200809L

#include "bench.h"
#include "crc32.h"

enum { BLOCK_BYTES = 4096, TURN_BLOCKS = 256 };

static uint32_t table[256];
static uint8_t block[BLOCK_BYTES];

static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        table[b] = b;
        for (int bit = 0; bit < 8; bit++)
            table[b] = (table[b] >> 1) ^ (table[b] & 1 ? 0xEDB88320 : 0);
    }
}

static uint32_t by_the_byte(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xFF];
    return ~crc;
}

/* The seconds of a turn; *crc goes on, so that no call can be left out. */
static double turn(uint32_t (*update)(uint32_t, const void *, size_t),
                   uint32_t *crc)
{
    double began = now();

    for (int i = 0; i < TURN_BLOCKS; i++)
        *crc = update(*crc, block, sizeof(block));
    return now() - began;
}

int main(int argc, char **argv)
{
    double ours = 0, bytes = 0;
    uint32_t crc = 0, again = 0;
    unsigned long done = 0;

    must(argc < 2, "crc BLOCKS");
    unsigned long blocks = strtoul(argv[1], NULL, 10);
    must(blocks == 0, "BLOCKS");
    make_table();
    for (int i = 0; i < BLOCK_BYTES; i++)
        block[i] = (uint8_t)(i * 7 + i / 256);
    for (; done < blocks; done += TURN_BLOCKS) {
        ours += turn(crc32_update, &crc);
        bytes += turn(by_the_byte, &again);
    }
    must(crc != again, "the two differ");
    printf("%.1f %.1f\n", (double)done / ours, (double)done / bytes);
    return 0;
}
