/*
 * Group commit with a queue: the writer at its front flushes for those behind it.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "group_commit.h"

#include <errno.h>

struct writer {
    struct writer *next;
    const struct wal_record *record;
    pthread_cond_t turn;
    int done;
    int err;
};

/* Encodes the records at the front of the queue; *last_out is the last. */
static size_t encode(struct wal_group *group, struct writer **last_out)
{
    size_t used = WAL_MARK_BYTES, len;

    for (struct writer *w = group->front; w; w = w->next) {
        if (wal_record_encode(w->record, group->bytes + used,
                              sizeof(group->bytes) - used, &len) != 0)
            break;
        used += len;
        *last_out = w;
    }
    return used;
}

/* Removes the writers up to `last` from the queue and tells them. */
static void dismiss(struct wal_group *group, struct writer *last, int err)
{
    struct writer *w;

    do {
        w = group->front;
        group->front = w->next;
        w->err = err;
        w->done = 1;
        pthread_cond_signal(&w->turn);
    } while (w != last);
    if (group->front)
        pthread_cond_signal(&group->front->turn);
    else
        pthread_cond_signal(&group->empty);
}

static void lead(struct wal_group *group)
{
    struct writer *last = group->front;
    int err = group->error;
    size_t len = err ? 0 : encode(group, &last);

    if (!err) {
        pthread_mutex_unlock(&group->lock);
        wal_mark_put(group->bytes, len, group->log.offset);
        err = write_full(group->log.fd, group->bytes, len);
        if (!err)
            err = wal_sync_fd(group->log.fd);
        pthread_mutex_lock(&group->lock);
        if (!err)
            group->log.offset += len;
        group->error = err;
    }
    dismiss(group, last, err);
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
    pthread_cond_init(&group->empty, NULL);
    group->front = NULL;
    group->closing = 0;
    group->error = 0;
    return 0;
}

int wal_group_commit(struct wal_group *group, const struct wal_record *record)
{
    struct writer self = { .record = record };
    struct writer **at = &group->front;
    size_t len;

    pthread_mutex_lock(&group->lock);
    int err = group->error ? group->error : group->closing ? -EBADF : 0;
    if (!err) /* refused now or never: the leader cannot ask any more */
        err = wal_record_encode(record, group->scratch, sizeof(group->scratch),
                                &len);
    if (!err) {
        pthread_cond_init(&self.turn, NULL);
        while (*at)
            at = &(*at)->next;
        *at = &self;
        while (!self.done && group->front != &self)
            pthread_cond_wait(&self.turn, &group->lock);
        if (!self.done)
            lead(group);
        err = self.err;
        pthread_cond_destroy(&self.turn);
    }
    pthread_mutex_unlock(&group->lock);
    return err;
}

int wal_group_close(struct wal_group *group)
{
    pthread_mutex_lock(&group->lock);
    group->closing = 1;
    while (group->front)
        pthread_cond_wait(&group->empty, &group->lock);
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
