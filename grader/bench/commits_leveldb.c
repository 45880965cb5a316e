/*
 * Commits of LevelDB, with sync set.
 * SPDX-License-Identifier: MIT
 */
#include <leveldb/c.h>

#include "bench.h"
#include "commits.h"

static leveldb_t *db;
static leveldb_writeoptions_t *synced;

void commits_open(const char *path)
{
    char *error = NULL;
    leveldb_options_t *options = leveldb_options_create();

    leveldb_options_set_create_if_missing(options, 1);
    db = leveldb_open(options, path, &error);
    must(error != NULL, "leveldb_open");
    synced = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(synced, 1);
}

void commits_put(const char *key, const char *value)
{
    char *error = NULL;

    leveldb_put(db, synced, key, COMMIT_KEY_BYTES, value, COMMIT_VALUE_BYTES,
                &error);
    must(error != NULL, "leveldb_put");
}

void commits_close(void)
{
    leveldb_close(db);
}
