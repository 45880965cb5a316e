/*
 * Calls of w10/wal_writer.h.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver.h"
#include "w10/wal_writer.h"

enum { HANDLES = 4 };

static struct wal_writer writers[HANDLES];
static int is_open[HANDLES];

static struct wal_writer *writer_of(const char *arg)
{
    long i = number_of(arg);

    if (i < 0 || i >= HANDLES)
        driver_fail("no such handle");
    return &writers[i];
}

/* A script cannot tell that an open failed: calls on what is not open are left
 * out, and say so. */
static int skipped(const struct wal_writer *writer)
{
    if (!is_open[writer - writers])
        reply(" skipped=1");
    return !is_open[writer - writers];
}

/* wal_open HANDLE PATH: also whether the kernel appends for it. */
static void call_open(char **args)
{
    struct wal_writer *writer = writer_of(args[0]);

    /* Whatever stands in the struct before must not matter. */
    memset(writer, 0x5A, sizeof(*writer));
    int ret = wal_open(writer, args[1]);
    is_open[writer - writers] = ret == 0;
    reply(" ret=%d", ret);
    if (ret == 0)
        reply(" offset=%llu append=%d", (unsigned long long)writer->offset,
              (syscall(SYS_fcntl, writer->fd, F_GETFL) & O_APPEND) != 0);
}

/* wal_append HANDLE TYPE KEY VALUE */
static void call_append(char **args)
{
    struct wal_writer *writer = writer_of(args[0]);
    size_t key_len, value_len;

    if (skipped(writer))
        return;
    uint8_t *key = bytes_of(args[2], &key_len);
    uint8_t *value = bytes_of(args[3], &value_len);
    struct wal_record record = {
        .type = (uint8_t)number_of(args[1]),
        .key = key,
        .key_len = (uint16_t)key_len,
        .value = value_len ? value : NULL,
        .value_len = (uint16_t)value_len,
    };
    int ret = wal_append(writer, &record);

    reply(" ret=%d offset=%llu", ret, (unsigned long long)writer->offset);
    free(value);
    free(key);
}

/* wal_close HANDLE */
static void call_close(char **args)
{
    struct wal_writer *writer = writer_of(args[0]);

    if (skipped(writer))
        return;
    is_open[writer - writers] = 0;
    int ret = wal_close(writer);
    reply(" ret=%d fd=%d", ret, writer->fd);
}

static const struct call calls[] = {
    { "wal_open", call_open },
    { "wal_append", call_append },
    { "wal_close", call_close },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
