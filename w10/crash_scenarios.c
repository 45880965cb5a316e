/*
 * Crash scenarios: logs as a crash leaves them, and what recovery must do.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crash_scenarios.h"

#include <stdio.h>

int main(void)
{
    printf("no scenario yet\n");
    return TEST_CANNOT_RUN;
}
