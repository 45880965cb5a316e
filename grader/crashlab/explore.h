/*
 * Runs a program on every disk and keeps the smallest one that it refuses.
 * SPDX-License-Identifier: MIT
 */
#ifndef CRASHLAB_EXPLORE_H
#define CRASHLAB_EXPLORE_H

#include "search.h"

enum { CHECK_SECONDS = 10 };

struct explore {
    const char *program;
    char *path; /* its absolute path */
    char *dir;  /* a directory to work in */
    int found;  /* a disk was refused; then: */
    uint64_t number, point;
    size_t lost;
    int status; /* as wait(2) gives it */
};

/*
 * Runs the search with a visit() of its own; says on standard output which disk
 * was refused: the one with the earliest crash point and, of these, with the
 * fewest lost steps. Returns 0 or a negative errno; see search_run().
 */
int explore_run(struct explore *explore, struct search *search,
                const struct op **wrong_out);

#endif
