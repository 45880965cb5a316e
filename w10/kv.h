/*
 * A small key-value map in memory: given, complete, and not durable at all.
 * SPDX-License-Identifier: MIT
 *
 *     struct kv kv;
 *
 *     kv_init(&kv);
 *     int err = kv_set(&kv, "foo", 3, "bar", 3);
 *     const struct kv_entry *entry = kv_get(&kv, "foo", 3);
 *     kv_free(&kv);
 *
 * The log makes it survive: replaying the log's records in order, kv_set() for
 * each SET and kv_del() for each DEL, builds the map as it was.
 */
#ifndef KV_H
#define KV_H

#include <stddef.h>
#include <stdint.h>

/* One pair, owned by the map. Any byte may stand in the key and the value. */
struct kv_entry {
    size_t key_len;
    size_t value_len;
    const uint8_t *value; /* behind the key */
    uint8_t key[];
};

struct kv {
    struct kv_entry **entries; /* `count` of them, in no particular order */
    size_t count;              /* pairs in the map */
    struct kv_slot *slots;     /* say where among them a key is */
    size_t slot_count;         /* a power of two, or 0 */
};

/* An empty map. Allocates nothing, cannot fail. */
void kv_init(struct kv *kv);

/* Gives all memory back; the map is empty again. */
void kv_free(struct kv *kv);

/* Sets `key` to `value`, both copied. Returns 0, or -ENOMEM and no change. */
int kv_set(struct kv *kv, const void *key, size_t key_len, const void *value,
           size_t value_len);

/* Removes `key`; a key that is not there is no error. */
void kv_del(struct kv *kv, const void *key, size_t key_len);

/* The pair of `key`, valid until the map is next changed, or NULL. */
const struct kv_entry *kv_get(const struct kv *kv, const void *key,
                              size_t key_len);

/* Calls visit(arg, entry) once for every pair, in no particular order. The map
 * must not be changed meanwhile. */
void kv_each(const struct kv *kv,
             void (*visit)(void *arg, const struct kv_entry *entry), void *arg);

#endif
