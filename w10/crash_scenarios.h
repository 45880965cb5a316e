/*
 * The test of recovery: how the program crash_scenarios is run and how it ends.
 * SPDX-License-Identifier: MIT
 *
 * It has no arguments. It makes logs as a crash or a failing disk leaves them,
 * gives each to wal_recover(), the one that it was linked with, and holds the
 * answer, the map and the file against w10/wal_recovery.h.
 *
 *   ends with              and prints
 *   RECOVERY_IS_RIGHT      as its last line:  every scenario holds
 *   RECOVERY_IS_WRONG      a line that begins with "FAILED " and goes on with
 *                          the scenario:  FAILED torn after 85 bytes: ...
 *   TEST_CANNOT_RUN        why; this says nothing of recovery
 *
 * A recovery that is wrong may leave out of the map what the test asks it for,
 * and must not take the test with it: a test that dies has said nothing.
 *
 * What recovery has to do, by what happened to the log:
 *
 *   nothing: a log of any size,   0, every record; the file as it was
 *     records of any size, and
 *     of any bytes
 *   the end torn, at any byte     0, the whole records; the rest is cut
 *   the last record bad in any    0, the whole records; the rest is cut
 *     way, by a flipped bit say
 *   zeros instead of the end,     0, the whole records; the rest is cut
 *     as long as the data that
 *     is missing, or to the end
 *     of its block of 4096 bytes
 *   a bad record, and a whole     -EBADMSG, the offset of the bad one in
 *     one of any size behind it,  valid_bytes, cut_bytes 0; the file as it was
 *     a million bytes away say;
 *     the end may be torn, too
 *   no log yet                    0, no record; no log is made
 *
 * and where it returned 0:
 *
 *   recovered again               0, the same map, nothing cut
 *   one more record appended      0, that record too
 *   then torn once more           0, cut once more
 *
 * and whatever it returned:
 *
 *   pairs that were in the map    are there still
 *   *found_out                    is written, each field of it
 *
 * Zeros may be just what is missing, a NUL at the end of a value or padding:
 * then that record is whole.
 *
 * What it is free to do: for -EBADMSG the map may hold the records before the
 * bad one, or nothing, and `records` is how many those are, or 0. It may make
 * files beside the log: the answer, the map and the log are what counts. It may
 * make a system call for each byte that it searches.
 *
 * The program starts in a directory in which it may write, empty or not, and
 * has ten seconds. It is compiled with the headers of the course and linked
 * with the course's wal_writer, wal_record, crc32 and kv; the recovery changes.
 */
#ifndef CRASH_SCENARIOS_H
#define CRASH_SCENARIOS_H

/* The exit status. */
enum crash_scenarios {
    RECOVERY_IS_RIGHT = 0,
    RECOVERY_IS_WRONG = 1,
    TEST_CANNOT_RUN = 2,
};

#endif
