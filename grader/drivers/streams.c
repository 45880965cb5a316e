/*
 * Brings what stdio does for the student's program before the faults.
 * SPDX-License-Identifier: MIT
 *
 * libc's own write(2) passes no wrapper. So a stream that the program opens is one
 * of fopencookie(3), and its functions call what faults.c wraps. The buffer is as
 * large as libc would make it for a file; fileno(3) tells the descriptor.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

enum { STREAMS_MAX = 64, BUFFER_BYTES = 4096 };

struct stream {
    FILE *file; /* NULL: free */
    int fd;
    int failed; /* errno of a read that the stream does not know of yet, or 0 */
    char buffer[BUFFER_BYTES];
};

static struct stream streams[STREAMS_MAX];
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set(&busy))
        sched_yield();
}

static void unlock(void)
{
    atomic_flag_clear(&busy);
}

/* What a program that uses stdio has no hand in is no fault of its: libc would
 * report an interruption as an error, and try for ever where a write moves nothing. */
static ssize_t stream_read(void *stream, char *buf, size_t len)
{
    struct stream *s = stream;

    if (s->failed) {
        errno = s->failed;
        s->failed = 0;
        return -1;
    }
    return TEMP_FAILURE_RETRY(read(s->fd, buf, len));
}

/* As libc does, goes on after a short write and gives up after a failed one. */
static ssize_t stream_write(void *stream, const char *buf, size_t len)
{
    struct stream *s = stream;
    size_t done = 0;

    /* Not known: for such a stream libc forgets to count what is written. */
    s->file->_offset = -1;
    while (done < len) {
        ssize_t n = TEMP_FAILURE_RETRY(write(s->fd, buf + done, len - done));

        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int stream_seek(void *stream, off64_t *offset, int whence)
{
    off64_t at = lseek64(((struct stream *)stream)->fd, *offset, whence);

    if (at < 0)
        return -1;
    *offset = at;
    return 0;
}

static int stream_close(void *stream)
{
    struct stream *s = stream;
    int done = close(s->fd);

    lock();
    s->file = NULL;
    unlock();
    return done;
}

static struct stream *find(FILE *file)
{
    struct stream *s = streams;

    lock();
    while (s < streams + STREAMS_MAX && s->file != file)
        s++;
    unlock();
    return s < streams + STREAMS_MAX ? s : NULL;
}

FILE *__real_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

FILE *__wrap_fdopen(int fd, const char *mode)
{
    static const cookie_io_functions_t calls = { stream_read, stream_write,
                                                 stream_seek, stream_close };
    struct stream *s = streams;

    lock();
    while (s < streams + STREAMS_MAX && s->file)
        s++;
    int flags = fcntl(fd, F_GETFL);
    if (s == streams + STREAMS_MAX || flags < 0) {
        unlock();
        return __real_fdopen(fd, mode);
    }
    s->file = fopencookie(s, mode, calls);
    s->fd = fd;
    s->failed = 0;
    unlock();
    if (s->file && mode[0] == 'a')
        fcntl(fd, F_SETFL, flags | O_APPEND);
    if (s->file)
        setvbuf(s->file, s->buffer, _IOFBF, sizeof(s->buffer));
    return s->file;
}

static int flags_of(const char *mode)
{
    int flags = mode[0] == 'r'   ? 0
                : mode[0] == 'w' ? O_CREAT | O_TRUNC
                                 : O_CREAT | O_APPEND;
    int access = mode[0] == 'r' ? O_RDONLY : O_WRONLY;

    if (strchr(mode, '+'))
        access = O_RDWR;
    if (strchr(mode, 'x'))
        flags |= O_EXCL;
    if (strchr(mode, 'e'))
        flags |= O_CLOEXEC;
    return flags | access;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (!strchr("rwa", mode[0]) || mode[0] == '\0') {
        errno = EINVAL;
        return NULL;
    }
    int fd = open(path, flags_of(mode), 0666);
    FILE *file = fd < 0 ? NULL : __wrap_fdopen(fd, mode);

    if (file && mode[0] == 'a' && !strchr(mode, '+'))
        lseek64(fd, 0, SEEK_END);
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    return __wrap_fopen(path, mode);
}

#define WRAP_FILENO(name)                                                      \
    int __real_##name(FILE *file);                                             \
    int __wrap_##name(FILE *file);                                             \
    int __wrap_##name(FILE *file)                                              \
    {                                                                          \
        struct stream *s = find(file);                                         \
                                                                               \
        return s ? s->fd : __real_##name(file);                                \
    }

WRAP_FILENO(fileno)
WRAP_FILENO(fileno_unlocked)

/* libc reads what is larger than the buffer past it, and fopencookie(3) does not. */
static size_t past_the_buffer(struct stream *s, char *to, size_t len)
{
    size_t done = 0;
    ssize_t n = 1;

    while (n > 0 && len - done >= (size_t)BUFFER_BYTES) {
        n = stream_read(s, to + done,
                        (len - done) / BUFFER_BYTES * BUFFER_BYTES);
        if (n < 0)
            s->failed = errno;
        if (n > 0)
            done += (size_t)n;
    }
    s->file->_offset = -1; /* not known */
    return done;
}

size_t __real_fread(void *to, size_t size, size_t count, FILE *file);
size_t __wrap_fread(void *to, size_t size, size_t count, FILE *file);

size_t __wrap_fread(void *to, size_t size, size_t count, FILE *file)
{
    struct stream *s = find(file);
    size_t len = size * count, there;

    if (!s || size == 0 || len / size != count || __fpending(file) > 0)
        return __real_fread(to, size, count, file);
    there = (size_t)(file->_IO_read_end - file->_IO_read_ptr);
    if (len < there + BUFFER_BYTES)
        return __real_fread(to, size, count, file);

    size_t done = __real_fread(to, 1, there, file);
    done += past_the_buffer(s, (char *)to + done, len - done);
    /* The rest, and the stream learns of an end or a failure. */
    done += __real_fread((char *)to + done, 1, len - done, file);
    return done / size;
}
