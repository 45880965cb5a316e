/*
 * One disk that a power loss may leave: its names, sizes and bytes.
 * SPDX-License-Identifier: MIT
 */
#ifndef CRASHLAB_DISK_H
#define CRASHLAB_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "ops.h"

struct model;

enum { PATH_MAX_BYTES = 4096 };

struct disk_file {
    uint32_t node;
    int is_dir;
    size_t parent;    /* index of its directory */
    const char *name; /* NULL: the root */
    size_t same_as;   /* index of the first name of the same file, or its own */
    uint64_t size;
    const uint8_t *bytes; /* `len` of them; the rest of the size is zeros */
    size_t len;
    struct digest digest; /* of size and bytes */
};

/* Begins as zeros; may serve again for another model of the same operations. */
struct disk {
    struct disk_file *files; /* a directory before its files; [0] is the root */
    size_t file_count;
    size_t cost; /* about how many steps disk_of() is worth, at this point */

    const struct model *model;
    struct content *contents; /* by node */
    size_t node_count, room;
    uint8_t *memory;
    size_t memory_bytes;
    uint32_t *leads_to; /* by name, in this set and in every set */
    uint32_t *base;
    uint32_t *open; /* the steps that disk_of() looks at */
    size_t open_count, open_room;
};

/* Prepares for the sets of steps of one model: what has persisted in all of
 * them is worked out here. To be called anew when the model was built anew. */
void disk_begin(struct disk *disk, const struct model *m);

/* Works out what is left if of the model's steps those that are `kept` have
 * persisted. Points into the operations. */
void disk_of(struct disk *disk, const uint8_t *kept);

/* Of names, sizes, bytes, and the count of the promises given. */
struct digest disk_digest(const struct disk *disk, size_t ack_count);

/* The path of file `i` below the root; `room` has PATH_MAX_BYTES for it. NULL
 * if it is longer. */
const char *disk_path(const struct disk *disk, size_t i, char *room);

/* Makes all of it in the empty directory `dir_fd`. 0 or a negative errno. */
int disk_write(const struct disk *disk, int dir_fd);

/* Removes what disk_write() made, as far as it is still there. */
void disk_remove(const struct disk *disk, int dir_fd);

void disk_free(struct disk *disk);

#endif
