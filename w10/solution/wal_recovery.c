/*
 * Recovery: replay what is whole, cut what is torn, refuse what is corrupt.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_recovery.h"

#include <errno.h>

//> includes
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "wal_record.h"
#include "wal_writer.h"

/* A window on the log: large enough that few calls read it, small enough to
 * stay in the processor's cache. It must hold the largest record. */
struct window {
    int fd;
    uint64_t start; /* offset in the log of bytes[0] */
    size_t len;     /* bytes in the window */
    int at_end;     /* the log ends where the window does */
    uint8_t *bytes;
};

enum { WINDOW_BYTES = 4 * WAL_RECORD_MAX_BYTES };

/* Fills the window from `offset` on. */
static int window_move(struct window *w, uint64_t offset)
{
    w->start = offset;
    w->len = 0;
    w->at_end = 0;
    while (w->len < WINDOW_BYTES && !w->at_end) {
        ssize_t n = pread(w->fd, w->bytes + w->len, WINDOW_BYTES - w->len,
                          (off_t)(offset + w->len));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            w->len += (size_t)n;
        w->at_end = n == 0;
    }
    return 0;
}

/* Judges what stands at `offset`, moving the window there if it is the window
 * that ends too early and not the log. */
static int record_at(struct window *w, uint64_t offset,
                     struct wal_record *record_out, size_t *len_out,
                     enum wal_record_verdict *verdict_out)
{
    uint64_t at = offset - w->start;

    *verdict_out = wal_record_decode(w->bytes + at, w->len - (size_t)at,
                                     record_out, len_out);
    if (w->at_end ||
        (*verdict_out != WAL_RECORD_END && *verdict_out != WAL_RECORD_TORN))
        return 0;

    int err = window_move(w, offset);
    if (!err)
        *verdict_out = wal_record_decode(w->bytes, w->len, record_out, len_out);
    return err;
}

static int apply(struct kv *kv, const struct wal_record *record)
{
    if (record->type == WAL_SET)
        return kv_set(kv, record->key, record->key_len, record->value,
                      record->value_len);
    kv_del(kv, record->key, record->key_len);
    return 0;
}

/* Replays from offset 0; *verdict_out is what ended it: END, TORN, CORRUPT. */
static int replay(struct window *w, struct kv *kv, struct wal_recovery *found,
                  enum wal_record_verdict *verdict_out)
{
    struct wal_record record;
    size_t len;
    int err;

    for (;;) {
        err = record_at(w, found->valid_bytes, &record, &len, verdict_out);
        if (err || *verdict_out != WAL_RECORD_OK)
            return err;
        err = apply(kv, &record);
        if (err)
            return err;
        found->records++;
        found->valid_bytes += len;
    }
}

/* Says whether a canonical record stands anywhere behind the bad one at
 * `offset`, and in *end_out where the log ends. */
static int record_follows(struct window *w, uint64_t offset, uint64_t *end_out,
                          int *follows_out)
{
    struct wal_record record;
    enum wal_record_verdict verdict = WAL_RECORD_TORN;
    size_t len;

    while (verdict != WAL_RECORD_OK && verdict != WAL_RECORD_END) {
        int err = record_at(w, ++offset, &record, &len, &verdict);

        if (err)
            return err;
    }
    *end_out = offset;
    *follows_out = verdict == WAL_RECORD_OK;
    return 0;
}

static int recover_window(struct window *w, struct kv *kv,
                          struct wal_recovery *found)
{
    enum wal_record_verdict verdict;
    uint64_t end;
    int follows;
    int err = replay(w, kv, found, &verdict);

    if (err)
        return err;
    if (verdict != WAL_RECORD_END) {
        err = record_follows(w, found->valid_bytes, &end, &follows);
        if (err)
            return err;
        if (follows)
            return -EBADMSG;
        /* A crash here, or before the sync below, may bring the tail back: the
         * next recovery finds the same tail and cuts it again. */
        if (ftruncate(w->fd, (off_t)found->valid_bytes) < 0)
            return -errno;
        found->cut_bytes = end - found->valid_bytes;
    }
    /* Not only after a cut: what was read may stand in the page cache alone. */
    return wal_sync_fd(w->fd);
}

//< includes
int wal_recover(const char *path, struct kv *kv,
                struct wal_recovery *found_out)
{
//> wal_recover
    struct wal_recovery found = { 0 };
    struct window w = { .fd = open(path, O_RDWR | O_CLOEXEC) };
    int err = 0;

    if (w.fd < 0 && errno != ENOENT)
        return -errno;
    if (w.fd >= 0) {
        w.bytes = malloc(WINDOW_BYTES);
        err = w.bytes ? recover_window(&w, kv, &found) : -ENOMEM;
        free(w.bytes);
        if (close(w.fd) < 0 && !err)
            err = -errno;
        /* A crash before this may take the file's name, and with it all that
         * was replayed. */
        if (!err)
            err = wal_sync_dir(path);
    }
    if (err == 0 || err == -EBADMSG)
        *found_out = found;
    return err;
//< wal_recover
/* skeleton wal_recover
    (void)path;
    (void)kv;
    (void)found_out;
    return -ENOSYS;
*/
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>
//> self_test

static const char LOG[] = "recovery.wal";

static int append(uint8_t type, const char *key, const char *value)
{
    static struct wal_writer writer; /* too large for a small stack */
    struct wal_record record = { .type = type,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint16_t)strlen(key),
                                 .value = (const uint8_t *)value,
                                 .value_len = (uint16_t)strlen(value) };
    int err = wal_open(&writer, LOG);

    if (err)
        return err;
    err = wal_append(&writer, &record);
    int close_err = wal_close(&writer);
    return err ? err : close_err;
}

static void show(const struct kv *kv, const char *key)
{
    const struct kv_entry *entry = kv_get(kv, key, strlen(key));

    if (entry)
        printf("  %s=%.*s\n", key, (int)entry->value_len,
               (const char *)entry->value);
    else
        printf("  %s is not there\n", key);
}

static void recover_and_show(void)
{
    struct kv kv;
    struct wal_recovery found;

    kv_init(&kv);
    int err = wal_recover(LOG, &kv, &found);
    if (err == -EBADMSG) {
        printf("recover: corrupt at offset %llu, nothing cut\n",
               (unsigned long long)found.valid_bytes);
    } else if (err) {
        printf("recover: %s\n", strerror(-err));
    } else {
        printf("recover: %llu records, %llu bytes, %llu cut\n",
               (unsigned long long)found.records,
               (unsigned long long)found.valid_bytes,
               (unsigned long long)found.cut_bytes);
        show(&kv, "foo");
        show(&kv, "name");
        show(&kv, "count");
    }
    kv_free(&kv);
}

/* Flips one bit, as a failing disk would. */
static int flip(off_t offset)
{
    uint8_t byte = 0;
    int fd = open(LOG, O_RDWR);

    if (fd < 0)
        return -errno;
    ssize_t n = pread(fd, &byte, 1, offset);

    byte ^= 1;
    if (n == 1)
        n = pwrite(fd, &byte, 1, offset);
    close(fd);
    return n == 1 ? 0 : -EIO;
}
//< self_test

int main(void)
{
//> main
    unlink(LOG);
    if (append(WAL_SET, "foo", "bar") || append(WAL_SET, "name", "alice") ||
        append(WAL_SET, "count", "42") || append(WAL_DEL, "name", "")) {
        printf("append: it does not work yet\n");
        return 1;
    }
    printf("four records, 91 bytes\n");
    recover_and_show();
    if (truncate(LOG, 85) < 0)
        return 1;
    printf("torn to 85 bytes\n");
    recover_and_show();
    if (append(WAL_SET, "count", "43"))
        return 1;
    printf("append SET count=43: ok\n");
    recover_and_show();
    if (flip(30) < 0)
        return 1;
    printf("one bit flipped at offset 30\n");
    recover_and_show();
    return 0;
//< main
/* skeleton main
    struct kv kv;
    struct wal_recovery found;

    kv_init(&kv);
    int err = wal_recover("recovery.wal", &kv, &found);
    printf("wal_recover: %s\n", err ? strerror(-err) : "ok");
    kv_free(&kv);
    return err ? 1 : 0;
*/
}

#endif
