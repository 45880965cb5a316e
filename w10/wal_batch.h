/*
 * A log of batches: the mark in front of each, and recovery. Given.
 * SPDX-License-Identifier: MIT
 *
 * Where many records share a sync, a crash in front of it may leave any of them
 * torn and any behind it whole: the blocks of a file reach the disk in no order.
 * What follows a bad record then proves nothing. So each batch begins with a
 * mark, and the records of w10-l01 stand behind it:
 *
 *   | mark | record | record | record | mark | record | mark | record | record |
 *   |<------------ batch ------------>|<--- batch --->|<------- batch -------->|
 *
 * A mark, little-endian:
 *
 *   offset  size  field      meaning
 *        0     4  crc32      CRC-32/IEEE of the 16 bytes that follow it
 *        4     4  batch_len  bytes in the whole batch, the mark included
 *        8     4  magic      the letters WALB
 *       12     8  synced     how many bytes of the log a completed sync had
 *                            covered when the batch was written; at most the
 *                            offset of the mark itself
 *
 * The mark of the first batch of a log, 41 bytes with SET foo=bar behind it:
 *
 *   f5 87 38 0d  29 00 00 00  57 41 4c 42  00 00 00 00 00 00 00 00
 *   crc32        batch_len    W  A  L  B   synced
 */
#ifndef WAL_BATCH_H
#define WAL_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "kv.h"
#include "wal_recovery.h"

enum {
    WAL_MARK_BYTES = 20,
    WAL_BATCH_MAX_BYTES = 1 << 18, /* room for the largest record, and more */
};

/*
 * Writes the mark at the start of a batch of `batch_len` bytes, for which `batch`
 * has room: WAL_MARK_BYTES to WAL_BATCH_MAX_BYTES. `synced` as above.
 */
void wal_mark_put(uint8_t *batch, size_t batch_len, uint64_t synced);

/*
 * Replays the log at `path` into `kv`, made by the caller with kv_init(): every
 * whole batch in order, until the end or the first that is not whole. A batch
 * is whole if its mark is valid and canonical records fill it exactly.
 *
 * A torn batch goes as a whole, and with it all behind it: none of its writers
 * had been told. It is corrupt, and stays, if a mark stands behind it whose
 * `synced` lies beyond the place where it begins: a sync had covered that place.
 * (Two limits. A value may hold the bytes of such a mark; then recovery refuses
 * and a person decides. Damage to the last batch of all looks like a crash.) A
 * log that goes on with records outside of a batch is not one of ours, and
 * corrupt as well.
 *
 * Durable on 0: the log's bytes as they were replayed, its size, and its name.
 * It may be crashed and run again; running it again changes nothing.
 *
 * Returns as wal_recover() does, with the same meaning of *found_out, where
 * `valid_bytes` is where a batch ends, or begins for -EBADMSG.
 */
int wal_batch_recover(const char *path, struct kv *kv,
                      struct wal_recovery *found_out);

#endif
