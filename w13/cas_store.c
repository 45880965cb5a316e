/*
 * Stores bytes in a file named by their SHA-256, whole or not at all.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "cas_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#define TEMP_PREFIX ".tmp-"

/* ---- names ---- */

int cas_name(const void *data, size_t len, char name_out[CAS_NAME_BYTES])
{
    (void)data;
    (void)len;
    (void)name_out;
    return -ENOSYS;
}

/* ---- open and close ---- */

/*
 * w13-l01: make the directory or find it there, open it, sync it, and sync
 * the directory that names it. w13-l02: before the syncs, clean up.
 */
int cas_open(struct cas *store, const char *dir)
{
    (void)store;
    (void)dir;
    return -ENOSYS;
}

int cas_close(struct cas *store)
{
    (void)store;
    return -ENOSYS;
}

/* ---- load ---- */

/*
 * w13-l01: refuse what is no name, open without following links or waiting,
 * refuse what is no file or too long, read it all, hash it, compare.
 */
int cas_load(struct cas *store, const char *name, void **data_out,
             size_t *len_out)
{
    (void)store;
    (void)name;
    (void)data_out;
    (void)len_out;
    return -ENOSYS;
}

/* ---- store ---- */

/*
 * w13-l01: refuse what is too long and name the bytes. If the object is there
 * and verifies, sync it; else write it under its name and sync it. Sync the
 * directory.
 * w13-l02: write under a random name beside it, sync, and only then rename.
 */
int cas_store(struct cas *store, const void *data, size_t len,
              char name_out[CAS_NAME_BYTES])
{
    (void)store;
    (void)data;
    (void)len;
    (void)name_out;
    return -ENOSYS;
}

/* ---- self-test ---- */

#ifndef NO_SELF_TEST

#define DIR_PATH "store_dir"

static void must(const char *what, int rc)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-rc));
        exit(1);
    }
}

/* Counts the entries of the store that begin so; may unlink them. */
static int entries(const char *prefix, bool remove)
{
    DIR *dir = opendir(DIR_PATH);
    struct dirent *entry;
    int count = 0;

    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0 ||
            strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        count++;
        if (remove)
            must("unlink", unlinkat(dirfd(dir), entry->d_name, 0));
    }
    if (dir)
        closedir(dir);
    return count;
}

static void path_of(const char *name, char path_out[128])
{
    snprintf(path_out, 128, DIR_PATH "/%s", name);
}

static void put(struct cas *store, const char *text,
                char name_out[CAS_NAME_BYTES])
{
    must("cas_store", cas_store(store, text, strlen(text), name_out));
    printf("store %2zu bytes: %s\n", strlen(text), name_out);
}

/* Stores again what is there, and looks at the file for what happened. */
static void put_again(struct cas *store, const char *text, const char *name)
{
    static const struct timespec long_ago[2] = { { .tv_sec = 1 },
                                                 { .tv_sec = 1 } };
    const char *what = "a duplicate, nothing written";
    char path[128], again[CAS_NAME_BYTES];
    struct stat before, after;

    path_of(name, path);
    must("utimensat", utimensat(AT_FDCWD, path, long_ago, 0));
    must("stat", stat(path, &before));
    must("cas_store", cas_store(store, text, strlen(text), again));
    must("stat", stat(path, &after));
    must("utimensat", utimensat(AT_FDCWD, path, NULL, 0));
    if (after.st_ino != before.st_ino) {
        what = "a new file, by atomic rename";
    } else if (after.st_mtim.tv_sec != before.st_mtim.tv_sec) {
        what = "the same file, written in place";
    }
    printf("store it again: %s\n", what);
}

static void get(struct cas *store, const char *name)
{
    static const char *const verdicts[] = {
        "ok", "missing", "empty", "mismatch", "too long", "not a file",
    };
    void *data;
    size_t len;
    int verdict = cas_load(store, name, &data, &len);

    must("cas_load", verdict);
    printf("load %.8s: %s", name, verdicts[verdict]);
    if (verdict == CAS_OK) {
        printf(", %zu bytes", len);
        free(data);
    }
    printf("\n");
}

static void damage(const char *name, off_t len)
{
    char path[128];

    path_of(name, path);
    must("truncate", truncate(path, len));
    printf("cut it to %ld bytes\n", (long)len);
}

/* What a writer leaves that dies in the middle of cas_store(). */
static void plant_leftover(void)
{
    int fd = open(DIR_PATH "/.tmp-dead", O_WRONLY | O_CREAT | O_EXCL, 0644);

    must("plant", fd);
    close(fd);
}

int main(void)
{
    static const char text[] = "hello, world";
    struct cas store;
    char hello[CAS_NAME_BYTES], empty[CAS_NAME_BYTES];

    entries("", true);

    must("cas_open", cas_open(&store, DIR_PATH));
    put(&store, text, hello);
    put(&store, "", empty);
    get(&store, hello);
    get(&store, empty);
    damage(hello, 5);
    get(&store, hello);

    put_again(&store, text, hello);
    get(&store, hello);
    put_again(&store, text, hello);
    must("cas_close", cas_close(&store));

    plant_leftover();
    printf("leftovers after a crash: %d\n", entries(TEMP_PREFIX, false));
    must("cas_open", cas_open(&store, DIR_PATH));
    printf("leftovers after cas_open: %d\n", entries(TEMP_PREFIX, false));
    must("cas_close", cas_close(&store));
    printf("objects: %d\n", entries("", false));
    return 0;
}

#endif
