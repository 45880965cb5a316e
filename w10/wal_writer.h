/*
 * Appends records to a log file; what was appended is there after a power loss.
 * SPDX-License-Identifier: MIT
 *
 *     struct wal_writer writer;
 *
 *     int err = wal_open(&writer, "test.wal");  after recovery, if there is one
 *     err = wal_append(&writer, &record);       0: this record is durable
 *     err = wal_close(&writer);
 *
 * wal_append() in one line, with what a power loss leaves at each place:
 *
 *   record --> wal_record_encode() --> write_full() --> fsync() --> return 0
 *                                           |              |
 *                                      page cache     stable storage
 *                                   lost, or torn,    all of it, for good
 *                                      or whole
 *
 * The file is append-only: no byte that stands in it is ever written again.
 *
 *   +-----------+--------------+--------------+----------+
 *   | SET       | SET          | SET          | DEL      |
 *   | foo=bar   | name=alice   | count=42     | name     |
 *   +-----------+--------------+--------------+----------+
 *   0           21             48             72         91
 *
 * Failures. All functions return 0 or a negative errno. The first write or sync
 * that fails poisons the handle: its errno is kept, and wal_append() and
 * wal_close() return it from then on without writing or syncing. A second fsync
 * after a failed one may return 0 although the pages are gone (the kernel marks
 * them clean: Rebello et al., "Can Applications Recover from fsync Failures?",
 * USENIX ATC 2020). The way out is wal_close(), recovery and wal_open(); it
 * clears the handle, and is not a full cure, since recovery may read from the
 * page cache what the disk never got.
 *
 * A handle is used by one thread at a time; two threads may have one each. Memory
 * that a call takes is given back on every return. A handle may keep some until
 * wal_close(), and a function a buffer, static or allocated, that does not grow
 * and that two threads do not share.
 */
#ifndef WAL_WRITER_H
#define WAL_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "wal_record.h"

/* An open log. You may add fields; these keep their names and types. */
struct wal_writer {
    int fd;          /* the log, open for appending; -1 when closed */
    uint64_t offset; /* bytes in the log: its size at wal_open(), plus every
                        record that this handle has made durable */
    int error;       /* 0, or the negative errno that poisoned the handle */
    uint8_t scratch[WAL_RECORD_MAX_BYTES]; /* the record being appended */
};

/*
 * Opens the log at `path`, makes an empty one (mode 0644, less what the umask
 * takes away) if there is none, and sets `offset` to its size in bytes. A log
 * that is there keeps its mode. The file is opened for writing (O_WRONLY is
 * enough), with O_CREAT and O_APPEND: the kernel moves every write to the end
 * of the file, so two handles on one log cannot overwrite each other's records
 * (open(2)). They can still mix them, since a record may take several writes:
 * one at a time appends.
 *
 * Durable on return: the name `path` in its directory, also where the file was
 * there before. Whoever made it may have been killed before syncing it. `path`
 * may be a symbolic link to a log, and the name is then the link's; but not to a
 * file that is not there yet: its name would be made in a directory that nobody
 * syncs.
 *
 * Returns 0, or the negative errno of open(2) or lseek(2), or what
 * wal_sync_dir() returned; then nothing stays open, the handle must not be used,
 * and the log stays where it is: another handle may have it open.
 */
int wal_open(struct wal_writer *writer, const char *path);

/*
 * Appends one record.
 *
 * Durable on 0: the whole record, and every record appended before it. Only
 * then does `offset` grow, by the size of the record. One sync a record, not one
 * a byte: each costs a trip to the device.
 *
 * Returns 0; the error of wal_record_encode() for a record that has no encoding
 * (nothing is written, a good handle stays good); or the negative errno of the
 * write or sync that failed, which poisons the handle and leaves `offset` as it
 * was. What stands in the file behind `offset` is then for recovery to judge:
 * this function never cuts or repairs.
 */
int wal_append(struct wal_writer *writer, const struct wal_record *record);

/*
 * Syncs once more, closes the file and sets `fd` to -1. A handle through which
 * nothing was appended has nothing to sync. The file is closed on every return,
 * and close(2) is never tried twice.
 *
 * Durable on 0: everything that was appended.
 *
 * Returns 0, the error that had poisoned the handle, or the negative errno of
 * fsync(2) or close(2), the EINTR of a close too: it is an error like any other.
 */
int wal_close(struct wal_writer *writer);

/*
 * Writes all `len` bytes at `buf` to `fd`, however many calls of write(2) that
 * takes. A call may write less than it was asked to (a nearly full disk, a
 * signal, a limit) and may be interrupted before it wrote anything (EINTR).
 *
 * Durable on return: nothing.
 *
 * Returns 0; the negative errno of write(2); or -ENOSPC for a write that
 * returns 0. On an error some of the bytes may be in the file.
 */
int write_full(int fd, const void *buf, size_t len);

/*
 * Calls fsync(2) on `fd`, again while a signal interrupts it (EINTR). Any other
 * failure is final.
 *
 * Durable on 0: the file's bytes and size as they were when this was called;
 * not its name.
 *
 * Returns 0 or the negative errno of fsync(2).
 */
int wal_sync_fd(int fd);

/*
 * Syncs the directory that holds `path` (fsync of a file does not make its name
 * durable: fsync(2)). Nothing need stand at `path`.
 *
 * Durable on 0: every name in that directory as it was when this was called.
 *
 * Returns 0, -ENAMETOOLONG, or the negative errno of open(2), fsync(2) or
 * close(2).
 */
int wal_sync_dir(const char *path);

#endif
