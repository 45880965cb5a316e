/*
 * Which of a script's handles are open. A table of calls has a struct for each of
 * them, and says how many HANDLES there are before it includes this.
 * SPDX-License-Identifier: MIT
 */
#ifndef HANDLES_H
#define HANDLES_H

#include "driver.h"

static int handle_is_open[HANDLES];

static inline int handle_of(const char *arg)
{
    long i = number_of(arg);

    if (i < 0 || i >= HANDLES)
        driver_fail("no such handle");
    return (int)i;
}

/* A script cannot tell that an open failed: calls on what is not open are left
 * out, and say so. */
static inline int skipped(int handle)
{
    if (!handle_is_open[handle])
        reply(" skipped=1");
    return !handle_is_open[handle];
}

#endif
