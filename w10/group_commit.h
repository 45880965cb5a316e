/*
 * Group commit: many threads append to one log and share its syncs.
 * SPDX-License-Identifier: MIT
 *
 *     static struct wal_group group;        large: not for a small stack
 *
 *     int err = wal_batch_recover("group.wal", &kv, &found);
 *     err = wal_group_open(&group, "group.wal");
 *     err = wal_group_commit(&group, &record);   in any thread, many at once;
 *                                                0: this record is durable
 *     err = wal_group_close(&group);
 *
 * A commit puts its record into a batch in memory and sleeps. One thread at a
 * time flushes: it takes the batch, writes it, syncs, and wakes those whose
 * records stood in it. The records that come meanwhile fill the next batch.
 *
 *   thread 1   joins A, flushes A: [ write | fsync ] returns 0
 *   thread 2      joins B, sleeps  ................. flushes B: [ write | f...
 *   thread 3         joins B, sleeps .......................................
 *                                                   ^
 *                              A is durable, B is not: only thread 1 is told
 *
 * Which thread flushes is yours to choose: one of the writers, a leader, or a
 * thread of the log's own.
 *
 * On the disk a batch is what wal_batch.h says: a mark, then the records. Its
 * mark holds the size of the log that was durable when the batch was written:
 * with one flush at a time, the offset of the mark.
 *
 * Failures. All functions return 0 or a negative errno. The first write or sync
 * that fails poisons the log: every commit whose record is not durable yet, and
 * every later one, returns that errno, and nothing is written any more. The way
 * out is wal_group_close(), recovery and wal_group_open().
 */
#ifndef GROUP_COMMIT_H
#define GROUP_COMMIT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "wal_batch.h"
#include "wal_record.h"
#include "wal_writer.h"

/* Records that share a flush, as they will stand in the log. */
struct wal_batch {
    size_t writers; /* commits that joined */
    size_t len;     /* bytes, room for the mark included */
    uint8_t bytes[WAL_BATCH_MAX_BYTES];
};

/* An open log; a program may have several. All of it is yours to change:
 * callers know the functions. */
struct wal_group {
    struct wal_writer log;       /* `offset` is what is durable; `error` is the
                                    poison */
    pthread_mutex_t lock;        /* guards all that follows, and `log` */
    pthread_cond_t flushed;      /* a flush has ended, well or not */
    pthread_cond_t joined;       /* for a leader that waits for company: the
                                    batch has as many writers as the last */
    struct wal_batch batches[2]; /* one is filled while the other is flushed */
    struct wal_batch *filling;
    uint64_t number;  /* of the batch being filled, from 1 on */
    uint64_t durable; /* of the last batch that a completed flush holds */
    size_t released;  /* writers in that batch, for the same leader */
    int flushing;     /* some thread is at it */
    int closing;
};

/*
 * Opens the log at `path`, makes an empty one (mode 0644) if there is none, as
 * wal_open() does. A log that was there ends with a whole batch: recover it
 * first.
 *
 * Durable on 0: the name `path` and all that stands in the log. A process that
 * was killed may have left what only the page cache holds, and the first mark
 * will call it synced.
 *
 * Returns 0, or a negative errno; then nothing stays open.
 */
int wal_group_open(struct wal_group *group, const char *path);

/*
 * Commits one record: joins a batch, and returns when that batch is flushed.
 * Any number of threads may be in here at once. The records of one thread stand
 * in the log in the order of its calls.
 *
 * Durable on 0: the whole record, and every record committed before it.
 *
 * A call waits for two flushes at most: the one that is going on when it comes,
 * and its own. More where its record finds no room: each batch that was full
 * before it costs one. The caller that flushes may give others up to 50
 * microseconds to join.
 *
 * Returns 0; the error of wal_record_encode() for a record that has no encoding
 * (at once; nothing is written, the batch and the log stay good); the error
 * that poisoned the log; or -EBADF for a call that had not joined when
 * wal_group_close() came.
 */
int wal_group_commit(struct wal_group *group, const struct wal_record *record);

/*
 * Drains and closes the log. Other threads may be in wal_group_commit(): what
 * has joined a batch is flushed, by this call or by one of theirs, and its
 * writers are told. A call that still waits for room may join, or return
 * -EBADF. Calls that come later return -EBADF (where the log is poisoned, its
 * error will do) for as long as *group lives, so what they lock stays. Syncs
 * once more, unless the log is poisoned, before it closes the file, which is
 * closed on every return.
 *
 * Durable on 0: everything that was committed.
 *
 * Returns 0, the error that had poisoned the log, or the negative errno of
 * fsync(2) or close(2). Call it once.
 */
int wal_group_close(struct wal_group *group);

#endif
