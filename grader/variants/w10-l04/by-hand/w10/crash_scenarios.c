/*
 * Crash scenarios written one by one: each says itself what recovery must do.
 * SPDX-License-Identifier: MIT
 *
 * Logs are made by the writer and damaged in place, as a disk would do it.
 */
#define _POSIX_C_SOURCE 200809L

#include "crash_scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv.h"
#include "wal_record.h"
#include "wal_recovery.h"
#include "wal_writer.h"

/* Where the records end that start() writes. */
static const long ENDS[] = { 0, 21, 48, 69, 88, 103 };

/* The zeros with which each ends: whether these are lost, none can say. */
static const long ZEROS[] = { 1, 1, 1, 4, 3 };

static const char *name; /* of the log: another one for each scenario */
static char names[4000][24];
static int scenarios;
static const char *what;
static int failures;

static void wrong(const char *why, long got, long want)
{
    if (failures++ == 0)
        printf("FAILED %s (log %d): %s is %ld and should be %ld\n", what,
               scenarios, why, got, want);
}

static void must(int ok, const char *why)
{
    if (!ok) {
        printf("%s: %s\n", why, strerror(errno));
        exit(TEST_CANNOT_RUN);
    }
}

static void append(int type, const char *key, const void *value, size_t len)
{
    static struct wal_writer writer;
    struct wal_record record = { (uint8_t)type, (const uint8_t *)key,
                                 (uint16_t)strlen(key), value, (uint16_t)len };

    must(wal_open(&writer, name) == 0, "wal_open");
    must(wal_append(&writer, &record) == 0, "wal_append");
    must(wal_close(&writer) == 0, "wal_close");
}

/* A new log: foo=bar, name=alice, z=0\0z, no name, no k. */
static void start(const char *scenario)
{
    what = scenario;
    name = names[scenarios];
    snprintf(names[scenarios], sizeof(names[0]), "%06d.wal", scenarios);
    scenarios++;
    append(WAL_SET, "foo", "bar", 3);
    append(WAL_SET, "name", "alice", 5);
    append(WAL_SET, "z", "0\0z", 3);
    append(WAL_DEL, "name", NULL, 0);
    append(WAL_DEL, "k", NULL, 0);
}

static long size(void)
{
    struct stat st;

    return stat(name, &st) < 0 ? -1 : (long)st.st_size;
}

static void write_at(long at, const void *bytes, size_t len)
{
    int fd = open(name, O_WRONLY);

    must(fd >= 0 && pwrite(fd, bytes, len, at) == (ssize_t)len, "pwrite");
    close(fd);
}

static void flip(long at, int bit)
{
    unsigned char byte;
    int fd = open(name, O_RDWR);

    must(fd >= 0 && pread(fd, &byte, 1, at) == 1, "pread");
    byte ^= (unsigned char)(1 << bit);
    must(pwrite(fd, &byte, 1, at) == 1, "pwrite");
    close(fd);
}

static void must_have(const struct kv *kv, const char *key, const void *value,
                      long len)
{
    const struct kv_entry *entry = kv_get(kv, key, strlen(key));

    if ((entry ? (long)entry->value_len : -1) != len)
        wrong(key, entry ? (long)entry->value_len : -1, len);
    else if (entry && memcmp(entry->value, value, (size_t)len) != 0)
        wrong(key, entry->value[0], ((const char *)value)[0]);
}

/* A map with a pair in it that no log here touches. */
static void start_map(struct kv *kv)
{
    kv_init(kv);
    must(kv_set(kv, "mine", 4, "!", 1) == 0, "kv_set");
}

/* The map after the first `records` records of start(). */
static void hold_map(const struct kv *kv, long records)
{
    must_have(kv, "mine", "!", 1);
    must_have(kv, "foo", "bar", records >= 1 ? 3 : -1);
    must_have(kv, "name", "alice", records == 2 || records == 3 ? 5 : -1);
    must_have(kv, "z", "0\0z", records >= 3 ? 3 : -1);
}

static void recover(long records, long valid, long cut)
{
    struct wal_recovery found = { 7, 7, 7 };
    struct kv kv;

    start_map(&kv);
    int err = wal_recover(name, &kv, &found);
    if (err)
        wrong("the return value", err, 0);
    if ((long)found.records != records)
        wrong("records", (long)found.records, records);
    if ((long)found.valid_bytes != valid)
        wrong("valid_bytes", (long)found.valid_bytes, valid);
    if ((long)found.cut_bytes != cut)
        wrong("cut_bytes", (long)found.cut_bytes, cut);
    if (valid > 0 && size() != valid)
        wrong("the size", size(), valid);
    hold_map(&kv, records > 5 ? 5 : records);
    kv_free(&kv);
}

static void refuse(long records, long valid)
{
    struct wal_recovery found = { 7, 7, 7 };
    struct kv kv;
    long before = size();
    struct stat st, now;

    must(stat(name, &st) == 0, name);
    start_map(&kv);
    int err = wal_recover(name, &kv, &found);
    if (err != -EBADMSG)
        wrong("the return value", err, -EBADMSG);
    else if ((long)found.valid_bytes != valid)
        wrong("valid_bytes", (long)found.valid_bytes, valid);
    else if (found.cut_bytes != 0)
        wrong("cut_bytes", (long)found.cut_bytes, 0);
    must(stat(name, &now) == 0, name);
    if (size() != before)
        wrong("the size", size(), before);
    if (now.st_mtim.tv_nsec != st.st_mtim.tv_nsec)
        wrong("whether the file was written", 1, 0);
    hold_map(&kv, kv.count == 1 ? 0 : records);
    kv_free(&kv);
}

static long whole_before(long at)
{
    long n = 0;

    while (n < 5 && ENDS[n + 1] <= at)
        n++;
    return n;
}

/* A recovery, one more record, and the same crash again. */
static void live_on(long records)
{
    long valid = ENDS[records];
    struct kv kv;
    struct wal_recovery found;

    for (int i = 0; i < 3; i++) {
        append(WAL_SET, "later", "", 0);
        valid += 22;
        must(truncate(name, valid + i) == 0, "truncate");
        start_map(&kv);
        int err = wal_recover(name, &kv, &found);
        if (err)
            wrong("the return value", err, 0);
        else if ((long)found.records != records + i + 1)
            wrong("records", (long)found.records, records + i + 1);
        else if ((long)found.cut_bytes != i)
            wrong("cut_bytes", (long)found.cut_bytes, i);
        if (size() != valid)
            wrong("the size", size(), valid);
        hold_map(&kv, records);
        must_have(&kv, "later", "", 0);
        kv_free(&kv);
    }
}

static void crash(long kept, long len)
{
    long n = whole_before(kept);

    must(truncate(name, kept) == 0 && truncate(name, len) == 0, "truncate");
    while (n < 5 && ENDS[n + 1] <= len && kept >= ENDS[n + 1] - ZEROS[n])
        n++;
    recover(n, ENDS[n], len - ENDS[n]);
    recover(n, ENDS[n], 0);
    live_on(n);
}

static void torn_or_zeroed(void)
{
    for (long kept = 0; kept <= 103; kept++) {
        start("torn");
        crash(kept, kept);
        start("zeros for data");
        crash(kept, 103);
        start("zeros to the end of the block");
        crash(kept, 4096);
        unlink(name);
    }
}

static void damaged(void)
{
    for (long at = 0; at < 103; at++) {
        for (int bit = 0; bit < 8; bit++) {
            long n = whole_before(at);

            start("a bit flipped");
            flip(at, bit);
            if (at < 88)
                refuse(n, ENDS[n]);
            else
                recover(4, 88, 15);
            unlink(name);
        }
    }
    start("a bit flipped, and the end torn");
    flip(30, 2);
    must(truncate(name, 95) == 0, "truncate");
    refuse(1, 21);
}

static void stray(const char *scenario, long len, size_t value_len)
{
    static char bytes[1000000];

    start(scenario);
    memset(bytes, '#', sizeof(bytes));
    write_at(103, bytes, (size_t)len);
    append(value_len ? WAL_SET : WAL_DEL, "k", bytes, value_len);
    refuse(5, 103);
}

static void blocks(void)
{
    static char value[60000], key[65536];
    struct wal_recovery found = { 7, 7, 7 };
    struct kv kv;

    start("a log of one block");
    append(WAL_SET, "b", value, 4096 - 103 - 18);
    recover(6, 4096, 0);

    start("a log of 30 large records");
    for (int i = 0; i < 30; i++)
        append(WAL_SET, "b", value, sizeof(value));
    recover(35, 103 + 30 * 60018l, 0);

    memset(key, 'k', sizeof(key) - 1);
    start("a record of the longest key");
    append(WAL_SET, key, key, sizeof(key) - 1);
    recover(6, 103 + 131085, 0);

    what = "no log";
    name = "none.wal";
    start_map(&kv);
    int err = wal_recover(name, &kv, &found);
    if (err)
        wrong("the return value", err, 0);
    if (found.records || found.valid_bytes || found.cut_bytes)
        wrong("something in the answer", 1, 0);
    hold_map(&kv, 0);
    if (size() != -1)
        wrong("the size", size(), -1);
    kv_free(&kv);
}

int main(void)
{
    torn_or_zeroed();
    damaged();
    for (long len = 1; len < 30; len++)
        stray("strays before a record", len, 0);
    stray("strays before a long record", 5, 60000);
    stray("many strays before a record", 1000000, 0);
    blocks();
    while (scenarios > 0) {
        char tail[40];

        unlink(names[--scenarios]);
        snprintf(tail, sizeof(tail), "%s.torn", names[scenarios]);
        unlink(tail);
    }
    if (failures > 0)
        return RECOVERY_IS_WRONG;
    printf("every scenario holds\n");
    return RECOVERY_IS_RIGHT;
}
