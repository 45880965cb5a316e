/*
 * A chained hash table that doubles when it is full.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits (draft-eastlake-fnv). */
static uint64_t hash_bytes(const uint8_t *p, size_t len)
{
    uint64_t hash = 0xCBF29CE484222325u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001B3u;
    return hash;
}

/* The chain that `key` belongs to. There is a power of two of them, not 0. */
static struct kv_entry **chain(const struct kv *kv, const void *key,
                               size_t key_len)
{
    return &kv->buckets[hash_bytes(key, key_len) & (kv->bucket_count - 1)];
}

/* Where the pointer to `key` is, or the end of its chain. */
static struct kv_entry **find(const struct kv *kv, const void *key,
                              size_t key_len)
{
    struct kv_entry **at = chain(kv, key, key_len);

    while (*at &&
           ((*at)->key_len != key_len || memcmp((*at)->key, key, key_len) != 0))
        at = &(*at)->next;
    return at;
}

static int grow(struct kv *kv)
{
    struct kv bigger = { .count = kv->count };

    bigger.bucket_count = kv->bucket_count ? 2 * kv->bucket_count : 16;
    bigger.buckets = calloc(bigger.bucket_count, sizeof(*bigger.buckets));
    if (!bigger.buckets)
        return -ENOMEM;
    for (size_t i = 0; i < kv->bucket_count; i++) {
        struct kv_entry *entry = kv->buckets[i];

        while (entry) {
            struct kv_entry *next = entry->next;
            struct kv_entry **at = chain(&bigger, entry->key, entry->key_len);

            entry->next = *at;
            *at = entry;
            entry = next;
        }
    }
    free(kv->buckets);
    *kv = bigger;
    return 0;
}

void kv_init(struct kv *kv)
{
    *kv = (struct kv){ 0 };
}

void kv_free(struct kv *kv)
{
    for (size_t i = 0; i < kv->bucket_count; i++) {
        struct kv_entry *entry = kv->buckets[i];

        while (entry) {
            struct kv_entry *next = entry->next;

            free(entry);
            entry = next;
        }
    }
    free(kv->buckets);
    kv_init(kv);
}

int kv_set(struct kv *kv, const void *key, size_t key_len, const void *value,
           size_t value_len)
{
    if (kv->count >= kv->bucket_count && grow(kv) < 0)
        return -ENOMEM;

    struct kv_entry **at = find(kv, key, key_len);
    struct kv_entry *old = *at;
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

    entry->next = old ? old->next : NULL;
    *at = entry;
    kv->count += old ? 0 : 1;
    free(old);
    return 0;
}

void kv_del(struct kv *kv, const void *key, size_t key_len)
{
    if (kv->bucket_count == 0)
        return;

    struct kv_entry **at = find(kv, key, key_len);
    struct kv_entry *old = *at;
    if (old) {
        *at = old->next;
        kv->count--;
        free(old);
    }
}

const struct kv_entry *kv_get(const struct kv *kv, const void *key,
                              size_t key_len)
{
    return kv->bucket_count ? *find(kv, key, key_len) : NULL;
}

void kv_each(const struct kv *kv,
             void (*visit)(void *arg, const struct kv_entry *entry), void *arg)
{
    for (size_t i = 0; i < kv->bucket_count; i++) {
        for (const struct kv_entry *e = kv->buckets[i]; e; e = e->next)
            visit(arg, e);
    }
}
