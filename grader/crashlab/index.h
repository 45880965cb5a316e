/*
 * What the operations say whatever the crash point: worked out once.
 * SPDX-License-Identifier: MIT
 *
 * A model is built anew for each crash point. With this it takes a time that
 * grows with the calls made by then, and not with their square.
 */
#ifndef CRASHLAB_INDEX_H
#define CRASHLAB_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "ops.h"

enum { BLOCK_BYTES = 4096 };

/* What is known of one operation. */
struct fate {
    uint64_t pinned_after; /* a sync pins it at every later crash point */
    uint64_t dropped_from; /* a failed sync has dropped it from this one on */
    size_t name[2];        /* indices of the names that it changes */
    size_t block;          /* of a write: the number of its first block */
};

/* Of a write's blocks, the numbers follow one another. */
struct index {
    const struct ops *ops;
    struct fate *fates;  /* by operation */
    struct entry *names; /* all there ever are, by directory and name; with
                             the node that each leads to at the start, or 0 */
    size_t name_count;
    size_t *first_name; /* by node, and one more: of a directory's names */
    size_t block_count; /* blocks of files that are ever written */
};

/* Points into `ops`. */
void index_build(struct index *index, const struct ops *ops);

void index_free(struct index *index);

#endif
