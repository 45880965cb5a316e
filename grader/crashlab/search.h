/*
 * All disks that a power loss may leave, one after another, each of them once.
 * SPDX-License-Identifier: MIT
 */
#ifndef CRASHLAB_SEARCH_H
#define CRASHLAB_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"
#include "ops.h"

struct disk;

enum profile { PROFILE_POSIX, PROFILE_TORN512 };

/* One disk. It lives until visit() returns. */
struct state {
    uint64_t number; /* from 0 on; the same in every search of the same kind */
    const struct model *model;
    const uint8_t *kept;     /* for each step of the model: has it persisted? */
    const struct disk *disk; /* what that makes */
    size_t lost;             /* steps that have not */
    struct split split;
};

struct search {
    const struct ops *ops;
    enum profile profile;
    /* Sets of steps that are tried at one crash point, fewer where there are
     * many points of many steps (SEARCH_WORK). Where there are more, only some
     * are that differ by up to two steps from everything and from nothing
     * having persisted, and `bounded` says at how many points. */
    size_t cap;
    int (*visit)(void *arg, const struct state *state); /* not 0: stop */
    void *arg;

    /* Counted by the search: distinct pairs of a disk and its promises. Of those
     * that were forgotten some may have been visited, and counted, twice. */
    uint64_t states;
    uint64_t forgotten;
    size_t points;
    size_t bounded;
};

#define SEARCH_CAP_DEFAULT 4096

/* The cap holds as it is as long as a set of every point would together be this
 * many steps; a file of N times as many has a cap of an Nth. */
#define SEARCH_WORK (1 << 17)

/*
 * Calls visit() for every distinct pair of a disk and the promises given by
 * then, crash points in their order; at one point, the disk that lost least of
 * those that look the same. What is remembered of a disk is a digest,
 * and of at most 6 million under the same promises.
 *
 * Returns 0; what visit() returned; or -EINVAL and *wrong_out, as
 * model_build().
 */
int search_run(struct search *search, const struct op **wrong_out);

#endif
