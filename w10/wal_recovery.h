/*
 * Reads a log from its beginning, replays it into a map and mends its end.
 * SPDX-License-Identifier: MIT
 *
 *     struct kv kv;
 *     struct wal_recovery found;
 *     struct wal_writer writer;
 *
 *     kv_init(&kv);
 *     int err = wal_recover("test.wal", &kv, &found);
 *     if (err == 0)
 *         err = wal_open(&writer, "test.wal");
 *
 * A writer that syncs every record leaves at most one that is not whole, and it
 * stands at the end: the record in flight when the power went. So:
 *
 *   ... | record | record | the start of a rec       torn: cut it off
 *   ... | record | record | 00 00 00 00 00 00        torn: the size reached the
 *                                                    disk, the data did not
 *   ... | record | ?????? | record | record          corrupt: records that were
 *                                                    acknowledged follow
 *
 * What follows tells the two apart. Recovery looks for a canonical record at
 * every later offset, byte by byte, since the bad record's length cannot be
 * trusted. (Its limit: a value can itself hold the bytes of a whole record, and
 * a torn record with such a value then looks like corruption. Nothing is lost:
 * recovery refuses and a person decides.)
 */
#ifndef WAL_RECOVERY_H
#define WAL_RECOVERY_H

#include <stdint.h>

#include "kv.h"

struct wal_recovery {
    uint64_t records;     /* replayed, SET and DEL together; for -EBADMSG those
                             that stand in the map, or 0 if none does */
    uint64_t valid_bytes; /* what those records take: where the log ends now, or
                             for -EBADMSG the offset of the corrupt record */
    uint64_t cut_bytes;   /* what was cut from the end; 0 if it was clean */
};

/*
 * Replays the log at `path` into `kv`: every record in order, from offset 0 to
 * the end or the first bad one. The caller has made `kv` with kv_init(), and it
 * may hold pairs, as those of an older log; they stay. A torn tail is cut off,
 * here and nowhere else. A log that is not there (ENOENT) is an empty one and is
 * not created.
 *
 * The log may be larger than memory: it is read through one buffer of fixed
 * size, or mapped for reading (mmap(2)), and only `kv` grows. That buffer may
 * be static, or be kept for the next call (one thread at a time recovers); all
 * other memory, and a mapping, is given back on every return. The time it takes
 * grows as the log does, also where the search passes megabytes that are no
 * record: a buffer with room for one record only would be read again at every
 * byte of them.
 *
 * Durable on 0: the log's bytes as they were replayed, its size, and its name.
 * A killed process may have left them in the page cache, where they can be read
 * and a power loss can still take them. After a crash in the middle it may be
 * run again; running it again changes nothing.
 *
 * Returns 0; -EBADMSG for a corrupt log, which stays as it is; -ENOMEM; or the
 * negative errno of the call that failed, a close of the log too. A read that is
 * short goes on, and a read or fsync that meets EINTR is made again. *found_out
 * is written for 0 and for -EBADMSG, and stays as it is otherwise; `kv` holds
 * what was replayed so far whatever is returned.
 */
int wal_recover(const char *path, struct kv *kv,
                struct wal_recovery *found_out);

#endif
