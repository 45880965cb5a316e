/*
 * Group commit with a leader: a writer who finds nobody flushing does it for all.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "group_commit.h"

#include <errno.h>

int wal_group_open(struct wal_group *group, const char *path)
{
    (void)group;
    (void)path;
    return -ENOSYS;
}

int wal_group_commit(struct wal_group *group, const struct wal_record *record)
{
    (void)group;
    (void)record;
    return -ENOSYS;
}

int wal_group_close(struct wal_group *group)
{
    (void)group;
    return -ENOSYS;
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
