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

//> hex
enum { DIGEST_BYTES = 32 };

static const char hex_digits[] = "0123456789abcdef";

static void put_hex(char *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        *out++ = hex_digits[bytes[i] >> 4];
        *out++ = hex_digits[bytes[i] & 15];
    }
    *out = '\0';
}

static bool is_name(const char *text)
{
    return strspn(text, hex_digits) == CAS_NAME_BYTES - 1 &&
           text[CAS_NAME_BYTES - 1] == '\0';
}

//< hex
int cas_name(const void *data, size_t len, char name_out[CAS_NAME_BYTES])
{
//> cas_name
    unsigned char digest[DIGEST_BYTES];

    if (EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    put_hex(name_out, digest, sizeof(digest));
    return 0;
//< cas_name
/* skeleton cas_name
    (void)data;
    (void)len;
    (void)name_out;
    return -ENOSYS;
*/
}

/* ---- open and close ---- */

//> sync
static int sync_fd(int fd)
{
    while (fsync(fd) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* Syncs what has its final name already. When that fails, nobody knows any
   more what the disk holds: remember it for every later call. */
static int sync_public(struct cas *store, int fd)
{
    int rc = sync_fd(fd);

    if (rc < 0)
        store->error = rc;
    return rc;
}

/* ".." is the directory that names ours, whatever path led here. */
static int sync_parent(int dir_fd)
{
    int parent = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (parent < 0)
        return -errno;
    /* A crash before this returns may leave no store at all. */
    rc = sync_fd(parent);
    close(parent);
    return rc;
}

//< sync
//> clean
/* Unlinks the temp file open as `fd`, unless a live writer holds its lock. */
static int unlink_if_dead(int dir_fd, const char *name, int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 0 : -errno;
    /* A crash here leaves the file to the next open. If its writer renamed
       it before we got the lock, this name is gone and the object safe. */
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

static int clean_leftover(int dir_fd, const char *name)
{
    struct stat st;
    int fd;
    int rc;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    rc = unlink_if_dead(dir_fd, name, fd);
    close(fd);
    return rc;
}

static int clean_leftovers(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (!dir) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            rc = -errno;
            break;
        }
        if (strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0)
            rc = clean_leftover(dir_fd, entry->d_name);
    }
    closedir(dir);
    return rc;
}

//< clean
/*
 * w13-l01: make the directory or find it there, open it, sync it, and sync
 * the directory that names it. w13-l02: before the syncs, clean up.
 */
int cas_open(struct cas *store, const char *dir)
{
//> cas_open
    struct cas opened = { .dir_fd = -1, .error = 0 };
    int rc;

    /* A crash here leaves an empty store or none: the next open goes on. */
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return -errno;
    opened.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened.dir_fd < 0)
        return -errno;
    rc = clean_leftovers(opened.dir_fd);
    if (rc == 0) {
        /* A crash before this returns may lose names that we can see. */
        rc = sync_fd(opened.dir_fd);
    }
    if (rc == 0)
        rc = sync_parent(opened.dir_fd);
    if (rc < 0) {
        close(opened.dir_fd);
        return rc;
    }
    *store = opened;
    return 0;
//< cas_open
/* skeleton cas_open
    (void)store;
    (void)dir;
    return -ENOSYS;
*/
}

int cas_close(struct cas *store)
{
//> cas_close
    int rc = close(store->dir_fd) < 0 ? -errno : 0;

    store->dir_fd = -1;
    return store->error < 0 ? store->error : rc;
//< cas_close
/* skeleton cas_close
    (void)store;
    return -ENOSYS;
*/
}

/* ---- load ---- */

//> read
struct object {
    int fd;
    size_t len;
};

/* Opens what stands under `name` if it is a file of a length we accept. */
static int open_object(int dir_fd, const char *name, struct object *object)
{
    int fd =
        openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    int rc = CAS_OK;

    if (fd < 0) {
        switch (errno) {
        case ENOENT: return CAS_MISSING;
        case ELOOP: return CAS_NOT_A_FILE; /* a symbolic link */
        case ENXIO: return CAS_NOT_A_FILE; /* a socket */
        default: return -errno;
        }
    }
    if (fstat(fd, &st) < 0) {
        rc = -errno;
    } else if (!S_ISREG(st.st_mode)) {
        rc = CAS_NOT_A_FILE;
    } else if ((uintmax_t)st.st_size > CAS_OBJECT_MAX_BYTES) {
        rc = CAS_TOO_LONG;
    }
    if (rc != CAS_OK) {
        close(fd);
        return rc;
    }
    object->fd = fd;
    object->len = (size_t)st.st_size;
    return CAS_OK;
}

/* Reads `len` bytes, or fewer if the file ends first. */
static ssize_t read_full(int fd, char *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, buf + done, len - done);

        if (n == 0)
            break;
        if (n > 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return (ssize_t)done;
}

static int verify(const void *data, size_t len, const char *name)
{
    char actual[CAS_NAME_BYTES];
    int rc = cas_name(data, len, actual);

    if (rc < 0)
        return rc;
    if (strcmp(actual, name) == 0)
        return CAS_OK;
    return len == 0 ? CAS_EMPTY : CAS_MISMATCH;
}

static int read_object(const struct object *object, const char *name,
                       void **data_out, size_t *len_out)
{
    char *data = malloc(object->len + 1); /* malloc(0) may give NULL */
    ssize_t len;
    int rc;

    if (!data)
        return -ENOMEM;
    len = read_full(object->fd, data, object->len);
    rc = len < 0 ? (int)len : verify(data, (size_t)len, name);
    if (rc != CAS_OK) {
        free(data);
        return rc;
    }
    *data_out = data;
    *len_out = (size_t)len;
    return CAS_OK;
}

//< read
/*
 * w13-l01: refuse what is no name, open without following links or waiting,
 * refuse what is no file or too long, read it all, hash it, compare.
 */
int cas_load(struct cas *store, const char *name, void **data_out,
             size_t *len_out)
{
//> cas_load
    struct object object;
    int rc;

    if (store->error < 0)
        return store->error;
    if (!is_name(name))
        return -EINVAL;
    rc = open_object(store->dir_fd, name, &object);
    if (rc != CAS_OK)
        return rc;
    rc = read_object(&object, name, data_out, len_out);
    close(object.fd);
    return rc;
//< cas_load
/* skeleton cas_load
    (void)store;
    (void)name;
    (void)data_out;
    (void)len_out;
    return -ENOSYS;
*/
}

/* ---- store ---- */

//> temp
enum {
    TEMP_RANDOM_BYTES = 16,
    TEMP_NAME_BYTES = sizeof(TEMP_PREFIX) + 2 * TEMP_RANDOM_BYTES,
    TEMP_TRIES = 100, /* a cleaner would have to win every one of them */
};

struct temp {
    int fd; /* its lock says that we live */
    char name[TEMP_NAME_BYTES];
};

static void temp_discard(int dir_fd, struct temp *temp)
{
    /* A crash here, or a failure, leaves the file to the next open. */
    unlinkat(dir_fd, temp->name, 0);
    close(temp->fd);
}

/* Takes the lock; -EWOULDBLOCK if a cleaner took it, or the name, first. */
static int temp_lock(int fd)
{
    struct stat st;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
        return -errno;
    return st.st_nlink == 0 ? -EWOULDBLOCK : 0;
}

static int temp_open(int dir_fd, struct temp *temp)
{
    unsigned char random[TEMP_RANDOM_BYTES];
    int rc = -EWOULDBLOCK;

    for (int i = 0; i < TEMP_TRIES && rc == -EWOULDBLOCK; i++) {
        if (RAND_bytes(random, sizeof(random)) != 1)
            return -EIO;
        strcpy(temp->name, TEMP_PREFIX);
        put_hex(temp->name + strlen(TEMP_PREFIX), random, sizeof(random));
        /* A crash from here to the rename leaves a .tmp- file. */
        temp->fd = openat(dir_fd, temp->name,
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (temp->fd < 0)
            return -errno;
        rc = temp_lock(temp->fd);
        if (rc < 0)
            temp_discard(dir_fd, temp);
    }
    return rc;
}

static int write_full(int fd, const char *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, buf, len);

        if (n == 0)
            return -ENOSPC;
        if (n > 0) {
            buf += n;
            len -= (size_t)n;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

//< temp
//> publish
/* Gives the bytes their name in one step. The name is not durable yet. */
static int publish(int dir_fd, const void *data, size_t len, const char *name)
{
    struct temp temp;
    int rc = temp_open(dir_fd, &temp);

    if (rc < 0)
        return rc;
    rc = write_full(temp.fd, data, len);
    if (rc == 0) {
        /* A crash before this returns leaves a .tmp- file of any content. */
        rc = sync_fd(temp.fd);
    }
    /* A crash here leaves a whole .tmp- file, or the whole object. */
    if (rc == 0 && renameat(dir_fd, temp.name, dir_fd, name) < 0)
        rc = -errno;
    if (rc < 0) {
        temp_discard(dir_fd, &temp);
        return rc;
    }
    /* The lock ends only here: a cleaner never sees our file without it. */
    return close(temp.fd) < 0 ? -errno : 0;
}

/* Syncs the object and returns CAS_OK if it is there and verifies. Else it
   is no duplicate, for whatever reason, and has to be written. */
static int sync_duplicate(struct cas *store, const char *name)
{
    struct object object;
    void *data;
    size_t len;
    int rc = open_object(store->dir_fd, name, &object);

    if (rc != CAS_OK)
        return rc;
    rc = read_object(&object, name, &data, &len);
    if (rc == CAS_OK) {
        free(data);
        /* Whoever wrote it may have died before it could sync: a crash
           before this returns may leave the object torn. */
        rc = sync_public(store, object.fd);
    }
    close(object.fd);
    return rc;
}

//< publish
/*
 * w13-l01: refuse what is too long and name the bytes. If the object is there
 * and verifies, sync it; else write it under its name and sync it. Sync the
 * directory.
 * w13-l02: write under a random name beside it, sync, and only then rename.
 */
int cas_store(struct cas *store, const void *data, size_t len,
              char name_out[CAS_NAME_BYTES])
{
//> cas_store
    char name[CAS_NAME_BYTES];
    int rc;

    if (store->error < 0)
        return store->error;
    if (len > CAS_OBJECT_MAX_BYTES)
        return -EMSGSIZE;
    rc = cas_name(data, len, name);
    if (rc < 0)
        return rc;
    rc = sync_duplicate(store, name);
    if (store->error < 0)
        return store->error;
    if (rc != CAS_OK)
        rc = publish(store->dir_fd, data, len, name);
    if (rc == 0) {
        /* A crash before this returns may lose the name, never tear it. */
        rc = sync_public(store, store->dir_fd);
    }
    if (rc < 0)
        return rc;
    memcpy(name_out, name, sizeof(name));
    return 0;
//< cas_store
/* skeleton cas_store
    (void)store;
    (void)data;
    (void)len;
    (void)name_out;
    return -ENOSYS;
*/
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
