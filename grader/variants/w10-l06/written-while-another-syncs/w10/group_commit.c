/*
 * Group commit in two stages: a batch is written while the one before it is synced.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "group_commit.h"

#include <errno.h>

/* Writes the batch; the next one may be written as soon as this returns. */
static void write_batch(struct wal_group *group)
{
    struct wal_batch *batch = group->filling;
    uint64_t synced = group->durable_bytes;

    group->filling = batch == group->batches ? batch + 1 : group->batches;
    group->filling->writers = 0;
    group->filling->len = WAL_MARK_BYTES;
    group->number++;
    group->writing = 1;
    pthread_mutex_unlock(&group->lock);
    wal_mark_put(batch->bytes, batch->len, synced);
    int err = write_full(group->log.fd, batch->bytes, batch->len);
    pthread_mutex_lock(&group->lock);
    group->writing = 0;
    if (err && !group->error)
        group->error = err;
    if (!err) {
        group->written++;
        group->written_bytes += batch->len;
    }
    pthread_cond_broadcast(&group->changed);
}

/* Syncs all that was written when it begins. */
static void sync_written(struct wal_group *group)
{
    uint64_t number = group->written, bytes = group->written_bytes;

    group->syncing = 1;
    pthread_mutex_unlock(&group->lock);
    int err = wal_sync_fd(group->log.fd);
    pthread_mutex_lock(&group->lock);
    group->syncing = 0;
    if (err && !group->error)
        group->error = err;
    if (!err && !group->error) {
        group->durable = number;
        group->durable_bytes = bytes;
    }
    pthread_cond_broadcast(&group->changed);
}

/* Does what there is to do for batch `mine`, or waits until somebody has. */
static void help(struct wal_group *group, uint64_t mine)
{
    if (group->number == mine && !group->writing &&
        group->filling->writers > 0)
        write_batch(group);
    else if (group->written >= mine && group->durable < mine &&
             !group->syncing)
        sync_written(group);
    else
        pthread_cond_wait(&group->changed, &group->lock);
}

int wal_group_open(struct wal_group *group, const char *path)
{
    int err = wal_open(&group->log, path);

    if (err)
        return err;
    err = wal_sync_fd(group->log.fd);
    if (err) {
        group->log.error = err;
        return wal_close(&group->log);
    }
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->changed, NULL);
    group->filling = group->batches;
    group->filling->writers = 0;
    group->filling->len = WAL_MARK_BYTES;
    group->number = 1;
    group->written = 0;
    group->durable = 0;
    group->written_bytes = group->log.offset;
    group->durable_bytes = group->log.offset;
    group->writing = 0;
    group->syncing = 0;
    group->closing = 0;
    group->error = 0;
    return 0;
}

int wal_group_commit(struct wal_group *group, const struct wal_record *record)
{
    size_t len;
    int err;

    pthread_mutex_lock(&group->lock);
    for (;;) {
        struct wal_batch *batch = group->filling;

        err = group->error ? group->error : group->closing ? -EBADF : 0;
        if (!err)
            err = wal_record_encode(record, batch->bytes + batch->len,
                                    sizeof(batch->bytes) - batch->len, &len);
        if (err != -ENOBUFS)
            break;
        help(group, group->number);
    }
    if (!err) {
        uint64_t mine = group->number;

        group->filling->len += len;
        group->filling->writers++;
        while (group->durable < mine && !group->error)
            help(group, mine);
        err = group->durable < mine ? group->error : 0;
    }
    pthread_mutex_unlock(&group->lock);
    return err;
}

int wal_group_close(struct wal_group *group)
{
    pthread_mutex_lock(&group->lock);
    group->closing = 1;
    while (group->writing || group->syncing ||
           (!group->error && (group->filling->writers > 0 ||
                              group->durable < group->written)))
        pthread_cond_wait(&group->changed, &group->lock);
    group->log.error = group->error;
    int err = wal_close(&group->log);
    pthread_mutex_unlock(&group->lock);
    return err;
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
