/*
 * Anchors on disk: kept through a crash, found again by recovery.
 * SPDX-License-Identifier: MIT
 *
 * One directory holds one log:
 *
 *   anchor_<id>.rec        an anchor record, as anchor_record.h lays it out
 *   anchor_<id>.cosig      the witness's cosignature of that record
 *   head                   the id of the last complete anchor
 *   head.tmp               the next head on its way; worth nothing
 *   anchor_<id>.rec.torn, anchor_<id>.cosig.torn, then ….1.torn, ….2.torn
 *                          what recovery found torn; kept as evidence
 *
 * <id> is decimal without leading zeros, 0 to 18446744073709551615. `head`
 * is such a number and one newline, for example "2\n"; anything else (empty,
 * "-1", "02", "2 ", 2^64) is no head, and recovery works without it.
 *
 * An anchor is *complete* when its record is whole and continues the log
 * from anchor 0 on, and its cosignature is whole and matches the record.
 *
 * For each anchor, in this order:
 *
 *   anchor_log_next, anchor_persist_record      the record is durable
 *   the witness: anchor_cosign                  … and may now be signed
 *   anchor_cosignature_verify                   is it the right signature?
 *   anchor_persist_cosignature                  the proof is durable
 *   anchor_atomic_advance, anchor_log_append    the log is one longer
 *   the receipt                                 only now
 *
 * At every start, anchor_recover comes before all of these. The caller makes
 * the directory and its name durable, and is the only one to write in it.
 *
 * `dir` is the directory's path. Every function returns 0 or a negative
 * errno (-ENAMETOOLONG for a path beyond PATH_MAX, what open(2), read(2),
 * readdir(3), write(2), fsync(2), close(2), rename(2) said, -ENOMEM from
 * libcrypto); errors of a directory's fsync and of close count. A failed
 * call takes back the .rec or .cosig that it made, and no other, so that
 * nobody mistakes it for a kept one; its head.tmp may go or stay. After
 * -EIO, stop: the kernel may have dropped pages that it still shows
 * (fsync(2), ERRORS). Who calls again all the same must not be told 0 for
 * what a failed call wrote.
 *
 * No call leaves a descriptor open or another working directory. A close(2)
 * that is interrupted (EINTR) has closed: report it or not, and never close
 * that descriptor again.
 */
#ifndef ANCHOR_STORAGE_H
#define ANCHOR_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "anchor_record.h"

/* Writes anchor_<id>.rec with O_EXCL, so no record is ever overwritten.
 *
 * Durable on return: the file's bytes and its name.
 * If the name is taken: by the same bytes, file and directory are synced
 * again, since a killed process may have left them unsynced, and the promise
 * is the same. By anything else: -EEXIST, and it stays as it is; the witness
 * may have signed it, or it is torn and anchor_recover is due.
 * -EINVAL for a record that cannot be encoded.
 *
 * Record id - 1 is not asked for: order is anchor_log's business in memory
 * and anchor_recover's on disk. */
int anchor_persist_record(const char *dir, const struct anchor_record *record);

/* Writes anchor_<id>.cosig beside its record, just as durably and with the
 * same answers to a name that is taken. The digest in it is the link between
 * the two files: -ENOENT without a whole record in anchor_<id>.rec, -EINVAL
 * when the cosignature names another one than that, by id or by digest. The
 * signature itself is for the caller to verify, before this call: a wrong
 * one would keep the right one out. */
int anchor_persist_cosignature(const char *dir,
                               const struct anchor_cosignature *cosignature);

/* Makes `id` the head: head.tmp, fsync, rename, fsync of the directory. Call
 * it once record and cosignature of every id up to this one are durable.
 *
 * Durable on return: `head` is this id. At every moment before: the old head
 * or the new one, whole. A head.tmp that a crash left does not block it.
 * It is written anew even where `head` is this id already: a call whose
 * fsync failed may have left it, and no later fsync would make it good. A
 * higher one is replaced as well. */
int anchor_atomic_advance(const char *dir, uint64_t id);

/* What recovery read in the file `head`. */
enum anchor_head {
    ANCHOR_HEAD_NONE,      /* no such file */
    ANCHOR_HEAD_MALFORMED, /* not one id and a newline */
    ANCHOR_HEAD_VALID,     /* head_id is the number that stood there */
};

/* What stands under the first id that is not complete, log.count. */
enum anchor_next {
    ANCHOR_NEXT_FREE,    /* nothing: any record may come next */
    ANCHOR_NEXT_PENDING, /* a record of this log without a cosignature. The
                            witness may have signed it, so this very record
                            has to come next */
    ANCHOR_NEXT_BLOCKED, /* whole files that are no anchor of this log: no
                            crash does that, a person has to look */
};

struct anchor_recovery {
    struct anchor_log log; /* the complete anchors, 0 to count - 1 */
    enum anchor_head head; /* the head as it was found */
    uint64_t head_id;      /* if ANCHOR_HEAD_VALID */
    enum anchor_next next;
    struct anchor_record pending; /* if ANCHOR_NEXT_PENDING */
    uint64_t torn;                /* files set aside as ….torn, this time */
    bool hole;                    /* a .rec or .cosig has an id beyond */
    uint64_t highest;             /* … log.count; the highest such id */
};

/* Finds the log again: a prefix of complete anchors, whatever `head` says.
 * With `witness_key` (ANCHOR_KEY_BYTES) a cosignature must verify; without
 * (NULL) it must name its record.
 *
 *   - At the first id that is not complete the log ends. A torn .rec or
 *     .cosig of that id is set aside as ….torn, so that its name is free;
 *     a whole .cosig beside a torn .rec stays, and is ANCHOR_NEXT_BLOCKED.
 *   - Every .rec and .cosig of an id beyond that one is reported, whatever
 *     is in it, and stays as it is. Evidence (….torn) is not reported.
 *   - A complete anchor beyond the head is taken in, an incomplete one up to
 *     the head is left out; `head` is set to match, or unlinked if no anchor
 *     is complete. One that matches may be written anew all the same. A
 *     leftover head.tmp may go or stay.
 *
 * Durable on return: every anchor counted, the pending record, the head.
 * Where libcrypto fails (-ENOMEM) nobody knows what stands in a file: it is
 * neither torn nor blocked, and stays as it is.
 * It may be crashed anywhere and run again; a second run changes no bytes
 * and no name, and finds the same log. Returns the number of complete
 * anchors, or a negative errno, and then found_out is as it was. */
int64_t anchor_recover(const char *dir, const uint8_t *witness_key,
                       struct anchor_recovery *found_out);

#endif
