/*
 * Makes of replay_wal.c what SQLite's recovery is: each record is verified, and
 * an index gets its place in the log, as SQLite's wal-index gets that of a page
 * (https://www.sqlite.org/walformat.html#the_wal_index_file_format).
 * SPDX-License-Identifier: MIT
 *
 * Linked with --wrap=kv_set --wrap=replay_count --wrap=replay_open, so that
 * wal_recover() is the same. There are only SETs in the log, with keys of
 * REPLAY_KEY_BYTES.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <unistd.h>

#include "bench.h"
#include "kv.h"
#include "replay.h"
#include "wal_record.h"

/* A slot is free while `end` is 0. Half of them are, at least. */
struct place {
    uint64_t key;
    uint64_t at, end; /* of its last record in the log */
};

static struct place *places;
static size_t places_count, keys_count;
static uint64_t log_end;
static const char *log_path;

static struct place *find(uint64_t key)
{
    size_t i = (key ^ key >> 32) & (places_count - 1);

    while (places[i].end != 0 && places[i].key != key)
        i = (i + 1) & (places_count - 1);
    return &places[i];
}

static void grow(void)
{
    struct place *old = places;
    size_t old_count = places_count;

    places_count = old_count ? 2 * old_count : 1024;
    places = calloc(places_count, sizeof(*places));
    must(!places, "calloc");
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].end != 0)
            *find(old[i].key) = old[i];
    }
    free(old);
}

int __wrap_kv_set(struct kv *kv, const void *key, size_t key_len,
                  const void *value, size_t value_len)
{
    struct place new = {
        .at = log_end, .end = log_end + REPLAY_AROUND_VALUE_BYTES + value_len
    };

    (void)kv;
    (void)value;
    memcpy(&new.key, key, key_len);
    if (keys_count >= places_count / 2)
        grow();
    struct place *place = find(new.key);
    keys_count += place->end == 0;
    *place = new;
    log_end = new.end;
    return 0;
}

void __real_replay_open(const char *path);

void __wrap_replay_open(const char *path)
{
    log_path = path;
    __real_replay_open(path);
}

static void look_up(int fd, const struct place *place)
{
    static uint8_t bytes[WAL_RECORD_MAX_BYTES];
    struct wal_record record;
    size_t len;
    ssize_t n = pread(fd, bytes, place->end - place->at, (off_t)place->at);

    must(n < 0 || wal_record_decode(bytes, (size_t)n, &record, &len) !=
                      WAL_RECORD_OK,
         "no record where the index says");
    must(memcmp(record.key, &place->key, sizeof(place->key)) != 0,
         "another record where the index says");
}

uint64_t __wrap_replay_count(void)
{
    int fd = open(log_path, O_RDONLY);

    must(fd < 0, log_path);
    for (size_t i = 0; i < places_count; i++) {
        if (places[i].end != 0)
            look_up(fd, &places[i]);
    }
    return keys_count;
}
