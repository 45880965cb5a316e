/*
 * Crash scenarios: logs as a crash leaves them, and what recovery must do.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "crash_scenarios.h"

#include <stdio.h>

//> includes
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kv.h"
#include "wal_record.h"
#include "wal_recovery.h"
#include "wal_writer.h"

static const char LOG[] = "scenario.wal";

enum {
    BLOCK_BYTES = 4096, /* what a file system writes at once */
    LARGE_BYTES = 60000,
    LARGE_COUNT = 20,
    FAR_BYTES = 1000000,
    LOG_MAX_BYTES = 4 << 20,
    PIECES_MAX = 64,
};

/* clang-format off */
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1
#define SET(k, v) { WAL_SET, BYTES(k), BYTES(v) }
#define DEL(k) { WAL_DEL, BYTES(k), NULL, 0 }
/* clang-format on */

/* The last one is as small as a record can be, and is no SET. */
static const struct wal_record RECORDS[] = {
    SET("foo", "bar"), SET("name", "alice"), SET("n\0l", "a\0b"),
    DEL("name"),       SET("foo", ""),       DEL("k"),
};
static const struct wal_record NEXT = SET("next", "one");

/* No record is larger. */
static uint8_t letters[WAL_KEY_MAX_BYTES]; /* filled by main() */
static const struct wal_record LARGEST = { WAL_SET, letters, sizeof(letters),
                                           letters, sizeof(letters) };
static const struct wal_record LARGEST_DEL = { WAL_DEL, letters,
                                               sizeof(letters), NULL, 0 };

/* A record, or, where its type is 0, bytes that are none. */
struct piece {
    struct wal_record record;
    size_t start;
    size_t end;
};

/* A log as it was written, and from which bytes to which each piece stands. */
struct log {
    uint8_t bytes[LOG_MAX_BYTES];
    size_t len;
    struct piece pieces[PIECES_MAX];
    size_t count;
};

/* What recovery has to answer, and what has to stand in the file then: where
 * there was none, `bytes` is NULL. */
struct answer {
    int err;
    struct wal_recovery found;
    struct kv kv;
    const uint8_t *bytes;
    size_t len;
};

static struct log written;           /* as it was before the crash */
static uint8_t image[LOG_MAX_BYTES]; /* and after it */
static char scenario[80];
static size_t logs_tried;

static void cannot_run(const char *what)
{
    perror(what);
    exit(TEST_CANNOT_RUN);
}

static void fail(const char *format, ...)
{
    va_list args;

    printf("FAILED %s: ", scenario);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    unlink(LOG);
    exit(RECOVERY_IS_WRONG);
}

static void begin(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(scenario, sizeof(scenario), format, args);
    va_end(args);
    logs_tried++;
}

static void add(const struct wal_record *record)
{
    size_t len;

    if (written.count == PIECES_MAX ||
        wal_record_encode(record, written.bytes + written.len,
                          LOG_MAX_BYTES - written.len, &len) < 0)
        cannot_run("a scenario does not fit");
    written.pieces[written.count++] =
        (struct piece){ *record, written.len, written.len + len };
    written.len += len;
}

static void add_stray(uint8_t byte, size_t len)
{
    struct wal_record none = { 0 };

    memset(written.bytes + written.len, byte, len);
    written.pieces[written.count++] =
        (struct piece){ none, written.len, written.len + len };
    written.len += len;
}

/* Begins a log anew with the first `count` of RECORDS. */
static void write_log(size_t count)
{
    written.len = written.count = 0;
    for (size_t i = 0; i < count; i++)
        add(&RECORDS[i]);
}

static void write_all_records(void)
{
    write_log(sizeof(RECORDS) / sizeof(RECORDS[0]));
}

static void put_file(const uint8_t *bytes, size_t len, int flags)
{
    int fd = open(LOG, O_WRONLY | O_CREAT | flags, 0644);

    if (fd < 0 || write_full(fd, bytes, len) < 0 || close(fd) < 0)
        cannot_run(LOG);
}

static void hold_file(const struct answer *want)
{
    static uint8_t bytes[LOG_MAX_BYTES];
    FILE *file = fopen(LOG, "rb");

    if (!file != !want->bytes)
        fail(file ? "it made one" : "the log is gone");
    if (!file)
        return;
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    if (len != want->len)
        fail("the log has %zu bytes, not %zu", len, want->len);
    if (memcmp(bytes, want->bytes, len) != 0)
        fail("the log's bytes were changed");
}

/* Where two maps differ: the one that was asked for, and a wrong pair in it. */
struct difference {
    const struct kv *kv;
    const struct kv_entry *entry;
};

static void compare(void *arg, const struct kv_entry *entry)
{
    struct difference *difference = arg;
    const struct kv_entry *other =
        kv_get(difference->kv, entry->key, entry->key_len);

    if (!other || other->value_len != entry->value_len ||
        memcmp(other->value, entry->value, entry->value_len) != 0)
        difference->entry = entry;
}

static void hold_map(const struct kv *kv, const struct kv *want)
{
    struct difference difference = { kv, NULL };

    kv_each(want, compare, &difference);
    const struct kv_entry *wrong = difference.entry;
    if (wrong)
        fail("key %.*s is not what it was set to",
             wrong->key_len < 20 ? (int)wrong->key_len : 20,
             (const char *)wrong->key);
    if (kv->count != want->count)
        fail("the map has %zu pairs, not %zu", kv->count, want->count);
}

static void hold(const char *what, uint64_t got, uint64_t want)
{
    if (got != want)
        fail("%s is %llu, not %llu", what, (unsigned long long)got,
             (unsigned long long)want);
}

/* A map with what stands in it before recovery. */
static void begin_map(struct kv *kv)
{
    kv_init(kv);
    if (kv_set(kv, "before", 6, "kept", 4) < 0)
        cannot_run("a map");
}

/* Recovers the log as it stands and holds everything against `want`. */
static void recover(const struct answer *want)
{
    struct wal_recovery found;
    struct kv kv, before;

    memset(&found, 0xa5, sizeof(found)); /* what is not written shows */
    begin_map(&kv);
    begin_map(&before);
    int err = wal_recover(LOG, &kv, &found);
    if (err != want->err)
        fail("it returned %d, not %d", err, want->err);
    hold("valid_bytes", found.valid_bytes, want->found.valid_bytes);
    hold("cut_bytes", found.cut_bytes, want->found.cut_bytes);
    /* Who looks through the whole log first has replayed nothing. */
    if (err == 0 || found.records > 0)
        hold("records", found.records, want->found.records);
    hold_map(&kv, found.records == 0 ? &before : &want->kv);
    kv_free(&kv);
    kv_free(&before);
    hold_file(want);
}

static void replay(struct answer *want, const struct wal_record *record)
{
    if (record->type == WAL_DEL)
        kv_del(&want->kv, record->key, record->key_len);
    else if (kv_set(&want->kv, record->key, record->key_len, record->value,
                    record->value_len) < 0)
        cannot_run("a map");
    want->found.records++;
}

/* Whether a piece is a record that came through the crash. */
static int is_whole(const struct piece *piece, size_t len)
{
    return piece->record.type != 0 && piece->end <= len &&
           memcmp(image + piece->start, written.bytes + piece->start,
                  piece->end - piece->start) == 0;
}

/* The rule: what is whole is replayed; what is not is cut, unless a whole
 * record stands behind it. */
static struct answer right_answer(size_t len)
{
    struct answer want = { .bytes = image, .len = len };
    size_t i;

    begin_map(&want.kv);
    for (i = 0; i < written.count && is_whole(&written.pieces[i], len); i++) {
        replay(&want, &written.pieces[i].record);
        want.found.valid_bytes = written.pieces[i].end;
    }
    for (; i < written.count; i++)
        if (is_whole(&written.pieces[i], len))
            want.err = -EBADMSG;
    if (want.err == 0) {
        want.found.cut_bytes = len - want.found.valid_bytes;
        want.len = want.found.valid_bytes;
    }
    return want;
}

/* The log's life goes on: recovered again, appended to, torn, recovered. */
static void go_on(struct answer *want)
{
    static struct wal_writer writer;
    uint8_t record[64];
    size_t len;
    size_t told = strlen(scenario);

    snprintf(scenario + told, sizeof(scenario) - told, ", recovered again");
    want->found.cut_bytes = 0;
    recover(want);

    snprintf(scenario + told, sizeof(scenario) - told, ", then appended to");
    if (wal_open(&writer, LOG) < 0 || wal_append(&writer, &NEXT) < 0 ||
        wal_close(&writer) < 0)
        fail("the writer cannot append to it");
    wal_record_encode(&NEXT, record, sizeof(record), &len);
    memcpy(image + want->len, record, len);
    want->found.valid_bytes = want->len += len;
    replay(want, &NEXT);
    recover(want);

    snprintf(scenario + told, sizeof(scenario) - told, ", then torn again");
    put_file(record, len / 2, O_APPEND);
    want->found.cut_bytes = len / 2;
    recover(want);
}

/* A crash has left the first `len` bytes of `image`. */
static void try(size_t len)
{
    struct answer want = right_answer(len);

    put_file(image, len, O_TRUNC);
    recover(&want);
    if (want.err == 0)
        go_on(&want);
    kv_free(&want.kv);
}

static void try_as_written(size_t len)
{
    memcpy(image, written.bytes, written.len);
    try(len);
}

/* The size and the data of an append reach the disk up to some byte. The last
 * two records may have been written together. */
static void tear_at_every_byte(void)
{
    write_all_records();
    for (size_t len = 0; len <= written.len; len++) {
        begin("torn after %zu bytes", len);
        try_as_written(len);
    }
}

/* The size is on the disk and the data is not: it reads as zeros, to the end of
 * what was written or of the block. */
static void lose_the_data(void)
{
    write_all_records();
    for (size_t kept = 0; kept <= written.len; kept++) {
        begin("zeros behind %zu bytes", kept);
        memset(image, 0, BLOCK_BYTES);
        memcpy(image, written.bytes, kept);
        try(written.len);
        begin("zeros behind %zu bytes, to the end of the block", kept);
        memset(image, 0, BLOCK_BYTES);
        memcpy(image, written.bytes, kept);
        try(BLOCK_BYTES);
    }
}

/* A bit of any byte is flipped: in the last record that is a tear. */
static void flip_a_bit_of_every_byte(void)
{
    write_all_records();
    for (size_t at = 0; at < written.len; at++) {
        begin("bit %zu of byte %zu flipped", at % 8, at);
        memcpy(image, written.bytes, written.len);
        image[at] ^= (uint8_t)(1u << at % 8);
        try(written.len);
    }
}

/* The largest record there is: whole, torn, lost, and deleted. */
static void write_the_largest(void)
{
    write_log(0);
    add(&LARGEST);
    begin("the largest record");
    try_as_written(written.len);
    begin("the last byte of the largest record torn off");
    try_as_written(written.len - 1);
    begin("zeros for the largest record");
    memset(image, 0, written.len);
    try(written.len);
    begin("the largest record, then a DEL of its key");
    add(&LARGEST_DEL);
    try_as_written(written.len);
}

/* A record is bad, those behind it are whole, and the end is torn as well. */
static void tear_behind_a_bad_record(void)
{
    write_all_records();
    for (size_t len = written.pieces[2].end; len < written.len; len++) {
        begin("the second record bad, torn after %zu bytes", len);
        memcpy(image, written.bytes, written.len);
        image[written.pieces[1].start] ^= 1;
        try(len);
    }
}

/* A whole record stands behind bytes that are none, near or far. */
static void put_a_record_behind_a_bad_one(void)
{
    static const size_t stray[] = { 1, 2, 3, 7, 8, 14, 15, 21, FAR_BYTES };
    static const struct wal_record *const records[] = { &RECORDS[5],
                                                        &RECORDS[0], &LARGEST };
    static const char *const names[] = { "a DEL", "a SET", "the largest SET" };

    for (size_t i = 0; i < sizeof(stray) / sizeof(stray[0]); i++) {
        for (size_t kind = 0; kind < 3; kind++) {
            begin("%zu stray bytes, then %s", stray[i], names[kind]);
            write_log(2);
            add_stray(kind ? '?' : 0, stray[i]);
            add(records[kind]);
            try_as_written(written.len);
        }
    }
}

/* A SET that takes `len` bytes: its key has one byte. */
static void add_large(char key, size_t len)
{
    static uint8_t value[LARGE_BYTES];
    struct wal_record record = { .type = WAL_SET,
                                 .key = (const uint8_t *)&key,
                                 .key_len = 1,
                                 .value = value,
                                 .value_len = (uint16_t)(len - 18) };
    uint8_t *copy = written.bytes + written.len;

    memset(value, key, sizeof(value));
    add(&record);
    /* The model's key and value have to stay when this returns. */
    written.pieces[written.count - 1].record.key = copy + 11;
    written.pieces[written.count - 1].record.value = copy + 17;
}

/* Logs that end where a block does, and behind any buffer. */
static void end_where_a_buffer_does(void)
{
    begin("a log of one block");
    write_log(2);
    add_large('b', BLOCK_BYTES - written.len);
    try_as_written(written.len);

    write_log(2);
    for (int i = 0; i < LARGE_COUNT; i++)
        add_large((char)('a' + i % 10), LARGE_BYTES);
    begin("a log of %zu bytes", written.len);
    try_as_written(written.len);
    begin("the last byte of %zu torn off", written.len);
    try_as_written(written.len - 1);
}

/* The power went before the first record. */
static void make_no_log(void)
{
    struct answer want = right_answer(0);

    begin("no log");
    unlink(LOG);
    want.bytes = NULL;
    recover(&want);
    kv_free(&want.kv);
}

static void run(const char *what, void (*scenarios)(void))
{
    logs_tried = 0;
    scenarios();
    printf("%s: %zu\n", what, logs_tried);
}

//< includes
int main(void)
{
//> main
    memset(letters, 'l', sizeof(letters));
    run("no log at all", make_no_log);
    run("torn", tear_at_every_byte);
    run("zeros for data", lose_the_data);
    run("a bit flipped", flip_a_bit_of_every_byte);
    run("the largest record", write_the_largest);
    run("torn behind a bad record", tear_behind_a_bad_record);
    run("a record behind a bad one", put_a_record_behind_a_bad_one);
    run("blocks and buffers", end_where_a_buffer_does);
    unlink(LOG);
    printf("every scenario holds\n");
    return RECOVERY_IS_RIGHT;
//< main
/* skeleton main
    printf("no scenario yet\n");
    return TEST_CANNOT_RUN;
*/
}
