/*
 * Group commit with a leader: who finds nobody flushing does it for all.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "group_commit.h"

#include <errno.h>

//> includes
#include <time.h>

enum { GATHER_NSEC = 50 * 1000 };

/* Everything below but flush() is called with the lock held. */

static void begin_batch(struct wal_group *group)
{
    struct wal_batch *other = &group->batches[0];

    if (group->filling == other)
        other = &group->batches[1];
    other->writers = 0;
    other->len = WAL_MARK_BYTES;
    group->filling = other;
    group->number++;
}

/* Those whom the last flush released are likely to come again at once. A short
 * wait for them makes one batch of what would become two. */
static void gather(struct wal_group *group)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GATHER_NSEC;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (group->filling->writers < group->released && !err)
        err = pthread_cond_timedwait(&group->joined, &group->lock, &until);
}

/* The one function without the lock: while a batch is written and synced,
 * others fill the next. `synced` bytes of the log are durable. */
static int flush(int fd, struct wal_batch *batch, uint64_t synced)
{
    wal_mark_put(batch->bytes, batch->len, synced);
    int err = write_full(fd, batch->bytes, batch->len);
    if (err)
        return err;
    /* A crash here leaves any part of the batch: nobody has been told. */
    return wal_sync_fd(fd);
}

/* Flushes the batch. The lock is given up meanwhile. */
static void lead(struct wal_group *group)
{
    group->flushing = 1;
    gather(group);
    struct wal_batch *batch = group->filling;
    uint64_t number = group->number;
    uint64_t synced = group->log.offset;
    int fd = group->log.fd;
    begin_batch(group);

    pthread_mutex_unlock(&group->lock);
    int err = flush(fd, batch, synced);
    pthread_mutex_lock(&group->lock);

    group->flushing = 0;
    if (err) {
        group->log.error = err;
    } else {
        group->log.offset += batch->len;
        group->durable = number;
        group->released = batch->writers;
    }
    pthread_cond_broadcast(&group->flushed);
}

static void lead_or_wait(struct wal_group *group)
{
    if (group->flushing)
        pthread_cond_wait(&group->flushed, &group->lock);
    else
        lead(group);
}

/* Puts the record into the batch being filled, when there is room in it. */
static int join(struct wal_group *group, const struct wal_record *record)
{
    for (;;) {
        struct wal_batch *batch = group->filling;
        size_t len;

        if (group->log.error)
            return group->log.error;
        if (group->closing)
            return -EBADF;
        int err = wal_record_encode(record, batch->bytes + batch->len,
                                    sizeof(batch->bytes) - batch->len, &len);
        if (err == 0) {
            batch->len += len;
            if (++batch->writers == group->released)
                pthread_cond_signal(&group->joined);
            return 0;
        }
        if (err != -ENOBUFS)
            return err;
        lead_or_wait(group);
    }
}

/* Returns when batch `mine` is durable or never will be. A loop, not an if: the
 * flush that has ended may have been of the batch before. */
static int await(struct wal_group *group, uint64_t mine)
{
    while (group->durable < mine && !group->log.error)
        lead_or_wait(group);
    return group->durable < mine ? group->log.error : 0;
}

//< includes
int wal_group_open(struct wal_group *group, const char *path)
{
//> wal_group_open
    int err = wal_open(&group->log, path);
    pthread_condattr_t monotonic; /* whoever sets the time delays no leader */

    if (err)
        return err;
    /* What a killed process wrote may be lost up to here; the first mark will
     * call it synced. */
    err = wal_sync_fd(group->log.fd);
    if (err) {
        group->log.error = err;
        return wal_close(&group->log);
    }
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->flushed, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&group->joined, &monotonic);
    pthread_condattr_destroy(&monotonic);
    group->number = 0;
    group->durable = 0;
    group->released = 0;
    group->flushing = 0;
    group->closing = 0;
    group->filling = NULL;
    begin_batch(group);
    return 0;
//< wal_group_open
/* skeleton wal_group_open
    (void)group;
    (void)path;
    return -ENOSYS;
*/
}

int wal_group_commit(struct wal_group *group, const struct wal_record *record)
{
//> wal_group_commit
    pthread_mutex_lock(&group->lock);
    int err = join(group, record);
    if (!err)
        err = await(group, group->number);
    pthread_mutex_unlock(&group->lock);
    return err;
//< wal_group_commit
/* skeleton wal_group_commit
    (void)group;
    (void)record;
    return -ENOSYS;
*/
}

int wal_group_close(struct wal_group *group)
{
//> wal_group_close
    pthread_mutex_lock(&group->lock);
    group->closing = 1;
    while (!group->log.error &&
           (group->flushing || group->filling->writers > 0))
        lead_or_wait(group);
    int err = wal_close(&group->log);
    pthread_mutex_unlock(&group->lock);
    return err; /* the lock stays: a late caller still takes it */
//< wal_group_close
/* skeleton wal_group_close
    (void)group;
    return -ENOSYS;
*/
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, COMMITS = 50 };

static const char LOG[] = "group.wal";
static struct wal_group group;

/* One of many writers: its keys are 0.0, 0.1 ... or 1.0, 1.1 ... */
static void *writer(void *arg)
{
    int number = *(const int *)arg;

    for (int i = 0; i < COMMITS; i++) {
        char key[16];
        int len = snprintf(key, sizeof(key), "%d.%d", number, i);
        struct wal_record record = { .type = WAL_SET,
                                     .key = (const uint8_t *)key,
                                     .key_len = (uint16_t)len,
                                     .value = (const uint8_t *)"durable",
                                     .value_len = 7 };
        int err = wal_group_commit(&group, &record);

        if (err) {
            printf("wal_group_commit: %s\n", strerror(-err));
            break;
        }
    }
    return NULL;
}

int main(void)
{
    static const int numbers[THREADS] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    pthread_t threads[THREADS];
    struct wal_recovery found;
    struct kv kv;

    unlink(LOG);
    int err = wal_group_open(&group, LOG);
    printf("wal_group_open: %s\n", err ? strerror(-err) : "ok");
    if (err)
        return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, writer, (void *)&numbers[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%d threads, %d commits each\n", THREADS, COMMITS);
    err = wal_group_close(&group);
    printf("wal_group_close: %s\n", err ? strerror(-err) : "ok");

    kv_init(&kv);
    err = wal_batch_recover(LOG, &kv, &found);
    if (!err)
        printf("recover: %llu records, %llu cut, %zu keys\n",
               (unsigned long long)found.records,
               (unsigned long long)found.cut_bytes, kv.count);
    kv_free(&kv);
    return err ? 1 : 0;
}

#endif
