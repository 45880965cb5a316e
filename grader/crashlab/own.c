/*
 * A mapping for each block: there are few of them.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "own.h"

#include <sys/mman.h>

#include "ops.h"

void *own_new(size_t bytes)
{
    void *memory = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED || madvise(memory, bytes + 1, MADV_DONTFORK) < 0)
        out_of_memory();
    return memory;
}

void own_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes + 1);
}
