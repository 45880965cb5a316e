/*
 * Recovery of SQLite's write-ahead log: the first read checks every frame.
 * SPDX-License-Identifier: MIT
 *
 * A frame holds a page of 4,096 bytes. With SIZE 4096 a record fills one page,
 * less what the page and the row need.
 */
#include <sqlite3.h>

#include "bench.h"
#include "replay.h"

enum { AROUND_ROW_BYTES = 96 };

static sqlite3 *db;

static void run(const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

/* A transaction for each round of the keys, so that each record is a frame. */
void replay_make(const char *path, uint64_t count, uint64_t keys, uint32_t size)
{
    sqlite3_stmt *put;

    must(size <= AROUND_ROW_BYTES, "SIZE");
    must(sqlite3_open(path, &db), "sqlite3_open");
    run("PRAGMA page_size=4096");
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA wal_autocheckpoint=0");
    run("CREATE TABLE log (key INTEGER PRIMARY KEY, record BLOB)");
    must(sqlite3_prepare_v2(db, "REPLACE INTO log VALUES (?, randomblob(?))",
                            -1, &put, NULL),
         "prepare");
    sqlite3_bind_int(put, 2, (int)size - AROUND_ROW_BYTES);
    for (uint64_t i = 0; i < count; i++) {
        if (i % keys == 0)
            run("BEGIN");
        sqlite3_bind_int64(put, 1, (sqlite3_int64)(i % keys));
        must(sqlite3_step(put) != SQLITE_DONE, "put");
        must(sqlite3_reset(put), "put");
        if (i % keys == keys - 1 || i == count - 1)
            run("COMMIT");
    }
}

void replay_open(const char *path)
{
    must(sqlite3_open(path, &db), "sqlite3_open");
    run("SELECT * FROM sqlite_schema");
}

uint64_t replay_count(void)
{
    sqlite3_stmt *count;

    must(sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &count, NULL),
         "prepare");
    must(sqlite3_step(count) != SQLITE_ROW, "count");
    return (uint64_t)sqlite3_column_int64(count, 0);
}
