/*
 * Crash scenarios drawn at random, judged by a small recovery of its own.
 * SPDX-License-Identifier: MIT
 *
 * The judge holds the whole log in memory and knows no better than the rule:
 * replay up to the first bad record, then search. The numbers are the same in
 * every run.
 */
#define _POSIX_C_SOURCE 200809L

#include "crash_scenarios.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kv.h"
#include "wal_record.h"
#include "wal_recovery.h"

enum { ROUNDS = 4000, MAX_BYTES = 3 << 20 };

static uint8_t log_bytes[MAX_BYTES], file_bytes[MAX_BYTES];
static size_t log_len;
static const char PATH[] = "chance.wal";
static uint32_t state = 20101;

static uint32_t chance(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)state * below >> 32);
}

struct judgement {
    int err;
    uint64_t records, valid;
    struct kv kv;
};

/* Recovery is given a map that holds something already. */
static void start_map(struct kv *kv)
{
    kv_init(kv);
    if (kv_set(kv, "older", 5, "pair", 4) < 0)
        exit(TEST_CANNOT_RUN);
}

static struct judgement judge(void)
{
    struct judgement j = { 0 };
    struct wal_record record;
    size_t len;

    start_map(&j.kv);
    while (wal_record_decode(log_bytes + j.valid, log_len - j.valid, &record,
                             &len) == WAL_RECORD_OK) {
        if (record.type == WAL_DEL)
            kv_del(&j.kv, record.key, record.key_len);
        else if (kv_set(&j.kv, record.key, record.key_len, record.value,
                        record.value_len) < 0)
            exit(TEST_CANNOT_RUN);
        j.records++;
        j.valid += len;
    }
    for (size_t at = j.valid + 1; at < log_len && !j.err; at++)
        if (wal_record_decode(log_bytes + at, log_len - at, &record, &len) ==
            WAL_RECORD_OK)
            j.err = -EBADMSG;
    return j;
}

static void save(void)
{
    FILE *file = fopen(PATH, "wb");

    if (!file || fwrite(log_bytes, 1, log_len, file) != log_len ||
        fclose(file) != 0) {
        perror(PATH);
        exit(TEST_CANNOT_RUN);
    }
}

static int same_file(size_t len)
{
    FILE *file = fopen(PATH, "rb");
    size_t got = file ? fread(file_bytes, 1, sizeof(file_bytes), file) : 0;

    if (file)
        fclose(file);
    return file && got == len && memcmp(file_bytes, log_bytes, len) == 0;
}

struct both {
    const struct kv *other;
    int differ;
};

static void in_both(void *arg, const struct kv_entry *entry)
{
    struct both *both = arg;
    const struct kv_entry *other =
        kv_get(both->other, entry->key, entry->key_len);

    if (!other || other->value_len != entry->value_len ||
        memcmp(other->value, entry->value, entry->value_len) != 0)
        both->differ = 1;
}

static int same_map(const struct kv *a, const struct kv *b)
{
    struct both both = { b, 0 };

    kv_each(a, in_both, &both);
    return !both.differ && a->count == b->count;
}

static void lose(int round, const char *kind, const char *why)
{
    printf("FAILED round %d, %s: %s\n", round, kind, why);
    remove(PATH);
    exit(RECOVERY_IS_WRONG);
}

/* Recovers log_bytes, which stands in the file; leaves what must be left. */
static void hold(int round, const char *kind)
{
    struct judgement want = judge();
    struct wal_recovery found = { 0 };
    struct kv kv;

    for (int again = 0; again < 2; again++) {
        start_map(&kv);
        int err = wal_recover(PATH, &kv, &found);
        uint64_t cut = want.err || again ? 0 : log_len - want.valid;
        if (err != want.err)
            lose(round, kind, again ? "recovered again" : "the return value");
        if (found.valid_bytes != want.valid || found.cut_bytes != cut)
            lose(round, kind, "valid_bytes or cut_bytes");
        if (!err && found.records != want.records)
            lose(round, kind, "records");
        if (!kv_get(&kv, "older", 5))
            lose(round, kind, "what was in the map");
        if ((!err || kv.count > 1) && !same_map(&kv, &want.kv))
            lose(round, kind, "the map");
        kv_free(&kv);
        if (!same_file(want.err ? log_len : want.valid))
            lose(round, kind, "the file");
    }
    if (!want.err)
        log_len = want.valid;
    kv_free(&want.kv);
}

static void add_record(uint32_t value_max)
{
    static uint8_t value[60000];
    char key[4] = { (char)('a' + chance(5)), 'k', 'e', 'y' };
    int is_set = chance(3) > 0;
    struct wal_record record = {
        .type = is_set ? WAL_SET : WAL_DEL,
        .key = (const uint8_t *)key,
        .key_len = (uint16_t)(1 + chance(4)),
        .value = value,
        .value_len = is_set ? (uint16_t)chance(value_max) : 0,
    };
    size_t len;

    for (size_t i = 0; i < 40 && i < record.value_len; i++)
        value[i] = (uint8_t)chance(4);
    if (wal_record_encode(&record, log_bytes + log_len, MAX_BYTES - log_len,
                          &len) == 0)
        log_len += len;
}

static void add_bytes(size_t len, int byte)
{
    for (; len > 0 && log_len < MAX_BYTES; len--)
        log_bytes[log_len++] = byte < 0 ? (uint8_t)chance(256) : (uint8_t)byte;
}

static const char *damage(void)
{
    size_t block = 4096 - log_len % 4096;

    switch (chance(7)) {
    case 0: log_len -= chance((uint32_t)log_len); return "torn";
    case 1:
        add_bytes(chance(2) ? block : 1 + chance(40), 0);
        return "zeros behind it";
    case 2: {
        size_t zeros = chance((uint32_t)log_len);

        memset(log_bytes + log_len - zeros, 0, zeros);
        return "zeros at its end";
    }
    case 3:
        log_bytes[chance((uint32_t)log_len)] ^= (uint8_t)(1u << chance(8));
        return "a bit flipped";
    case 4:
        add_bytes(1 + chance(30), chance(2) ? 0 : -1);
        for (uint32_t more = 1 + chance(2); more > 0; more--)
            add_record(chance(9) ? 10 : 9000);
        add_bytes(chance(3), 0);
        return "strays before the last, and zeros behind";
    case 5: add_bytes(1 + chance(12), -1); return "strays at the end";
    default: return "whole";
    }
}

static void large(int round)
{
    log_len = 0;
    while (log_len < (5u << 18))
        add_record(60000);
    save();
    hold(round, "a large log");
    add_bytes(1000000, '-');
    add_record(10);
    save();
    hold(round, "a record far behind");
    /* As large as a record can be. */
    static uint8_t longest[65535];
    struct wal_record largest = { WAL_SET, longest, sizeof(longest), longest,
                                  sizeof(longest) };
    log_len = 0;
    memset(longest, 'x', sizeof(longest));
    wal_record_encode(&largest, log_bytes, MAX_BYTES, &log_len);
    save();
    hold(round, "the largest record");
    /* A log of as many bytes as some blocks have. */
    log_len = 0;
    while (log_len % 4096 < 2000 || log_len % 4096 > 4000)
        add_record(500);
    uint8_t zeros[4096] = { 0 };
    struct wal_record last = { .type = WAL_SET,
                               .key = (const uint8_t *)"b",
                               .key_len = 1,
                               .value = zeros };
    size_t len;

    last.value_len = (uint16_t)(4096 - log_len % 4096 - 18);
    wal_record_encode(&last, log_bytes + log_len, MAX_BYTES - log_len, &len);
    log_len += len;
    save();
    hold(round, "a log of whole blocks");
}

static void nothing(void)
{
    struct wal_recovery found = { 1, 1, 1 };
    struct kv kv;

    remove(PATH);
    kv_init(&kv);
    if (wal_recover(PATH, &kv, &found) != 0 || found.records || kv.count)
        lose(0, "no log", "the answer");
    if (access(PATH, F_OK) == 0)
        lose(0, "no log", "there is one now");
    kv_free(&kv);
}

int main(void)
{
    nothing();
    for (int round = 1; round <= ROUNDS; round++) {
        log_len = 0;
        for (uint32_t more = 1 + chance(6); more > 0; more--)
            add_record(20);
        const char *kind = damage();
        save();
        hold(round, kind);
        /* What recovery left is a log to which more can be added. */
        for (uint32_t more = chance(3); more > 0; more--)
            add_record(20);
        save();
        hold(round, "and more records");
    }
    large(ROUNDS + 1);
    remove(PATH);
    printf("every scenario holds\n");
    return RECOVERY_IS_RIGHT;
}
