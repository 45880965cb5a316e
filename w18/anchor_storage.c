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

int anchor_persist_record(const char *dir, const struct anchor_record *record)
{
    /* 1. Encode the record.
     * 2. Open the directory, then anchor_<id>.rec with O_EXCL; write all of
     *    it, fsync, close; fsync the directory.
     * 3. If anything failed, unlink what you made.
     * 4. If the name was taken (-EEXIST): the same bytes or not? */
    (void)dir;
    (void)record;
    return -ENOSYS;
}

int anchor_persist_cosignature(const char *dir,
                               const struct anchor_cosignature *cosignature)
{
    /* 1. Read the record, fsync it while you have it open (nobody else may
     *    have), and compare: anchor_cosignature_verify without a key.
     * 2. Then the same steps as for a record. */
    (void)dir;
    (void)cosignature;
    return -ENOSYS;
}

int anchor_atomic_advance(const char *dir, uint64_t id)
{
    /* 1. Unlink a head.tmp that a crash left; make a new one with O_EXCL.
     * 2. Write the id and a newline, fsync, close.
     * 3. rename head.tmp to head; fsync the directory. */
    (void)dir;
    (void)id;
    return -ENOSYS;
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
    (void)dir;
    (void)witness_key;
    (void)found_out;
    return -ENOSYS;
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
