/*
 * A digest of 128 bits, and a set of them: what is remembered of a disk.
 * SPDX-License-Identifier: MIT
 *
 * Not a cryptographic one. It tells disks apart that nobody made to look alike:
 * among a million, two that differ collide with a chance of 1 in 10^26.
 */
#ifndef CRASHLAB_DIGEST_H
#define CRASHLAB_DIGEST_H

#include <stddef.h>
#include <stdint.h>

struct digest {
    uint64_t a, b;
};

/* What a digest begins with: the first digits of pi. */
static const struct digest DIGEST_START = { 0x243F6A8885A308D3u,
                                            0x13198A2E03707344u };

/* `len` bytes more, and their count: "ab" and "c" differ from "a" and "bc". */
struct digest digest_bytes(struct digest d, const void *bytes, size_t len);

struct digest digest_number(struct digest d, uint64_t number);

enum { SEEN_SLOTS_MAX = 1 << 23 }; /* 128 MiB */

/* Begins as zeros. Once three of four slots are taken and there may be no more
 * of them, of an old and a new digest one is forgotten: it may be
 * said to be new a second time, and one that is new is never said not to be. */
struct seen {
    struct digest *slots; /* open addressing; all zeros: free */
    size_t room;          /* a power of two */
    size_t count;
    size_t room_max;  /* a power of two, 0: SEEN_SLOTS_MAX */
    size_t forgotten; /* digests */
};

/* 1 if it was not in the set yet; it is now. */
int seen_add(struct seen *seen, struct digest d);

/* Empties it. What was forgotten stays counted. */
void seen_clear(struct seen *seen);

#endif
