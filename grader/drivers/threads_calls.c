/*
 * Calls that several threads make at the same time.
 * SPDX-License-Identifier: MIT
 *
 *     7 together
 *     8 wal_group_commit 0 1 x6b x76 @0
 *     9 wal_group_commit 0 1 x6c x76 @1
 *     10 pause 500 @1
 *     11 apart
 *
 * Between `together` and `apart` the last word of a line says which thread makes
 * the call, each its own in the order of the lines. `apart` starts them all and
 * waits for them. Every call is reported when it begins and when it has returned,
 * as always, by the thread that makes it.
 *
 *     late MICROSECONDS @1
 *
 * That thread is so much later whenever it wakes from pthread_cond_wait(), as
 * any thread may be: another may have the lock first.
 *
 *     threads_fail ERRNO
 *
 * So does every pthread_create() from now on; with 0, none.
 */
#define _GNU_SOURCE

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"

enum { THREADS_MAX = 32, LINES_MAX = 64 };

struct line {
    long number;
    char **words;
};

struct thread {
    pthread_t id;
    size_t count;
    struct line lines[LINES_MAX];
};

static struct thread threads[THREADS_MAX];
static pthread_barrier_t start;
static _Thread_local long late_us;

static struct thread *thread_of(const char *word)
{
    long i = word[0] == '@' ? number_of(word + 1) : -1;

    if (i < 0 || i >= THREADS_MAX || threads[i].count == LINES_MAX)
        driver_fail("no such thread, or too many calls for it");
    return &threads[i];
}

static int take(long number, char **words)
{
    size_t last = 0;

    if (strcmp(words[0], "apart") == 0) {
        driver_take = NULL;
        return 0;
    }
    while (words[last + 1])
        last++;
    struct thread *t = thread_of(words[last]);
    words[last] = NULL;
    t->lines[t->count++] = (struct line){ number, driver_keep(words) };
    return 1;
}

static void call_together(char **args)
{
    (void)args;
    memset(threads, 0, sizeof(threads));
    driver_take = take;
}

static void *run(void *arg)
{
    struct thread *t = arg;

    pthread_barrier_wait(&start);
    for (size_t i = 0; i < t->count; i++)
        driver_make_call(t->lines[i].number, t->lines[i].words);
    return NULL;
}

static void call_apart(char **args)
{
    unsigned count = 0;

    (void)args;
    for (int i = 0; i < THREADS_MAX; i++)
        count += threads[i].count > 0;
    if (count == 0)
        driver_fail("no thread has a call to make");
    pthread_barrier_init(&start, NULL, count);
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i].count > 0 &&
            pthread_create(&threads[i].id, NULL, run, &threads[i]) != 0)
            driver_fail("cannot start a thread");
    }
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i].count > 0)
            pthread_join(threads[i].id, NULL);
    }
    pthread_barrier_destroy(&start);
}

static void sleep_us(long us)
{
    struct timespec time = { us / 1000000, us % 1000000 * 1000 };

    nanosleep(&time, NULL);
}

static long now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* pause MICROSECONDS; us= is how long it took */
static void call_pause(char **args)
{
    long begun = now_us();

    sleep_us(number_of(args[0]));
    reply(" us=%ld", now_us() - begun);
}

/* late MICROSECONDS */
static void call_late(char **args)
{
    late_us = number_of(args[0]);
}

int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    int err = __real_pthread_cond_wait(cond, mutex);

    if (late_us > 0) {
        pthread_mutex_unlock(mutex);
        sleep_us(late_us);
        pthread_mutex_lock(mutex);
    }
    return err;
}

static _Atomic int create_error;

/* threads_fail ERRNO */
static void call_threads_fail(char **args)
{
    create_error = (int)number_of(args[0]);
}

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg)
{
    return create_error ? create_error
                        : __real_pthread_create(id, attr, start, arg);
}

static const struct call calls[] = {
    { "together", call_together },
    { "apart", call_apart },
    { "pause", call_pause },
    { "late", call_late },
    { "threads_fail", call_threads_fail },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
