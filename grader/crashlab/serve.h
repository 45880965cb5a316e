/*
 * A fork server: makes every disk in turn and runs a check on each in a child.
 * SPDX-License-Identifier: MIT
 *
 * Linked with the program that is judged, statically, and best run as PID 1 of
 * a namespace. Nothing of that program runs in the server itself: only in a
 * child, which gets the disk as its working directory and is gone, with all
 * that it started, before the next disk is made. For each disk the server
 * writes
 *
 *   = 17 12 2                state 17, crash after position 12, 2 steps lost
 *   @ f test.wal 21 x29f0…   what was on the disk: a file, size and bytes
 *   @ d sub                  ...or a directory
 *   ...                      what the check said
 *   = exit 0                 exit STATUS, signal NUMBER, time (it hung) or much (it said)
 *
 * and at the end `= sum STATES POINTS BOUNDED`, or `= stopped` before the sum
 * where too many children had to be killed. Bytes stand up to the last that is
 * not zero, and up to SERVE_SHOWN_BYTES of them.
 */
#ifndef CRASHLAB_SERVE_H
#define CRASHLAB_SERVE_H

#include <stddef.h>
#include <stdio.h>

#include "search.h"

enum {
    SERVE_SHOWN_BYTES = 16384,
    SERVE_REPORT_BYTES = 1 << 20, /* what a check may say of one disk */
    SERVE_KILLED_MAX = 5, /* children that hang before the server gives up */
};

#define SERVE_SECONDS 1.0 /* for one child */

struct serve {
    const struct ops *ops;
    enum profile profile;
    size_t cap;
    void (*check)(void *arg); /* runs in the child; returns or does not */
    void *arg;
    FILE *out; /* its writes must bear EINTR: a timer ticks */
};

enum { SERVE_GAVE_UP = 1 };

/*
 * Runs the search. Returns 0; SERVE_GAVE_UP where too many children had to be
 * killed; or a negative errno: the disk could not be written (full, say) or a
 * process not be made. *wrong_out as in search_run().
 */
int serve_run(const struct serve *serve, const struct op **wrong_out);

/* In the child: adds to the report. */
void serve_say(const char *text, size_t len);

#endif
