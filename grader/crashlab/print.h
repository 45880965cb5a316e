/*
 * Says in words what a state is: the calls and what of them persisted, the
 * disk. SPDX-License-Identifier: MIT
 *
 *   state 17 point 12 lost 2       its number, the crash's position, steps
 *     op 8 1/1 create              line 8 of the operations: all persisted
 *     op 9 1/2 write                 one step of two did
 *     op 11 pins fsync               it had returned, and pins what it covers
 *     ack opened                     a promise, given by then
 *     file test.wal 21 0c4d…         path, size, digest of the bytes
 *     dir sub
 *
 * Calls stand in the order in which they took effect; of them only those that
 * had been entered. Names are written as in an operations file.
 */
#ifndef CRASHLAB_PRINT_H
#define CRASHLAB_PRINT_H

#include <stdio.h>

#include "disk.h"
#include "search.h"

void print_state(FILE *out, const struct state *state);

void print_calls(FILE *out, const struct state *state);

void print_acks(FILE *out, const struct state *state);

void print_disk(FILE *out, const struct disk *disk);

/* A path below the root, or a name. */
void print_path(FILE *out, const char *path);

#endif
