/*
 * Replay of w10-l03: wal_recover() into the map.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <unistd.h>

#include "bench.h"
#include "replay.h"
#include "wal_recovery.h"
#include "wal_writer.h"

static struct kv kv;

void replay_make(const char *path, uint64_t count, uint64_t keys, uint32_t size)
{
    static uint8_t value[65535], bytes[WAL_RECORD_MAX_BYTES];
    uint8_t key[REPLAY_KEY_BYTES];
    struct wal_record record = {
        .type = WAL_SET,
        .key = key,
        .key_len = sizeof(key),
        .value = value,
        .value_len = (uint16_t)(size - REPLAY_AROUND_VALUE_BYTES)
    };
    FILE *log = fopen(path, "w");
    size_t len;

    must(!log, path);
    for (uint64_t i = 0; i < count; i++) {
        replay_key(i % keys, key);
        must(wal_record_encode(&record, bytes, sizeof(bytes), &len), "encode");
        must(len != size || fwrite(bytes, 1, len, log) != len, "fwrite");
    }
    must(fflush(log), "fflush");
    must(fsync(fileno(log)), "fsync");
}

void replay_open(const char *path)
{
    struct wal_recovery found;

    kv_init(&kv);
    must(wal_recover(path, &kv, &found), "wal_recover");
}

uint64_t replay_count(void)
{
    return kv.count;
}
