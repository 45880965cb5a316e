/*
 * Calls of w10/wal_writer.h.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HANDLES = 4 };
#include "handles.h"
#include "mapped.h"
#include "wal_args.h"
#include "w10/wal_writer.h"

static struct wal_writer writers[HANDLES];

/* What the header promises and no call here needs. */
_Static_assert(sizeof(writers->scratch) == WAL_RECORD_MAX_BYTES,
               "scratch has room for a record");

/* wal_open HANDLE PATH: also whether the kernel appends for it, and whether a
 * descriptor was taken that is not its own: the handle, which was never open, has
 * the number of one. */
static void call_open(char **args)
{
    int handle = handle_of(args[0]);
    struct wal_writer *writer = &writers[handle];

    /* Whatever stands in the struct before must not matter. */
    memset(writer, 0x5A, sizeof(*writer));
    writer->fd = STDERR_FILENO;
    int ret = wal_open(writer, args[1]);
    handle_is_open[handle] = ret == 0;
    int taken = syscall(SYS_fcntl, STDERR_FILENO, F_GETFD) < 0 ||
                (ret == 0 && writer->fd == STDERR_FILENO);
    reply(" ret=%d%s", ret, taken ? " taken=1" : "");
    if (ret == 0)
        reply(" offset=%llu append=%d", (unsigned long long)writer->offset,
              (syscall(SYS_fcntl, writer->fd, F_GETFL) & O_APPEND) != 0);
}

/* wal_append HANDLE TYPE KEY VALUE */
static void call_append(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    struct given_record given = given_record(args + 1);
    int ret = wal_append(&writers[handle], &given.record);

    reply(" ret=%d offset=%llu", ret,
          (unsigned long long)writers[handle].offset);
    given_record_free(&given);
}

/* wal_close HANDLE */
static void call_close(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    handle_is_open[handle] = 0;
    int ret = wal_close(&writers[handle]);
    reply(" ret=%d fd=%d", ret, writers[handle].fd);
}

/* wal_sync_dir PATH: which can only be read. */
static void call_sync_dir(char **args)
{
    size_t len = strlen(args[0]) + 1;
    const uint8_t *path = mapped((const uint8_t *)args[0], len, len);

    reply(" ret=%d", wal_sync_dir((const char *)path));
}

/* write_full PATH BYTES: so many zeros. */
static void call_write_full(char **args)
{
    size_t len = (size_t)number_of(args[1]);
    size_t room = len ? len : 1;
    void *zeros = mmap(NULL, room, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    long fd = syscall(SYS_openat, AT_FDCWD, args[0], O_WRONLY | O_CLOEXEC);

    if (zeros == MAP_FAILED || fd < 0)
        driver_fail("cannot map the zeros, or open the file");
    reply(" ret=%d", write_full((int)fd, zeros, len));
    syscall(SYS_close, fd);
    munmap(zeros, room);
}

static const struct call calls[] = {
    { "wal_open", call_open },
    { "wal_append", call_append },
    { "wal_close", call_close },
    { "wal_sync_dir", call_sync_dir },
    { "write_full", call_write_full },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
