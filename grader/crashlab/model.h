/*
 * What a power loss may leave: the rules, and the steps they are applied to.
 * SPDX-License-Identifier: MIT
 *
 * The rules of the profile `posix`:
 *
 *   1. A crash point is any prefix of the calls that had started. Each small
 *      step of a started call may have persisted or not.
 *   2. File data is split at 4096-byte blocks. A block's persisted content is
 *      one of its versions in program order; blocks are independent. (Profile
 *      torn512: one block at a time is split at 512-byte sectors, and each of
 *      its sectors has versions of its own.)
 *   3. A file's size is a version of its own, independent of the data; size
 *      ahead of data reads as zeros.
 *   4. Directory operations persist independently across names and in order per
 *      name. A rename is one step, on both names.
 *   5. A completed fsync of a file pins its blocks and size as they were when
 *      it was entered, not its name. fsync of a directory pins that directory's
 *      entries; a rename across directories needs both. sync and syncfs pin
 *      all. A call that failed or had not returned pins nothing. A sync that
 *      failed drops what it covered: no later sync pins it, and what is written
 *      later may persist without it.
 *   6. A directory's own name needs the fsync of its parent. What no name leads
 *      to is gone.
 *   7. Promises are the acknowledgements whose write had been entered before
 *      the crash point. They are never dropped.
 *   8. The disk at the start is durable. A write with O_SYNC, O_DSYNC or
 *      RWF_DSYNC is a write and its sync. A truncation and what it cuts go
 *      together, so later bytes in a cut block wait for it. One write may
 *      expose every size at a block boundary on its way.
 *
 * All of them come down to this. A call is a few *steps*; a step waits for
 * others, those that came before it on the same block, size or name; some steps
 * are *pinned*. A disk that a power loss may leave is a set of steps that holds
 * every pinned one and, with a step, all that it waits for. Applying the steps
 * of the set in program order gives its content.
 */
#ifndef CRASHLAB_MODEL_H
#define CRASHLAB_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"

enum {
    SECTOR_BYTES = 512,
    WAITS_MAX = 4,
};

enum step_kind {
    STEP_DATA, /* bytes `from` to `to` of the file become the write's */
    STEP_GROW, /* the size becomes `to`, unless it is larger */
    STEP_CUT,  /* the size becomes `to`, was `from`; what was behind, zeros */
    STEP_NAME, /* a name, or two at once, lead elsewhere */
};

struct step {
    enum step_kind kind;
    uint8_t pinned;  /* it has persisted */
    uint8_t dropped; /* a failed sync covered it */
    uint8_t wait_count;
    uint32_t waits[WAITS_MAX]; /* indices of earlier steps */
    uint32_t leads_to[2];      /* for STEP_NAME: nodes, 0 for none */
    uint64_t from, to;
    ptrdiff_t cut_before; /* for STEP_CUT: the cut of this file before, or -1 */
    const struct op *op;
};

/* One block that is split at sectors, or node 0 for none. */
struct split {
    uint32_t node;
    uint64_t block;
};

struct model {
    const struct index *index;
    const struct ops *ops;
    uint64_t point;     /* the crash comes just after this position */
    struct step *steps; /* in program order */
    size_t step_count;
    size_t step_room;
    size_t ack_count; /* promises given */
    struct cell *cells;
};

/*
 * The steps of all calls entered at or before `point`. The model keeps pointing
 * into `index`. It may be built again for another point of the same operations;
 * *model begins as zeros.
 *
 * Returns 0; or, for the point NEVER, at which all have been made, -EINVAL and
 * in *wrong_out an operation that cannot have happened: a name that was not
 * there was unlinked, or one that was there was made.
 */
int model_build(struct model *model, const struct index *index, uint64_t point,
                struct split split, const struct op **wrong_out);

/* What the index knows of the operation of a step. */
const struct fate *model_fate(const struct model *model,
                              const struct step *step);

/* The number of the block in which a STEP_DATA begins. */
size_t model_block(const struct model *model, const struct step *step);

void model_free(struct model *model);

#endif
