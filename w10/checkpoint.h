/*
 * A map, the log that makes it durable, and checkpoints that keep that short.
 * SPDX-License-Identifier: MIT
 *
 *     static struct kv_log log;
 *
 *     int err = kv_log_open(&log, "db");        recovery, then ready to append
 *     err = kv_log_append(&log, &record);       0: this record is durable
 *     entry = kv_get(&log.kv, key, key_len);    read the map, never change it
 *     err = kv_log_checkpoint(&log);            0: what is older is not needed
 *     err = kv_log_close(&log);
 *
 * The log is a sequence of segments in a directory of its own. Each is a log of
 * wal_writer.h; its name is its number in decimal, from 1 on, without zeros in
 * front: 1.wal, 2.wal, ... The last one is appended to, the others are closed.
 *
 *   snapshot        every pair of the map, and the number of the first segment
 *                   that it does not contain; there is one, or none yet
 *   snapshot.tmp    one that is being written; nothing rests on it
 *   N.wal           segment N
 *
 * The map is the snapshot (nothing, where there is none) and, on top of it, the
 * records of the segments from that number on, in order. Segments below it may
 * still be there and must not be replayed.
 *
 * Bytes of a snapshot, little-endian:
 *
 *   offset  size  field    meaning
 *        0     R  records  every pair once, as a SET record of wal_record.h, in
 *                          any order
 *        R     4  magic    53 4e 41 50, "SNAP"
 *      R+4     8  segment  the first segment to replay, 1 or more
 *     R+12     8  count    how many records stand above
 *     R+20     4  crc32    CRC-32/IEEE of all R + 20 bytes before it
 *
 * It is whole if and only if crc32 and magic are right, segment is not 0, and
 * the R bytes are `count` canonical SET records. No checkpoint writes a key
 * twice, and a reader of such a file may refuse it or take the last value. A
 * snapshot of foo=bar, to be followed by segment 2, has these 45 bytes:
 *
 *   29 f0 57 95 15 00 00 00  01 03 00 66 6f 6f 00 03
 *   00 62 61 72 00 53 4e 41  50 02 00 00 00 00 00 00
 *   00 01 00 00 00 00 00 00  00 06 bc fa 86
 *
 * A checkpoint, and what recovery uses after a crash at each place:
 *
 *   close segment N, make segment N + 1     old snapshot, its segments
 *   write snapshot.tmp, sync it             old snapshot, its segments
 *   rename it to snapshot                   the old or the new one: all that
 *                                           either needs is there
 *   sync the directory                      new snapshot, N + 1 and later
 *   remove the segments up to N             the same; a removal that is undone
 *                                           leaves a file that is not replayed
 *
 * Failures. All functions return 0 or a negative errno. A failure poisons the
 * handle: its first error is kept, and every later call returns it and writes
 * nothing (wal_writer.h says why). kv_log_close() may still sync, which changes
 * nothing of what it returns. Two failures do not poison: a record that has no
 * encoding, and a snapshot that could not be put in place.
 *
 * A directory is used by one handle, and a handle by one thread, at a time.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdint.h>

#include "kv.h"
#include "wal_record.h"
#include "wal_writer.h"

enum {
    KV_LOG_DIR_MAX_BYTES = 4000,
    SNAPSHOT_TRAILER_BYTES = 24,
};

/* An open log. You may add fields; these keep their names and types. */
struct kv_log {
    struct kv kv;     /* what the snapshot and the records add up to */
    uint64_t segment; /* the number of the segment that is appended to */
    int error;        /* 0, or the negative errno that poisoned the handle */
    char dir[KV_LOG_DIR_MAX_BYTES + 1];
    struct wal_writer writer; /* on that segment; fd is -1 if none is open */
};

/*
 * Opens the log in the directory `dir`, which ends in no slash and is made
 * (mode 0755, less the umask) if it is not there, and recovers it into `kv`.
 *
 * Only the last segment may have a torn tail; wal_recover() cuts it. A closed
 * one was synced whole before the next was made, and `snapshot` before it got
 * its name: if they are not whole, no crash did that. The same holds for a
 * segment that is missing between two others, or below the first one where
 * there is no snapshot. The segment that the snapshot names, or 1 where there
 * is none, may be missing if no later one is there, and is made. In the last
 * segment wal_recover() tells a torn tail from damage.
 *
 * Once the names that recovery rests on are durable, by the directory's sync in
 * wal_open() or one of its own, leftovers are removed:
 * snapshot.tmp and the segments below the snapshot's. Other files are left
 * alone. What cannot be removed is left to the next open, and is no error.
 *
 * Memory: the map, and beside it the snapshot or one closed segment, one at a
 * time.
 *
 * Durable on 0: the directory's name, all that `kv` holds, and the name of the
 * segment that is appended to. After a crash in the middle it may be run again;
 * running it again finds the same.
 *
 * Returns 0; -EBADMSG for what no crash leaves, and then nothing was changed;
 * -ENAMETOOLONG for a `dir` of more than KV_LOG_DIR_MAX_BYTES; -ENOMEM; or the
 * negative errno of the call that failed. On an error nothing stays open or
 * allocated, and the handle must not be used, not even by kv_log_close().
 */
int kv_log_open(struct kv_log *log, const char *dir);

/*
 * Appends one record to the segment, and then applies it to `kv`.
 *
 * Durable on 0: the record, and all before it.
 *
 * Returns 0; the error of wal_record_encode() for a record that has no encoding
 * (nothing is written, the handle stays good); -ENOMEM, which poisons the
 * handle since the log then holds what `kv` does not; or the negative errno of
 * the write or sync that failed, which poisons it.
 */
int kv_log_append(struct kv_log *log, const struct wal_record *record);

/*
 * Begins a new segment, puts a snapshot of `kv` in the place of the old one,
 * and removes the segments that it makes needless.
 *
 * Durable on 0: the snapshot, whole, and its name. No segment is removed before
 * that. Removals are not synced and their failures no errors.
 *
 * Memory: what it takes is given back on every return, but for buffers that it
 * uses again: static ones that do not grow, or the handle's until its close.
 *
 * Returns 0. Where the snapshot cannot be written, synced, closed or renamed,
 * the negative errno (or -ENOMEM): snapshot.tmp is removed, no segment is, and
 * the handle stays good. Where a segment cannot be closed or made, or the
 * directory not synced, the negative errno, and the handle is poisoned.
 */
int kv_log_checkpoint(struct kv_log *log);

/*
 * Closes the segment and gives the memory of the map and the handle back. Both
 * happen on every return.
 *
 * Durable on 0: everything that was appended.
 *
 * Returns 0, the error that had poisoned the handle, or that of wal_close().
 */
int kv_log_close(struct kv_log *log);

#endif
