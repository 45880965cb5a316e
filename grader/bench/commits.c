/*
 * commits THREADS SECONDS PATH: how many commits a second are made durable.
 * SPDX-License-Identifier: MIT
 *
 * Linked with one of the files that implement commits.h.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"
#include "commits.h"

enum { THREADS_MAX = 256 };

static atomic_int stop;

struct committer {
    pthread_t thread;
    int number;
    unsigned long done;
};

static void *commit(void *arg)
{
    struct committer *self = arg;
    char key[32], value[] = "a small value.";

    for (; !atomic_load(&stop); self->done++) {
        snprintf(key, sizeof(key), "%02x%06lx", self->number & 0xFF,
                 self->done & 0xFFFFFF);
        commits_put(key, value);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct committer all[THREADS_MAX];
    unsigned long done = 0;

    must(argc != 4, "commits THREADS SECONDS PATH");
    int count = atoi(argv[1]);
    double seconds = atof(argv[2]);
    must(count < 1 || count > THREADS_MAX, "THREADS");
    commits_open(argv[3]);
    double began = now();
    for (int i = 0; i < count; i++) {
        all[i].number = i;
        must(pthread_create(&all[i].thread, NULL, commit, &all[i]), "thread");
    }
    struct timespec nap = { (time_t)seconds,
                            (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        done += all[i].done;
    }
    printf("%.1f\n", (double)done / (now() - began));
    commits_close();
    return 0;
}
