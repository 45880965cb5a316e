/*
 * Memory that a child does not get: fork(2) leaves it out.
 * SPDX-License-Identifier: MIT
 *
 * What the search writes between one fork and the next would be copied page by
 * page, and what a child has no need for it should not see.
 */
#ifndef CRASHLAB_OWN_H
#define CRASHLAB_OWN_H

#include <stddef.h>

/* Zeros, whole pages of them; ends the program where there is no memory. */
void *own_new(size_t bytes);

/* Of the same size as in own_new(). NULL is nothing to free. */
void own_free(void *memory, size_t bytes);

#endif
