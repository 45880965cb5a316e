/*
 * A hash table with open addressing, which doubles when it is three quarters
 * full.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A key has the first slot that was free from the one on that its hash names.
 * An entry is a cache miss, and a replay of many keys waits for little else: so
 * a search that passes other keys, and a table that grows, read slots alone. */
struct kv_slot {
    uint32_t hash;
    uint32_t number; /* of the entry, or FREE */
};

static const uint32_t FREE = UINT32_MAX;

/* FNV-1a, 64 bits (draft-eastlake-fnv), folded. */
static uint32_t hash_bytes(const uint8_t *p, size_t len)
{
    uint64_t hash = 0xCBF29CE484222325u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001B3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static struct kv_slot *next(const struct kv *kv, struct kv_slot *slot)
{
    return slot + 1 < kv->slots + kv->slot_count ? slot + 1 : kv->slots;
}

/* The slot of `key`, or the free one that it would have. There are slots, and
 * one of them is free. */
static struct kv_slot *find(const struct kv *kv, uint32_t hash, const void *key,
                            size_t key_len)
{
    struct kv_slot *slot = &kv->slots[hash & (kv->slot_count - 1)];

    for (; slot->number != FREE; slot = next(kv, slot)) {
        if (slot->hash != hash)
            continue;
        const struct kv_entry *entry = kv->entries[slot->number];
        if (entry->key_len == key_len && memcmp(entry->key, key, key_len) == 0)
            break;
    }
    return slot;
}

static struct kv_entry *entry_of(const struct kv *kv,
                                 const struct kv_slot *slot)
{
    return slot->number == FREE ? NULL : kv->entries[slot->number];
}

static int grow(struct kv *kv)
{
    struct kv bigger = *kv;

    bigger.slot_count = kv->slot_count ? 2 * kv->slot_count : 16;
    size_t most = bigger.slot_count / 4 * 3;
    bigger.entries = realloc(kv->entries, most * sizeof(*bigger.entries));
    if (!bigger.entries)
        return -ENOMEM;
    kv->entries = bigger.entries;
    bigger.slots = malloc(bigger.slot_count * sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    /* All FREE. It also takes the page faults in a row, and not one by one in
     * the middle of the searches. */
    memset(bigger.slots, 0xFF, bigger.slot_count * sizeof(*bigger.slots));
    for (size_t i = 0; i < kv->slot_count; i++) {
        struct kv_slot from = kv->slots[i];
        struct kv_slot *to = &bigger.slots[from.hash & (bigger.slot_count - 1)];

        if (from.number == FREE)
            continue;
        while (to->number != FREE)
            to = next(&bigger, to);
        *to = from;
    }
    free(kv->slots);
    *kv = bigger;
    return 0;
}

void kv_init(struct kv *kv)
{
    *kv = (struct kv){ 0 };
}

void kv_free(struct kv *kv)
{
    for (size_t i = 0; i < kv->count; i++)
        free(kv->entries[i]);
    free(kv->entries);
    free(kv->slots);
    kv_init(kv);
}

int kv_set(struct kv *kv, const void *key, size_t key_len, const void *value,
           size_t value_len)
{
    if (kv->count >= kv->slot_count / 4 * 3 && grow(kv) < 0)
        return -ENOMEM;

    uint32_t hash = hash_bytes(key, key_len);
    struct kv_slot *slot = find(kv, hash, key, key_len);
    struct kv_entry *old = entry_of(kv, slot);
    /* A value of the same size takes the old one's place: no allocation. */
    if (old && old->value_len == value_len) {
        if (value_len > 0)
            memmove(old->key + key_len, value, value_len);
        return 0;
    }

    struct kv_entry *entry = malloc(sizeof(*entry) + key_len + value_len);
    if (!entry)
        return -ENOMEM;
    entry->key_len = key_len;
    entry->value_len = value_len;
    entry->value = entry->key + key_len;
    memcpy(entry->key, key, key_len);
    if (value_len > 0)
        memcpy(entry->key + key_len, value, value_len);

    if (!old)
        *slot = (struct kv_slot){ hash, (uint32_t)kv->count++ };
    kv->entries[slot->number] = entry;
    free(old);
    return 0;
}

/* Empties `hole`. Whoever stands behind it and could stand in it moves up, or
 * the search for it would end there. */
static void close_hole(struct kv *kv, struct kv_slot *hole)
{
    size_t mask = kv->slot_count - 1;
    struct kv_slot *at = hole;

    while ((at = next(kv, at))->number != FREE) {
        size_t from_home = ((size_t)(at - kv->slots) - at->hash) & mask;
        size_t from_hole = (size_t)(at - hole) & mask;

        if (from_home >= from_hole) {
            *hole = *at;
            hole = at;
        }
    }
    hole->number = FREE;
}

void kv_del(struct kv *kv, const void *key, size_t key_len)
{
    if (kv->count == 0)
        return;

    struct kv_slot *slot = find(kv, hash_bytes(key, key_len), key, key_len);
    struct kv_entry *gone = entry_of(kv, slot);
    struct kv_entry *last = kv->entries[kv->count - 1];
    if (!gone)
        return;

    /* The last entry takes its number; it may be the last itself. */
    find(kv, hash_bytes(last->key, last->key_len), last->key, last->key_len)
        ->number = slot->number;
    kv->entries[slot->number] = last;
    kv->count--;
    close_hole(kv, slot);
    free(gone);
}

const struct kv_entry *kv_get(const struct kv *kv, const void *key,
                              size_t key_len)
{
    if (kv->count == 0)
        return NULL;

    return entry_of(kv, find(kv, hash_bytes(key, key_len), key, key_len));
}

void kv_each(const struct kv *kv,
             void (*visit)(void *arg, const struct kv_entry *entry), void *arg)
{
    for (size_t i = 0; i < kv->count; i++)
        visit(arg, kv->entries[i]);
}
