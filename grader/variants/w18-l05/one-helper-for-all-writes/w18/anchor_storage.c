/*
 * The same promises in another shape: one function for every file that is made.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "anchor_storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 80, FILE_BYTES = 200 };

/* How a whole file gets its name. */
enum way { ONCE, OVER };

static const char *file_of(char *name, uint64_t id, const char *suffix)
{
    snprintf(name, NAME_BYTES, "anchor_%llu%s", (unsigned long long)id, suffix);
    return name;
}

static const char *path_of(char *path, const char *dir, const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return path;
}

static int sync_fd(int fd)
{
    int done;

    do
        done = fdatasync(fd);
    while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = sync_fd(fd);
    close(fd);
    return err;
}

static int fill(const char *path, const void *data, size_t len)
{
    const char *p = data;
    int err = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    while (len > 0 && !err) {
        ssize_t n = write(fd, p, len);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            err = n == 0 ? -EIO : -errno;
        }
    }
    if (!err)
        err = sync_fd(fd);
    if (close(fd) < 0 && !err)
        err = -errno;
    return err;
}

/* Every file comes into being under head.tmp and moves to its name whole. */
static int put_file(const char *dir, const char *name, const void *data,
                    size_t len, enum way way)
{
    char tmp[PATH_MAX], path[PATH_MAX];

    if (strlen(dir) + NAME_BYTES > PATH_MAX)
        return -ENAMETOOLONG;
    path_of(tmp, dir, "head.tmp");
    path_of(path, dir, name);
    int err = fill(tmp, data, len);
    if (!err && renameat2(AT_FDCWD, tmp, AT_FDCWD, path,
                          way == ONCE ? RENAME_NOREPLACE : 0) < 0)
        err = -errno;
    if (err) {
        unlink(tmp);
        return err;
    }
    err = sync_dir(dir);
    if (err && way == ONCE)
        unlink(path);
    return err;
}

/* The file's size, or a negative errno; what is read is durable. */
static int get_file(const char *dir, const char *name, uint8_t *out)
{
    char path[PATH_MAX];
    int len = 0;

    if (strlen(dir) + NAME_BYTES > PATH_MAX)
        return -ENAMETOOLONG;
    int fd = open(path_of(path, dir, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(fd, out + len, (size_t)(FILE_BYTES - len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            len = -errno;
            break;
        }
        len += (int)n;
        if (n == 0 || len == FILE_BYTES)
            break;
    }
    int err = sync_fd(fd);
    close(fd);
    return len < 0 || !err ? len : err;
}

static int keep(const char *dir, const char *name, const void *data, size_t len)
{
    uint8_t there[FILE_BYTES];
    int got = get_file(dir, name, there);

    if (got == -ENOENT)
        return put_file(dir, name, data, len, ONCE);
    if (got < 0)
        return got;
    if ((size_t)got != len || memcmp(there, data, len) != 0)
        return -EEXIST;
    return sync_dir(dir);
}

int anchor_persist_record(const char *dir, const struct anchor_record *record)
{
    char name[NAME_BYTES];
    uint8_t bytes[ANCHOR_RECORD_BYTES];
    int err = anchor_record_encode(record, bytes);

    return err ? err : keep(dir, file_of(name, record->id, ".rec"), bytes,
                            sizeof(bytes));
}

int anchor_persist_cosignature(const char *dir,
                               const struct anchor_cosignature *cosignature)
{
    char name[NAME_BYTES];
    uint8_t bytes[ANCHOR_COSIGNATURE_BYTES], file[FILE_BYTES];
    struct anchor_record record;
    int len = get_file(dir, file_of(name, cosignature->id, ".rec"), file);

    if (len < 0)
        return len;
    enum anchor_verdict verdict =
        anchor_record_decode(file, (size_t)len, &record);
    if (verdict != ANCHOR_OK)
        return verdict == ANCHOR_UNJUDGED ? -ENOMEM : -ENOENT;
    verdict = anchor_cosignature_verify(cosignature, &record, NULL);
    if (verdict != ANCHOR_OK)
        return verdict == ANCHOR_UNJUDGED ? -ENOMEM : -EINVAL;
    int err = anchor_cosignature_encode(cosignature, bytes);
    return err ? err : keep(dir, file_of(name, cosignature->id, ".cosig"),
                            bytes, sizeof(bytes));
}

int anchor_atomic_advance(const char *dir, uint64_t id)
{
    char text[NAME_BYTES];
    int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)id);

    return put_file(dir, "head", text, (size_t)len, OVER);
}

/* Is it one number and a newline? Formatting it again tells. */
static int id_of(const char *text, size_t len, uint64_t *id_out)
{
    char again[NAME_BYTES];

    errno = 0;
    unsigned long long id = strtoull(text, NULL, 10);
    int want = snprintf(again, sizeof(again), "%llu", id);
    if (errno || (size_t)want != len || memcmp(again, text, len) != 0)
        return 0;
    *id_out = id;
    return 1;
}

static int read_head(const char *dir, struct anchor_recovery *found)
{
    uint8_t text[FILE_BYTES + 1];
    int len = get_file(dir, "head", text);

    if (len == -ENOENT)
        return 0;
    if (len < 0)
        return len;
    text[len] = 0;
    found->head = ANCHOR_HEAD_MALFORMED;
    if (len > 0 && text[len - 1] == '\n' &&
        id_of((char *)text, (size_t)len - 1, &found->head_id))
        found->head = ANCHOR_HEAD_VALID;
    return 0;
}

static int look_beyond(const char *dir, struct anchor_recovery *found)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;

    if (!stream)
        return -errno;
    while (errno = 0, (entry = readdir(stream))) {
        uint64_t id;
        char *dot = strchr(entry->d_name, '.');
        if (!dot || strncmp(entry->d_name, "anchor_", 7) != 0 ||
            (strcmp(dot, ".rec") != 0 && strcmp(dot, ".cosig") != 0) ||
            !id_of(entry->d_name + 7, (size_t)(dot - entry->d_name - 7), &id))
            continue;
        if (id > found->log.count) {
            found->hole = true;
            found->highest = id > found->highest ? id : found->highest;
        }
    }
    int err = -errno;
    closedir(stream);
    return err;
}

/* Renames a torn file to the first free name; its place counts as empty. */
static int set_aside(const char *dir, const char *name,
                     struct anchor_recovery *found)
{
    char torn[NAME_BYTES], from[PATH_MAX], to[PATH_MAX];

    path_of(from, dir, name);
    for (int i = 0;; i++) {
        char number[12] = "";
        if (i > 0)
            snprintf(number, sizeof(number), ".%d", i);
        snprintf(torn, sizeof(torn), "%.50s%s.torn", name, number);
        if (renameat2(AT_FDCWD, from, AT_FDCWD, path_of(to, dir, torn),
                      RENAME_NOREPLACE) == 0)
            break;
        if (errno != EEXIST)
            return -errno;
    }
    found->torn++;
    return -ENOENT;
}

/* 1 if anchor `found->log.count` is complete and was added, 0 if not. */
static int take_in(const char *dir, const uint8_t *key,
                   struct anchor_recovery *found)
{
    char name[NAME_BYTES];
    uint8_t file[FILE_BYTES];
    struct anchor_record record;
    struct anchor_cosignature cosignature;
    struct anchor_log log = found->log;
    enum anchor_verdict of_record = ANCHOR_GAP, verdict = ANCHOR_GAP;

    int has_record = get_file(dir, file_of(name, log.count, ".rec"), file);
    if (has_record >= 0)
        of_record = anchor_record_decode(file, (size_t)has_record, &record);
    if (of_record == ANCHOR_TORN)
        has_record = set_aside(dir, name, found);
    if (has_record < 0 && has_record != -ENOENT)
        return has_record;
    if (of_record == ANCHOR_OK)
        of_record = anchor_log_append(&log, &record);
    if (of_record == ANCHOR_UNJUDGED)
        return -ENOMEM;

    int has_proof =
        get_file(dir, file_of(name, found->log.count, ".cosig"), file);
    if (has_proof >= 0)
        verdict =
            anchor_cosignature_decode(file, (size_t)has_proof, &cosignature);
    if (verdict == ANCHOR_TORN)
        has_proof = set_aside(dir, name, found);
    if (has_proof < 0 && has_proof != -ENOENT)
        return has_proof;
    if (verdict == ANCHOR_OK && of_record == ANCHOR_OK)
        verdict = anchor_cosignature_verify(&cosignature, &record, key);
    if (verdict == ANCHOR_UNJUDGED)
        return -ENOMEM;
    if (verdict == ANCHOR_OK && of_record == ANCHOR_OK) {
        found->log = log;
        return 1;
    }
    if (has_proof >= 0 || (has_record >= 0 && of_record != ANCHOR_OK)) {
        found->next = ANCHOR_NEXT_BLOCKED;
    } else if (has_record >= 0) {
        found->next = ANCHOR_NEXT_PENDING;
        found->pending = record;
    }
    return 0;
}

int64_t anchor_recover(const char *dir, const uint8_t *witness_key,
                       struct anchor_recovery *found_out)
{
    struct anchor_recovery found = { 0 };
    char path[PATH_MAX];
    int more = 1;
    int err = read_head(dir, &found);

    while (!err && more) {
        more = take_in(dir, witness_key, &found);
        err = more < 0 ? more : 0;
    }
    if (!err)
        err = look_beyond(dir, &found);
    if (!err)
        err = sync_dir(dir);
    if (!err && found.log.count > 0)
        err = anchor_atomic_advance(dir, found.log.count - 1);
    else if (!err && found.head != ANCHOR_HEAD_NONE)
        err = unlink(path_of(path, dir, "head")) < 0 ? -errno : sync_dir(dir);
    if (err)
        return err;
    *found_out = found;
    return (int64_t)found.log.count;
}

/* ---- self-test -------------------------------------------------------- */

#ifndef NO_SELF_TEST
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A secret of a real witness never stands in a source file. */
static const uint8_t test_seed[ANCHOR_SEED_BYTES] = "a seed for the self-test";

static void must(const char *what, int err)
{
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-err));
        exit(1);
    }
}

static void must_be_ok(const char *what, enum anchor_verdict verdict)
{
    if (verdict != ANCHOR_OK) {
        fprintf(stderr, "%s: verdict %d\n", what, (int)verdict);
        exit(1);
    }
}

static void remove_file(const char *dir, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    /* Crash: the file is there again; the next run removes it. */
    if (unlink(path) != 0 && errno != ENOENT) {
        must(path, -errno);
    }
}

/* Makes the directory and empties it of what this test writes. */
static void reset(const char *dir)
{
    static const char *const names[] = {
        "head",           "head.tmp",     "anchor_0.cosig", "anchor_0.rec",
        "anchor_1.cosig", "anchor_1.rec", "anchor_2.cosig", "anchor_2.rec",
    };
    char parent[PATH_MAX];
    int fd;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        must(dir, -errno);
    }
    snprintf(parent, sizeof(parent), "%s/..", dir);
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Crash before this fsync: the directory itself may be gone. */
    if (fd < 0 || fsync(fd) != 0 || close(fd) != 0) {
        must(parent, -errno);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        remove_file(dir, names[i]);
    }
}

/* One anchor from record to proof, in the order of anchor_storage.h. */
static void publish(const char *dir, struct anchor_log *log,
                    const uint8_t key[ANCHOR_KEY_BYTES])
{
    uint64_t id = log->count;
    char text[32];
    uint8_t payload[ANCHOR_DIGEST_BYTES];
    struct anchor_record record;
    struct anchor_cosignature cosignature;
    snprintf(text, sizeof(text), "tree head %" PRIu64, id);
    must("anchor_sha256", anchor_sha256(text, strlen(text), payload));
    must("anchor_log_next", anchor_log_next(log, payload, &record));
    must("anchor_persist_record", anchor_persist_record(dir, &record));
    must("anchor_cosign",
         anchor_cosign(&record, 1700000000 + id, test_seed, &cosignature));
    must_be_ok("anchor_cosignature_verify",
               anchor_cosignature_verify(&cosignature, &record, key));
    must("anchor_persist_cosignature",
         anchor_persist_cosignature(dir, &cosignature));
    must_be_ok("anchor_log_append", anchor_log_append(log, &record));
    printf("persisted anchor %" PRIu64 " + cosig\n", id);
}

int main(int argc, char **argv)
{
    struct anchor_log log = { 0 };
    struct anchor_recovery found;
    uint8_t key[ANCHOR_KEY_BYTES];
    int64_t count;
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    reset(argv[1]);
    must("anchor_ed25519_key", anchor_ed25519_key(test_seed, key));
    while (log.count < 3) {
        publish(argv[1], &log, key);
    }
    must("anchor_atomic_advance", anchor_atomic_advance(argv[1], 2));
    printf("head advanced to 2\n");
    remove_file(argv[1], "anchor_2.cosig");
    printf("deleted anchor_2.cosig (simulated crash)\n");
    count = anchor_recover(argv[1], key, &found);
    must("anchor_recover", count < 0 ? (int)count : 0);
    printf("recover: head rolled back to %" PRId64 "\n", count - 1);
    return 0;
}
#endif
