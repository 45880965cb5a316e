/*
 * A log that is made, and later opened and read whole. Each has its own file.
 * SPDX-License-Identifier: MIT
 *
 * A record has a key of 8 bytes, one of `keys`, and a value. `size` is that of
 * the whole record in w10's layout, so that all have pairs of one size.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include <stdint.h>

enum { REPLAY_KEY_BYTES = 8, REPLAY_AROUND_VALUE_BYTES = 11 + 12 + 2 + 1 };

/* Number `i` as a key, in an order that is none. */
static inline void replay_key(uint64_t i, uint8_t key[REPLAY_KEY_BYTES])
{
    uint64_t mixed = i * 0x9E3779B97F4A7C15u;

    for (int byte = 0; byte < REPLAY_KEY_BYTES; byte++)
        key[byte] = (uint8_t)(mixed >> (8 * byte));
}

/* Each ends the program where it fails. replay_make() leaves a log that is
 * synced and was not closed; replay_open() is what is measured, and
 * replay_count() says how many pairs it has then. */
void replay_make(const char *path, uint64_t count, uint64_t keys,
                 uint32_t size);
void replay_open(const char *path);
uint64_t replay_count(void);

#endif
