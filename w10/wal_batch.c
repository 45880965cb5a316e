/*
 * Recovery of a log of batches: whole ones are replayed, a torn one is cut.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "wal_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32.h"
#include "wal_record.h"
#include "wal_writer.h"

enum {
    CRC_AT = 0,
    LEN_AT = 4,
    MAGIC_AT = 8,
    SYNCED_AT = 12,
    WINDOW_BYTES = 4 * WAL_BATCH_MAX_BYTES,
};

static const uint8_t MAGIC[4] = "WALB";

static void put(uint8_t *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;

    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

static uint32_t mark_crc(const uint8_t *mark)
{
    return crc32_update(0, mark + LEN_AT, WAL_MARK_BYTES - LEN_AT);
}

void wal_mark_put(uint8_t *batch, size_t batch_len, uint64_t synced)
{
    put(batch + LEN_AT, batch_len, 4);
    memcpy(batch + MAGIC_AT, MAGIC, sizeof(MAGIC));
    put(batch + SYNCED_AT, synced, 8);
    put(batch + CRC_AT, mark_crc(batch), 4);
}

/* What stands at an offset of the log. */
struct mark {
    size_t batch_len;
    uint64_t synced;
};

/* A window on the log; what is judged lies in it whole. */
struct window {
    int fd;
    uint64_t start; /* offset in the log of bytes[0] */
    size_t len;     /* bytes in the window */
    int at_end;     /* the log ends where the window does */
    uint8_t *bytes;
};

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

/* The bytes at `offset`, *ahead_out of them: a whole batch, or up to the end. */
static int look_at(struct window *w, uint64_t offset, const uint8_t **bytes_out,
                   size_t *ahead_out)
{
    if (w->start + w->len < offset + WAL_BATCH_MAX_BYTES && !w->at_end) {
        int err = window_move(w, offset);

        if (err)
            return err;
    }
    *bytes_out = w->bytes + (offset - w->start);
    *ahead_out = (size_t)(w->start + w->len - offset);
    return 0;
}

static int is_mark(const uint8_t *p, size_t ahead, uint64_t offset,
                   struct mark *mark_out)
{
    if (ahead < WAL_MARK_BYTES || memcmp(p + MAGIC_AT, MAGIC, sizeof(MAGIC)))
        return 0;
    mark_out->batch_len = get(p + LEN_AT, 4);
    mark_out->synced = get(p + SYNCED_AT, 8);
    return mark_out->batch_len > WAL_MARK_BYTES &&
           mark_out->batch_len <= WAL_BATCH_MAX_BYTES &&
           mark_out->synced <= offset && get(p, 4) == mark_crc(p);
}

/* How many records fill these bytes exactly; 0 if something else does. */
static size_t count_records(const uint8_t *p, size_t len)
{
    struct wal_record record;
    size_t count = 0, used;

    while (wal_record_decode(p, len, &record, &used) == WAL_RECORD_OK) {
        p += used;
        len -= used;
        count++;
    }
    return len == 0 ? count : 0;
}

static int apply(struct kv *kv, const uint8_t *p, size_t len)
{
    struct wal_record r;
    size_t used;
    int err = 0;

    while (!err && wal_record_decode(p, len, &r, &used) == WAL_RECORD_OK) {
        if (r.type == WAL_SET)
            err = kv_set(kv, r.key, r.key_len, r.value, r.value_len);
        else
            kv_del(kv, r.key, r.key_len);
        p += used;
        len -= used;
    }
    return err;
}

/* Replays whole batches; *at_end_out says whether nothing stands behind them. */
static int replay(struct window *w, struct kv *kv, struct wal_recovery *found,
                  int *at_end_out)
{
    for (;;) {
        struct mark mark;
        const uint8_t *p;
        size_t ahead, count = 0;
        int err = look_at(w, found->valid_bytes, &p, &ahead);

        if (err)
            return err;
        *at_end_out = ahead == 0;
        if (is_mark(p, ahead, found->valid_bytes, &mark) &&
            mark.batch_len <= ahead)
            count = count_records(p + WAL_MARK_BYTES,
                                  mark.batch_len - WAL_MARK_BYTES);
        if (count == 0)
            return 0;
        err = apply(kv, p + WAL_MARK_BYTES, mark.batch_len - WAL_MARK_BYTES);
        if (err)
            return err;
        found->records += count;
        found->valid_bytes += mark.batch_len;
    }
}

/* Says in *synced_out whether a sync had covered the batch at `offset`, which is
 * not whole, and in *end_out where the log ends. */
static int was_synced(struct window *w, uint64_t offset, uint64_t *end_out,
                      int *synced_out)
{
    struct wal_record record;
    struct mark mark;
    const uint8_t *p;
    size_t ahead, used;
    int err = look_at(w, offset, &p, &ahead);

    if (err)
        return err;
    *synced_out = wal_record_decode(p, ahead, &record, &used) == WAL_RECORD_OK;
    for (uint64_t at = offset + 1; ahead > 0 && !*synced_out; at++) {
        err = look_at(w, at, &p, &ahead);
        if (err)
            return err;
        *synced_out = is_mark(p, ahead, at, &mark) && mark.synced > offset;
        *end_out = at;
    }
    return 0;
}

static int recover_window(struct window *w, struct kv *kv,
                          struct wal_recovery *found)
{
    uint64_t end = 0;
    int at_end, synced;
    int err = replay(w, kv, found, &at_end);

    if (err)
        return err;
    if (!at_end) {
        err = was_synced(w, found->valid_bytes, &end, &synced);
        if (err)
            return err;
        if (synced)
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

int wal_batch_recover(const char *path, struct kv *kv,
                      struct wal_recovery *found_out)
{
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
}
