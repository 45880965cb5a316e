/*
 * Replay of LevelDB: an open reads its log into the memtable, as one piece.
 * SPDX-License-Identifier: MIT
 */
#include <leveldb/c.h>

#include "bench.h"
#include "replay.h"

enum { WRITE_BUFFER_BYTES = 1 << 30 }; /* all stays in the log */

static leveldb_t *db;

static leveldb_t *open_at(const char *path)
{
    char *error = NULL;
    leveldb_options_t *options = leveldb_options_create();

    leveldb_options_set_create_if_missing(options, 1);
    leveldb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
    leveldb_t *opened = leveldb_open(options, path, &error);
    must(error != NULL, "leveldb_open");
    return opened;
}

void replay_make(const char *path, uint64_t count, uint64_t keys, uint32_t size)
{
    static char value[65535];
    leveldb_t *made = open_at(path);
    leveldb_writeoptions_t *options = leveldb_writeoptions_create();
    uint8_t key[REPLAY_KEY_BYTES];
    char *error = NULL;

    for (uint64_t i = 0; i < count; i++) {
        leveldb_writeoptions_set_sync(options, i + 1 == count);
        leveldb_writeoptions_set_sync(options, i + 1 == count);
        replay_key(i % keys, key);
        leveldb_put(made, options, (const char *)key, sizeof(key), value,
                    size - REPLAY_AROUND_VALUE_BYTES, &error);
        must(error != NULL, "leveldb_put");
    }
}

void replay_open(const char *path)
{
    db = open_at(path);
}

uint64_t replay_count(void)
{
    uint64_t count = 0;
    leveldb_iterator_t *at =
        leveldb_create_iterator(db, leveldb_readoptions_create());

    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at);
         leveldb_iter_next(at))
        count++;
    return count;
}
