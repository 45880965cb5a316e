/*
 * The floor of a fork server: what no check of a disk in a child can beat.
 * SPDX-License-Identifier: MIT
 *
 * Fork, rewrite one small file, check it in the child, wait. Prints how many a
 * second; `floor N` does it N times, in the directory it is started in.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 91 };

static int rewrite(const char *bytes)
{
    int fd = open("test.wal", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int bad = fd < 0 || write(fd, bytes, BYTES) != BYTES;

    return close(fd) < 0 || bad;
}

static int check(const char *bytes)
{
    char found[BYTES];
    int fd = open("test.wal", O_RDONLY);
    int bad = fd < 0 || read(fd, found, BYTES) != BYTES;

    return close(fd) < 0 || bad || memcmp(found, bytes, BYTES) != 0;
}

static int once(int number)
{
    char bytes[BYTES];
    int status;

    memset(bytes, number, BYTES);
    if (rewrite(bytes))
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(check(bytes));
    return child < 0 || waitpid(child, &status, 0) < 0 || status != 0;
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 10000, bad = 0;
    struct timespec start, end;

    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < times; i++)
        bad |= once(i);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", times / ((double)(end.tv_sec - start.tv_sec) +
                              (double)(end.tv_nsec - start.tv_nsec) / 1e9));
    return bad;
}
