/*
 * Group commit with a thread of the log's own, which flushes and nothing else.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "group_commit.h"

#include <errno.h>

static void *flusher(void *arg)
{
    struct wal_group *group = arg;

    pthread_mutex_lock(&group->lock);
    for (;;) {
        while (group->filling->writers == 0 && !group->closing)
            pthread_cond_wait(&group->work, &group->lock);
        if (group->filling->writers == 0 || group->error)
            break;
        struct wal_batch *batch = group->filling;

        group->filling = batch == group->batches ? batch + 1 : group->batches;
        group->filling->writers = 0;
        group->filling->len = WAL_MARK_BYTES;
        uint64_t number = group->number++;
        pthread_cond_broadcast(&group->done); /* there is room again */
        pthread_mutex_unlock(&group->lock);

        wal_mark_put(batch->bytes, batch->len, group->log.offset);
        int err = write_full(group->log.fd, batch->bytes, batch->len);
        if (!err)
            err = wal_sync_fd(group->log.fd);

        pthread_mutex_lock(&group->lock);
        if (err) {
            group->error = err;
        } else {
            group->log.offset += batch->len;
            group->durable = number;
        }
        pthread_cond_broadcast(&group->done);
        if (err)
            break;
    }
    pthread_mutex_unlock(&group->lock);
    return NULL;
}

int wal_group_open(struct wal_group *group, const char *path)
{
    int err = wal_open(&group->log, path);

    if (err)
        return err;
    err = wal_sync_fd(group->log.fd);
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->work, NULL);
    pthread_cond_init(&group->done, NULL);
    group->filling = group->batches;
    group->filling->writers = 0;
    group->filling->len = WAL_MARK_BYTES;
    group->number = 1;
    group->durable = 0;
    group->closing = 0;
    group->error = 0;
    if (!err)
        err = -pthread_create(&group->thread, NULL, flusher, group);
    if (err) {
        group->log.error = err;
        wal_close(&group->log);
    }
    return err;
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
        pthread_cond_wait(&group->done, &group->lock);
    }
    if (!err) {
        uint64_t mine = group->number;

        group->filling->len += len;
        group->filling->writers++;
        pthread_cond_signal(&group->work);
        while (group->durable < mine && !group->error)
            pthread_cond_wait(&group->done, &group->lock);
        err = group->durable < mine ? group->error : 0;
    }
    pthread_mutex_unlock(&group->lock);
    return err;
}

int wal_group_close(struct wal_group *group)
{
    pthread_mutex_lock(&group->lock);
    group->closing = 1;
    pthread_cond_signal(&group->work);
    pthread_mutex_unlock(&group->lock);
    pthread_join(group->thread, NULL);
    group->log.error = group->error;
    return wal_close(&group->log);
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
