/*
 * Keeps anchors, cosignatures and the head through a crash; finds them again.
 * SPDX-License-Identifier: MIT
 *
 * Three things happen to names here, and each is a function of its own:
 * create_file (a name appears once and for all), anchor_atomic_advance (`head`
 * goes from one whole file to another) and set_aside (a torn file gives its
 * name back). The contract is in anchor_storage.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "anchor_storage.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_SUFFIX      ".rec"
#define COSIGNATURE_SUFFIX ".cosig"

/* Room for "anchor_", 20 digits, ".cosig", a number and ".torn". */
#define NAME_BYTES 64

/* One byte more than the longest file, so that a longer one shows. */
#define LOAD_BYTES (ANCHOR_COSIGNATURE_BYTES + 1)

/* ---- names and numbers ------------------------------------------------ */

static int join(char path[PATH_MAX], const char *dir, const char *name)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static void name_file(char name[NAME_BYTES], uint64_t id, const char *suffix)
{
    snprintf(name, NAME_BYTES, "anchor_%" PRIu64 "%s", id, suffix);
}

/* Reads the decimal number at the start of `text`, in its one spelling: no
 * sign, no leading zero, at most 2^64 - 1. NULL if there is none, or else
 * where the text goes on. */
static const char *parse_id(const char *text, uint64_t *id_out)
{
    const char *at = text;
    uint64_t id = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (id > (UINT64_MAX - digit) / 10) {
            return NULL;
        }
        id = id * 10 + digit;
    }
    if (at == text || (*text == '0' && at != text + 1)) {
        return NULL;
    }
    *id_out = id;
    return at;
}

/* Splits "anchor_<id><suffix>"; NULL if the name is not of that form. */
static const char *parse_name(const char *name, uint64_t *id_out)
{
    static const char stem[] = "anchor_";
    size_t length = sizeof(stem) - 1;
    return strncmp(name, stem, length) == 0 ? parse_id(name + length, id_out)
                                            : NULL;
}

/* ---- files ------------------------------------------------------------ */

static int write_full(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -ENOSPC;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* Ends the use of a file or directory: syncs it unless `err` says that
 * something failed already, closes it, returns the first error. What a crash
 * before the fsync leaves is said where finish is called. */
static int finish(int fd, int err)
{
    while (err == 0 && fdatasync(fd) != 0) {
        if (errno != EINTR) {
            err = -errno;
        }
    }
    if (close(fd) != 0 && err == 0) {
        err = -errno;
    }
    return err;
}

/* Opened before a name in it changes: if the kernel meets an error while it
 * writes the directory out, a descriptor opened later may never hear. */
static int open_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int sync_dir(const char *dir)
{
    int fd = open_dir(dir);
    return fd < 0 ? fd : finish(fd, 0);
}

/* Makes a new file durable under a name that is not durable yet. */
static int write_file(const char *path, const uint8_t *bytes, size_t length)
{
    int err;
    /* Crash: no such name, or a file of which any part may be missing. */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    err = write_full(fd, bytes, length);
    /* Crash before this fsync: as above, even though write returned. */
    err = finish(fd, err);
    if (err != 0) {
        /* The kernel may show bytes that the disk never got; nobody was
         * promised them. Crash: the torn file is back, for recovery. */
        unlink(path);
    }
    return err;
}

static int create_file(const char *dir, const char *name, const uint8_t *bytes,
                       size_t length)
{
    char path[PATH_MAX];
    int dir_fd;
    int err = join(path, dir, name);
    if (err != 0) {
        return err;
    }
    dir_fd = open_dir(dir);
    if (dir_fd < 0) {
        return dir_fd;
    }
    char temporary[PATH_MAX];
    err = join(temporary, dir, "new.tmp");
    if (err == 0 && unlink(temporary) != 0 && errno != ENOENT) {
        err = -errno;
    }
    if (err == 0) {
        err = write_file(temporary, bytes, length);
    }
    if (err == 0) {
        err = link(temporary, path) != 0 ? -errno : 0;
        unlink(temporary);
    }
    if (err != 0) {
        close(dir_fd);
        return err;
    }
    /* Crash before this fsync: the bytes are safe, the name may be gone. */
    err = finish(dir_fd, 0);
    if (err != 0) {
        /* Crash: the whole file may be back, which promised nothing. */
        unlink(path);
    }
    return err;
}

/* Reads a file of at most LOAD_BYTES and syncs it: a killed process may have
 * left bytes that can be read and still be lost. Crash before the fsync:
 * they are lost, and nothing was promised on their account. */
static int load(const char *dir, const char *name, uint8_t bytes[LOAD_BYTES],
                size_t *length_out)
{
    char path[PATH_MAX];
    size_t length = 0;
    int fd;
    int err = join(path, dir, name);
    if (err != 0) {
        return err;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    while (length < LOAD_BYTES) {
        ssize_t got = read(fd, bytes + length, LOAD_BYTES - length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            err = got < 0 ? -errno : 0;
            break;
        }
        length += (size_t)got;
    }
    err = finish(fd, err);
    if (err == 0) {
        *length_out = length;
    }
    return err;
}

/* Creates a file, or takes up the same one if it stands there already. */
static int keep_file(const char *dir, const char *name, const uint8_t *bytes,
                     size_t length)
{
    uint8_t there[LOAD_BYTES];
    size_t there_length = 0;
    int err = create_file(dir, name, bytes, length);
    if (err != -EEXIST) {
        return err;
    }
    err = load(dir, name, there, &there_length);
    if (err != 0) {
        return err;
    }
    if (there_length != length || memcmp(there, bytes, length) != 0) {
        return -EEXIST;
    }
    /* Crash before this fsync: the name may be gone, as after a kill. */
    return sync_dir(dir);
}

/* Crash around this rename: the torn file under either of the names. The
 * next free name, because an older torn file may be evidence as well. */
static int set_aside(const char *dir, const char *name)
{
    char torn[NAME_BYTES];
    char from[PATH_MAX];
    char to[PATH_MAX];
    struct stat ignored;
    unsigned int number = 0;
    snprintf(torn, sizeof(torn), "%s.torn", name);
    if (join(from, dir, name) != 0 || join(to, dir, torn) != 0) {
        return -ENAMETOOLONG;
    }
    while (lstat(to, &ignored) == 0) {
        snprintf(torn, sizeof(torn), "%s.%u.torn", name, ++number);
        if (join(to, dir, torn) != 0) {
            return -ENAMETOOLONG;
        }
    }
    if (errno != ENOENT) {
        return -errno;
    }
    return rename(from, to) == 0 ? 0 : -errno;
}

/* ---- anchors ---------------------------------------------------------- */

/* Both loads: -ENOENT if there is no such file. */
static int load_record(const char *dir, uint64_t id,
                       struct anchor_record *record_out,
                       enum anchor_verdict *verdict_out)
{
    char name[NAME_BYTES];
    uint8_t bytes[LOAD_BYTES];
    size_t length = 0;
    int err;
    name_file(name, id, RECORD_SUFFIX);
    err = load(dir, name, bytes, &length);
    if (err != 0) {
        return err;
    }
    *verdict_out = anchor_record_decode(bytes, length, record_out);
    return *verdict_out == ANCHOR_UNJUDGED ? -ENOMEM : 0;
}

static int load_cosignature(const char *dir, uint64_t id,
                            struct anchor_cosignature *cosignature_out,
                            enum anchor_verdict *verdict_out)
{
    char name[NAME_BYTES];
    uint8_t bytes[LOAD_BYTES];
    size_t length = 0;
    int err;
    name_file(name, id, COSIGNATURE_SUFFIX);
    err = load(dir, name, bytes, &length);
    if (err != 0) {
        return err;
    }
    *verdict_out = anchor_cosignature_decode(bytes, length, cosignature_out);
    return *verdict_out == ANCHOR_UNJUDGED ? -ENOMEM : 0;
}

int anchor_persist_record(const char *dir, const struct anchor_record *record)
{
    /* 1. Encode the record.
     * 2. Open the directory, then anchor_<id>.rec with O_EXCL; write all of
     *    it, fsync, close; fsync the directory.
     * 3. If anything failed, unlink what you made.
     * 4. If the name was taken (-EEXIST): the same bytes or not? */
    char name[NAME_BYTES];
    uint8_t bytes[ANCHOR_RECORD_BYTES];
    int err = anchor_record_encode(record, bytes);
    if (err != 0) {
        return err;
    }
    name_file(name, record->id, RECORD_SUFFIX);
    return keep_file(dir, name, bytes, sizeof(bytes));
}

int anchor_persist_cosignature(const char *dir,
                               const struct anchor_cosignature *cosignature)
{
    /* 1. Read the record, fsync it while you have it open (nobody else may
     *    have), and compare: anchor_cosignature_verify without a key.
     * 2. Then the same steps as for a record. */
    char name[NAME_BYTES];
    uint8_t bytes[ANCHOR_COSIGNATURE_BYTES];
    struct anchor_record record;
    enum anchor_verdict verdict = ANCHOR_UNJUDGED;
    int err = load_record(dir, cosignature->id, &record, &verdict);
    if (err != 0) {
        return err;
    }
    if (verdict != ANCHOR_OK) {
        return -ENOENT;
    }
    verdict = anchor_cosignature_verify(cosignature, &record, NULL);
    if (verdict != ANCHOR_OK) {
        return verdict == ANCHOR_UNJUDGED ? -ENOMEM : -EINVAL;
    }
    err = anchor_cosignature_encode(cosignature, bytes);
    if (err != 0) {
        return err;
    }
    name_file(name, cosignature->id, COSIGNATURE_SUFFIX);
    return keep_file(dir, name, bytes, sizeof(bytes));
}

int anchor_atomic_advance(const char *dir, uint64_t id)
{
    /* 1. Unlink a head.tmp that a crash left; make a new one with O_EXCL.
     * 2. Write the id and a newline, fsync, close.
     * 3. rename head.tmp to head; fsync the directory. */
    char text[NAME_BYTES];
    char from[PATH_MAX];
    char to[PATH_MAX];
    int dir_fd, err;
    int length = snprintf(text, sizeof(text), "%" PRIu64 "\n", id);
    if (join(from, dir, "head.tmp") != 0 || join(to, dir, "head") != 0) {
        return -ENAMETOOLONG;
    }
    dir_fd = open_dir(dir);
    if (dir_fd < 0) {
        return dir_fd;
    }
    /* A leftover of an earlier crash. Crash: it is there again or not. */
    err = unlink(from) != 0 && errno != ENOENT ? -errno : 0;
    if (err == 0) {
        err = write_file(from, (const uint8_t *)text, (size_t)length);
    }
    /* Crash before or during rename: the old head, whole; after it and
     * before the fsync: the old one or the new one, whole. */
    if (err == 0 && rename(from, to) != 0) {
        err = -errno;
        /* Crash: head.tmp is still there; it blocks nothing. */
        unlink(from);
    }
    return finish(dir_fd, err);
}

/* ---- recovery --------------------------------------------------------- */

/* What stands under a name, seen from the log as it is so far. */
enum standing {
    STANDING_NONE,
    STANDING_FITS,
    STANDING_ALIEN,
};

static int read_head(const char *dir, struct anchor_recovery *found)
{
    uint8_t bytes[LOAD_BYTES + 1];
    const char *text = (const char *)bytes;
    const char *rest;
    size_t length = 0;
    int err = load(dir, "head", bytes, &length);
    if (err == -ENOENT) {
        found->head = ANCHOR_HEAD_NONE;
        return 0;
    }
    if (err != 0) {
        return err;
    }
    bytes[length] = '\0';
    rest = parse_id(text, &found->head_id);
    found->head = rest != NULL && *rest == '\n' && rest + 1 == text + length
                      ? ANCHOR_HEAD_VALID
                      : ANCHOR_HEAD_MALFORMED;
    return 0;
}

/* The highest id that has a .rec or .cosig, for what is beyond the log. */
static int find_highest(const char *dir, uint64_t *highest_out)
{
    struct dirent *entry;
    int err = 0;
    DIR *stream = opendir(dir);
    if (stream == NULL) {
        return -errno;
    }
    for (errno = 0; (entry = readdir(stream)) != NULL; errno = 0) {
        uint64_t id = 0;
        const char *suffix = parse_name(entry->d_name, &id);
        if (suffix != NULL && (strcmp(suffix, RECORD_SUFFIX) == 0 ||
                               strcmp(suffix, COSIGNATURE_SUFFIX) == 0)) {
            *highest_out = id > *highest_out ? id : *highest_out;
        }
    }
    err = -errno;
    closedir(stream);
    return err;
}

/* A torn file gives its name back: it was never acknowledged. */
static int clear_torn(const char *dir, uint64_t id, const char *suffix,
                      struct anchor_recovery *found)
{
    char name[NAME_BYTES];
    name_file(name, id, suffix);
    found->torn++;
    return set_aside(dir, name);
}

/* Adds the record of the next id to the log, if it fits. */
static int find_record(const char *dir, struct anchor_recovery *found,
                       struct anchor_log *log, struct anchor_record *record_out,
                       enum standing *standing_out)
{
    uint64_t id = log->count;
    enum anchor_verdict verdict = ANCHOR_UNJUDGED;
    int err = load_record(dir, id, record_out, &verdict);
    *standing_out = STANDING_NONE;
    if (err != 0) {
        return err == -ENOENT ? 0 : err;
    }
    if (verdict == ANCHOR_TORN) {
        return clear_torn(dir, id, RECORD_SUFFIX, found);
    }
    if (verdict == ANCHOR_OK) {
        verdict = anchor_log_append(log, record_out);
    }
    *standing_out = verdict == ANCHOR_OK ? STANDING_FITS : STANDING_ALIEN;
    return verdict == ANCHOR_UNJUDGED ? -ENOMEM : 0;
}

static int find_cosignature(const char *dir, struct anchor_recovery *found,
                            const struct anchor_record *record,
                            const uint8_t *witness_key,
                            enum standing *standing_out)
{
    uint64_t id = found->log.count;
    struct anchor_cosignature cosignature;
    enum anchor_verdict verdict = ANCHOR_UNJUDGED;
    int err = load_cosignature(dir, id, &cosignature, &verdict);
    *standing_out = STANDING_NONE;
    if (err != 0) {
        return err == -ENOENT ? 0 : err;
    }
    if (verdict == ANCHOR_TORN) {
        return clear_torn(dir, id, COSIGNATURE_SUFFIX, found);
    }
    if (verdict == ANCHOR_OK) {
        verdict = anchor_cosignature_verify(&cosignature, record, witness_key);
    }
    *standing_out = verdict == ANCHOR_OK ? STANDING_FITS : STANDING_ALIEN;
    return verdict == ANCHOR_UNJUDGED ? -ENOMEM : 0;
}

/* One step: takes the next anchor into the log if it is complete, or else
 * says what stands in its place. */
static int scan_anchor(const char *dir, const uint8_t *witness_key,
                       struct anchor_recovery *found, bool *complete_out)
{
    struct anchor_log longer = found->log;
    struct anchor_record record = { 0 };
    enum standing of_record = STANDING_NONE;
    enum standing of_cosignature = STANDING_NONE;
    int err = find_record(dir, found, &longer, &record, &of_record);
    if (err == 0) {
        err = find_cosignature(dir, found, &record, witness_key,
                               &of_cosignature);
    }
    if (err != 0) {
        return err;
    }
    *complete_out = of_record == STANDING_FITS &&
                    of_cosignature == STANDING_FITS;
    if (*complete_out) {
        found->log = longer;
    } else if (of_cosignature != STANDING_NONE) {
        found->next = ANCHOR_NEXT_BLOCKED;
    } else if (of_record == STANDING_FITS) {
        found->next = ANCHOR_NEXT_PENDING;
        found->pending = record;
    } else {
        found->next = of_record == STANDING_NONE ? ANCHOR_NEXT_FREE
                                                 : ANCHOR_NEXT_BLOCKED;
    }
    return 0;
}

/* Makes `head` say what the files say. */
static int settle_head(const char *dir, const struct anchor_recovery *found)
{
    char path[PATH_MAX];
    int dir_fd, err;
    if (found->log.count > 0) {
        uint64_t last = found->log.count - 1;
        return found->head == ANCHOR_HEAD_VALID && found->head_id == last
                   ? 0
                   : anchor_atomic_advance(dir, last);
    }
    if (found->head == ANCHOR_HEAD_NONE) {
        return 0;
    }
    err = join(path, dir, "head");
    if (err != 0) {
        return err;
    }
    dir_fd = open_dir(dir);
    if (dir_fd < 0) {
        return dir_fd;
    }
    /* Crash before the fsync: a head that names nothing; recovery, which
     * does not trust it, comes here again. */
    err = unlink(path) != 0 ? -errno : 0;
    return finish(dir_fd, err);
}

int64_t anchor_recover(const char *dir, const uint8_t *witness_key,
                       struct anchor_recovery *found_out)
{
    /* 1. Read `head`; remember it, but do not believe it.
     * 2. From id 0: a whole record that fits, a cosignature that matches?
     *    Sync each file that you read; set a torn one aside. Count until
     *    one is missing.
     * 3. Is there a file of a higher id? Report it.
     * 4. fsync the directory, or the head could outlive what it names.
     * 5. Set the head, if it is not right already; unlink it if the count
     *    is 0. */
    struct anchor_recovery found = { 0 };
    bool complete = true;
    int dir_fd;
    int err = read_head(dir, &found);
    if (err != 0) {
        return err;
    }
    dir_fd = open_dir(dir);
    if (dir_fd < 0) {
        return dir_fd;
    }
    err = find_highest(dir, &found.highest);
    while (err == 0 && complete) {
        err = scan_anchor(dir, witness_key, &found, &complete);
    }
    found.hole = found.highest > found.log.count;
    /* Crash before this fsync: the same files, a torn one under either name,
     * and the old head; the next run finds the same log. */
    err = finish(dir_fd, err);
    if (err == 0) {
        err = settle_head(dir, &found);
    }
    if (err != 0) {
        return err;
    }
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
    if (fd < 0 || fdatasync(fd) != 0 || close(fd) != 0) {
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
