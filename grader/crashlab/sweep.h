/*
 * Removes a directory and all it holds, whatever a program made of it.
 * SPDX-License-Identifier: MIT
 */
#ifndef CRASHLAB_SWEEP_H
#define CRASHLAB_SWEEP_H

/* Removes `name` in the directory `dir_fd` (or AT_FDCWD), without following a
 * link. 0 or a negative errno; what is not there is removed. */
int sweep(int dir_fd, const char *name);

#endif
