/*
 * Two multiply-and-fold lanes over 64-bit words, and a hash set.
 * SPDX-License-Identifier: MIT
 */
#include "digest.h"

#include "own.h"

struct digest digest_number(struct digest d, uint64_t number)
{
    d.a = (d.a ^ number) * 0x9E3779B97F4A7C15u;
    d.a ^= d.a >> 32;
    d.b = (d.b + number) * 0xC2B2AE3D27D4EB4Fu;
    d.b ^= d.b >> 29;
    return d;
}

struct digest digest_bytes(struct digest d, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    d = digest_number(d, len);
    for (; len > 0;) {
        size_t n = len < 8 ? len : 8;
        uint64_t word = 0;

        for (size_t i = 0; i < n; i++)
            word |= (uint64_t)p[i] << 8 * i; /* the same on every machine */
        d = digest_number(d, word);
        p += n;
        len -= n;
    }
    return d;
}

static struct digest *slot_of(struct digest *slots, size_t room,
                              struct digest d)
{
    size_t i = d.a & (room - 1);

    while ((slots[i].a || slots[i].b) &&
           (slots[i].a != d.a || slots[i].b != d.b))
        i = (i + 1) & (room - 1);
    return &slots[i];
}

static void grow(struct seen *seen)
{
    size_t room = seen->room ? 2 * seen->room : 1024;
    struct digest *slots = own_new(room * sizeof(*slots));

    for (size_t i = 0; i < seen->room; i++) {
        if (seen->slots[i].a || seen->slots[i].b)
            *slot_of(slots, room, seen->slots[i]) = seen->slots[i];
    }
    own_free(seen->slots, seen->room * sizeof(*slots));
    seen->slots = slots;
    seen->room = room;
}

int seen_add(struct seen *seen, struct digest d)
{
    size_t most = seen->room_max ? seen->room_max : SEEN_SLOTS_MAX;

    if (4 * seen->count >= 3 * seen->room && seen->room < most)
        grow(seen);
    if (!d.a && !d.b)
        d.a = 1; /* zeros mark a free slot */
    struct digest *slot = slot_of(seen->slots, seen->room, d);
    if (slot->a || slot->b)
        return 0;
    if (4 * seen->count >= 3 * seen->room) {
        /* A free slot stays free, or a probe would find no end. */
        slot = &seen->slots[d.a & (seen->room - 1)];
        seen->forgotten++;
        if (slot->a || slot->b)
            *slot = d;
        return 1;
    }
    *slot = d;
    seen->count++;
    return 1;
}

void seen_clear(struct seen *seen)
{
    own_free(seen->slots, seen->room * sizeof(*seen->slots));
    seen->slots = NULL;
    seen->room = seen->count = 0;
}
