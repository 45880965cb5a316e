/*
 * The raw loop: a write and an fsync for each commit, one thread at a time.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "bench.h"
#include "commits.h"

enum { RECORD_BYTES = 40 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fd;

void commits_open(const char *path)
{
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    must(fd < 0, path);
}

void commits_put(const char *key, const char *value)
{
    char record[RECORD_BYTES] = { 0 };

    memcpy(record, key, COMMIT_KEY_BYTES);
    memcpy(record + COMMIT_KEY_BYTES, value, COMMIT_VALUE_BYTES);
    pthread_mutex_lock(&lock);
    must(write(fd, record, sizeof(record)) != sizeof(record), "write");
    must(fsync(fd), "fsync");
    pthread_mutex_unlock(&lock);
}

void commits_close(void)
{
    must(close(fd), "close");
}
