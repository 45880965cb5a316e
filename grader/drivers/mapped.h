/*
 * Input in pages of its own, of which so much can be read and nothing written.
 * SPDX-License-Identifier: MIT
 */
#ifndef MAPPED_H
#define MAPPED_H

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

/* `len` bytes that can only be read. Where `total` is `len`, nothing is there
 * behind the last of them. Where it is more, say 2^32, they open a stretch of
 * that length, of which nothing is there behind the page in which they end. It
 * stays mapped: the driver ends soon. */
static inline const uint8_t *mapped(const uint8_t *bytes, size_t len,
                                    size_t total)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (len + page - 1) / page * page;
    uint8_t *base = mmap(NULL, (total > room ? total : room) + page, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED || mprotect(base, room, PROT_READ | PROT_WRITE) < 0)
        driver_fail("cannot map the input");
    uint8_t *at = total > len ? base : base + room - len;
    memcpy(at, bytes, len);
    mprotect(base, room, PROT_READ);
    return at;
}

/* Whether `reader`, given `total` bytes of which the first 16 can be read,
 * returns all the same. So nobody has to wait until gibibytes are read. */
static inline int stops_early(void (*reader)(const void *bytes, size_t len),
                              size_t total)
{
    const uint8_t *bytes = mapped((const uint8_t[16]){ 0 }, 16, total);
    int status = 0;
    pid_t child = fork();

    if (child < 0)
        driver_fail("cannot fork");
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        reader(bytes, total);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status == 0;
}

#endif
