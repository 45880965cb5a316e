/*
 * Commits of w10-l06: a batch and one sync for all who wait.
 * SPDX-License-Identifier: MIT
 */
#include "bench.h"
#include "commits.h"
#include "group_commit.h"

static struct wal_group group;

void commits_open(const char *path)
{
    must(wal_group_open(&group, path), "wal_group_open");
}

void commits_put(const char *key, const char *value)
{
    struct wal_record record = { .type = WAL_SET,
                                 .key = (const uint8_t *)key,
                                 .key_len = COMMIT_KEY_BYTES,
                                 .value = (const uint8_t *)value,
                                 .value_len = COMMIT_VALUE_BYTES };

    must(wal_group_commit(&group, &record), "wal_group_commit");
}

void commits_close(void)
{
    must(wal_group_close(&group), "wal_group_close");
}
