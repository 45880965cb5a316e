/*
 * replay COUNT KEYS SIZE PATH: how many records a second an open reads back.
 * SPDX-License-Identifier: MIT
 *
 * Linked with one of the files that implement replay.h. A child makes the log
 * and dies without closing it.
 */
#define _POSIX_C_SOURCE 200809L

#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "replay.h"

int main(int argc, char **argv)
{
    int status;

    must(argc != 5, "replay COUNT KEYS SIZE PATH");
    uint64_t count = strtoull(argv[1], NULL, 10);
    uint64_t keys = strtoull(argv[2], NULL, 10);
    uint32_t size = (uint32_t)strtoul(argv[3], NULL, 10);
    must(keys == 0 || keys > count || size < REPLAY_AROUND_VALUE_BYTES ||
             size > 65535,
         "SIZE");
    pid_t child = fork();
    must(child < 0, "fork");
    if (child == 0) {
        replay_make(argv[4], count, keys, size);
        _exit(0);
    }
    must(waitpid(child, &status, 0) != child || status != 0, "making the log");
    double began = now();
    replay_open(argv[4]);
    double took = now() - began;
    must(replay_count() != keys, "not all was read back");
    printf("%.1f\n", (double)count / took);
    return 0;
}
