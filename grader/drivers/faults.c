/*
 * Makes calls of the student's program fail on purpose, from inside it.
 * SPDX-License-Identifier: MIT
 *
 * Linked with -Wl,--wrap=NAME for every name in faults.names: a call of write()
 * in the student's object files reaches __wrap_write() below, and what stdio
 * writes for it too (streams.c). What else libc calls by itself does not pass here;
 * setrlimit(2) reaches that.
 *
 * Script calls, KIND being write, sync, read, list (of a directory: opendir,
 * readdir and their kin), truncate, open, create (an open that may make a file),
 * close (of a descriptor open for writing), leave (a close of one that is open for
 * reading only), rename, unlink, lock, mkdir, or any, which is all of these but
 * read, list, create, leave, lock and mkdir:
 *
 *     fault KIND N short BYTES   the Nth call from now moves at most BYTES bytes;
 *                                they do arrive (strace's injection fakes this)
 *     fault KIND N zero          it returns 0 and moves nothing
 *     fault KIND N errno E       it fails with errno E and does nothing
 *     fault KIND N+ errno E      so do all that follow
 *     fault KIND N+ watch        nothing happens to them; they are reported
 *     fault KIND N kill          the process dies as it makes the call (SIGKILL)
 *     fault list N zero          readdir does not know what an entry is (DT_UNKNOWN)
 *     fault create N taken       just before it, somebody else makes that file
 *     meanwhile KIND N CALL ...  just before it, another process makes a call of
 *                                the script and ends; its report has the number
 *                                of this line
 *     fault KIND N delay MICROSECONDS
 *                                the Nth and all that follow are so much later,
 *                                whatever else happens to them; not reported
 *     clear                      no more faults
 *
 * A report of a sync says which descriptor it was for: what it covered is lost if
 * it failed. A close that fails has closed the descriptor, as on Linux (close(2)); a close of
 * what is not open is reported without being asked for.
 */
#define _GNU_SOURCE

#include "driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

extern const char __executable_start; /* ld(1): where the program is loaded */
extern const char etext;              /* and where its code ends */

enum kind {
    K_WRITE, K_SYNC, K_READ, K_TRUNCATE, K_OPEN, K_CREATE, K_CLOSE, K_LEAVE,
    K_RENAME, K_UNLINK, K_LOCK, K_MKDIR, K_LIST, K_ANY, KINDS
};
enum effect { NONE, SHORT, ZERO, FAIL, WATCH, KILL, TAKEN, DELAY, MEANWHILE };

static const char *const kind_names[KINDS] = {
    "write", "sync", "read", "truncate", "open", "create", "close", "leave",
    "rename", "unlink", "lock", "mkdir", "list", "any",
};
static const char *const effect_names[] = {
    "none", "short", "zero", "errno", "watch", "kill", "taken", "delay",
    "meanwhile",
};

struct fault {
    _Atomic enum effect effect;
    long countdown; /* 1: the next call */
    int forever;
    int met;      /* how often */
    long value;   /* bytes, an errno, or the number of the call to make */
    char **words; /* that call */
};

/* How often a fault says that it was met is enough for every check. What meets
   one so often will try for ever: it ends at once as it would in the end, for
   the processor time that it has used. */
enum { SAID_MAX = 1000, MET_MAX = 1000000 };

static struct fault faults[KINDS];
static struct fault delays[KINDS];
static atomic_flag counting = ATOMIC_FLAG_INIT; /* threads count calls in turn */

static struct fault *fault_of(char **args, struct fault *table)
{
    int kind = 0;

    while (kind < KINDS && strcmp(kind_names[kind], args[0]) != 0)
        kind++;
    if (kind == KINDS)
        driver_fail("no such kind of fault");
    struct fault *f = &table[kind];
    size_t len = strlen(args[1]);
    f->forever = len > 0 && args[1][len - 1] == '+';
    if (f->forever)
        args[1][len - 1] = '\0';
    f->countdown = number_of(args[1]);
    f->met = 0;
    return f;
}

static void call_fault(char **args)
{
    int delays_it = strcmp(args[2], "delay") == 0;
    struct fault *f = fault_of(args, delays_it ? delays : faults);

    f->effect = SHORT;
    while (f->effect < MEANWHILE &&
           strcmp(effect_names[f->effect], args[2]) != 0)
        f->effect++;
    if (f->effect == MEANWHILE)
        driver_fail("no such fault");
    f->value = args[3] ? number_of(args[3]) : 0;
}

static void call_meanwhile(char **args)
{
    struct fault *f = fault_of(args, faults);

    f->effect = MEANWHILE;
    f->value = driver_call;
    f->words = driver_keep(args + 2);
}

static void call_clear(char **args)
{
    (void)args;
    memset(faults, 0, sizeof(faults));
    memset(delays, 0, sizeof(delays));
}

static const struct call fault_calls[] = {
    { "fault", call_fault },
    { "meanwhile", call_meanwhile },
    { "clear", call_clear },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(fault_calls);
}

/* Another process, in which nothing fails, makes the call and ends. */
static void meanwhile(const struct fault *f)
{
    long number = f->value;
    char **words = f->words;
    int status = 0, err = errno;
    pid_t child = fork();

    if (child < 0)
        driver_fail("cannot fork");
    if (child == 0) {
        memset(faults, 0, sizeof(faults));
        driver_make_call(number, words);
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                  : WEXITSTATUS(status));
    errno = err;
}

enum { CALLERS_MAX = 12, CALLER_TEXT_BYTES = 24 };

struct callers {
    uintptr_t from; /* what called us; 0 once it was met */
    size_t len;
    char text[CALLERS_MAX * CALLER_TEXT_BYTES];
};

/* Adds a return address, if it is the program's own. */
static _Unwind_Reason_Code add_caller(struct _Unwind_Context *context,
                                      void *callers)
{
    struct callers *c = callers;
    uintptr_t at = _Unwind_GetIP(context);
    uintptr_t start = (uintptr_t)&__executable_start;

    if (at == c->from)
        c->from = 0;
    if (c->from != 0 || at < start || at >= (uintptr_t)&etext)
        return _URC_NO_REASON;
    c->len += (size_t)sprintf(c->text + c->len, "%s0x%lx", c->len ? "," : "",
                              (unsigned long)(at - start));
    return c->len + CALLER_TEXT_BYTES < sizeof(c->text) ? _URC_NO_REASON
                                                        : _URC_END_OF_STACK;
}

static void say_met(const char *name, enum effect effect, long value, int fd,
                    const char *from)
{
    long call = driver_call ? driver_call : driver_last_call;

    struct callers callers = { .from = (uintptr_t)from };

    _Unwind_Backtrace(add_caller, &callers);
    if (callers.len == 0) /* no way up from here, as without .eh_frame */
        sprintf(callers.text, "0x%lx",
                (unsigned long)(from - &__executable_start));
    driver_say("! %ld %s %s %ld @%s fd=%d\n", call, name, effect_names[effect],
               value, callers.text, fd);
}

/* Of the last fault: how many bytes, which errno. */
static _Thread_local long met_value;

static void lock_counts(void)
{
    while (atomic_flag_test_and_set(&counting))
        sched_yield();
}

static int counts_down(struct fault *f)
{
    return f->countdown > 0 && --f->countdown > 0;
}

/* Whether it is this call's turn; says so. */
static enum effect turn_of(struct fault *f, const char *name, int fd,
                           const char *from)
{
    /* No lock where nothing is asked for: it would put threads in an order that
       nothing else does, and hide their races. */
    if (atomic_load_explicit(&f->effect, memory_order_relaxed) == NONE)
        return NONE;
    lock_counts();
    enum effect effect = f->effect;
    if (effect == NONE || counts_down(f)) {
        atomic_flag_clear(&counting);
        return NONE;
    }
    if (++f->met <= SAID_MAX)
        say_met(name, effect, f->value, fd, from);
    if (f->met == MET_MAX)
        raise(SIGXCPU);
    met_value = f->value;
    if (!f->forever)
        f->effect = NONE;
    atomic_flag_clear(&counting);
    return effect;
}

static void delay(struct fault *f)
{
    struct timespec time = { f->value / 1000000, f->value % 1000000 * 1000 };

    if (f->effect != DELAY)
        return;
    lock_counts();
    int early = counts_down(f);
    atomic_flag_clear(&counting);
    if (!early)
        nanosleep(&time, NULL);
}

/* What is to happen to this call. `fd` is -1 for a call by path. */
static enum effect meet(enum kind kind, const char *name, int fd,
                        const char *from)
{
    int counts = kind != K_READ && kind != K_LOCK && kind != K_CREATE &&
                 kind != K_LEAVE && kind != K_MKDIR && kind != K_LIST;

    delay(&delays[kind]);
    enum effect any = counts ? turn_of(&faults[K_ANY], name, fd, from) : NONE;
    enum effect own = turn_of(&faults[kind], name, fd, from);
    enum effect effect = own == NONE ? any : own;

    if (effect == KILL)
        kill(getpid(), SIGKILL);
    if (effect == FAIL)
        errno = (int)met_value;
    if (effect == MEANWHILE)
        meanwhile(&faults[kind]);
    return effect == MEANWHILE ? NONE : effect;
}

static size_t at_most(size_t len)
{
    return len < (size_t)met_value ? len : (size_t)met_value;
}

#define CALLER ((const char *)__builtin_return_address(0))

/* Calls that move `len` bytes. */
#define WRAP_BYTES(kind, name, params, args_with)                              \
    ssize_t __real_##name params;                                              \
    ssize_t __wrap_##name params;                                              \
    ssize_t __wrap_##name params                                               \
    {                                                                          \
        switch (meet(kind, #name, fd, CALLER)) {                                \
        case FAIL: return -1;                                                  \
        case ZERO: return 0;                                                   \
        case SHORT: len = at_most(len); break;                                 \
        default: break;                                                        \
        }                                                                      \
        return __real_##name args_with;                                        \
    }

WRAP_BYTES(K_WRITE, write, (int fd, const void *buf, size_t len), (fd, buf, len))
WRAP_BYTES(K_WRITE, pwrite, (int fd, const void *buf, size_t len, off_t at),
           (fd, buf, len, at))
WRAP_BYTES(K_WRITE, pwrite64, (int fd, const void *buf, size_t len, off64_t at),
           (fd, buf, len, at))
WRAP_BYTES(K_READ, read, (int fd, void *buf, size_t len), (fd, buf, len))
WRAP_BYTES(K_READ, pread, (int fd, void *buf, size_t len, off_t at),
           (fd, buf, len, at))
WRAP_BYTES(K_READ, pread64, (int fd, void *buf, size_t len, off64_t at),
           (fd, buf, len, at))

/* The first `value` bytes of a vector, in a vector of its own. */
static int cut_vector(const struct iovec *in, int n, struct iovec *out)
{
    size_t left = (size_t)met_value;
    int used = 0;

    while (used < n && used < 16 && left > 0) {
        out[used] = in[used];
        if (out[used].iov_len > left)
            out[used].iov_len = left;
        left -= out[used++].iov_len;
    }
    return used;
}

#define WRAP_VECTOR(kind, name, params, args_with)                             \
    ssize_t __real_##name params;                                              \
    ssize_t __wrap_##name params;                                              \
    ssize_t __wrap_##name params                                               \
    {                                                                          \
        struct iovec cut[16];                                                  \
                                                                               \
        switch (meet(kind, #name, fd, CALLER)) {                                \
        case FAIL: return -1;                                                  \
        case ZERO: return 0;                                                   \
        case SHORT:                                                            \
            n = cut_vector(iov, n, cut);                                       \
            iov = cut;                                                         \
            break;                                                             \
        default: break;                                                        \
        }                                                                      \
        return __real_##name args_with;                                        \
    }

/* Every function of libc that moves a vector: writev() and readv() with their kin. */
#define WRAP_VECTORS(kind, call)                                               \
    WRAP_VECTOR(kind, call, (int fd, const struct iovec *iov, int n),          \
                (fd, iov, n))                                                  \
    WRAP_VECTOR(kind, p##call,                                                 \
                (int fd, const struct iovec *iov, int n, off_t at),            \
                (fd, iov, n, at))                                              \
    WRAP_VECTOR(kind, p##call##64,                                             \
                (int fd, const struct iovec *iov, int n, off64_t at),          \
                (fd, iov, n, at))                                              \
    WRAP_VECTOR(kind, p##call##2,                                              \
                (int fd, const struct iovec *iov, int n, off_t at, int flags), \
                (fd, iov, n, at, flags))                                       \
    WRAP_VECTOR(kind, p##call##64v2,                                           \
                (int fd, const struct iovec *iov, int n, off64_t at,           \
                 int flags),                                                   \
                (fd, iov, n, at, flags))

WRAP_VECTORS(K_WRITE, writev)
WRAP_VECTORS(K_READ, readv)

/* Calls that do it or do not. */
#define WRAP_FD(kind, fd, name, params, args_with)                             \
    int __real_##name params;                                                  \
    int __wrap_##name params;                                                  \
    int __wrap_##name params                                                   \
    {                                                                          \
        return meet(kind, #name, fd, CALLER) == FAIL                           \
                   ? -1                                                        \
                   : __real_##name args_with;                                  \
    }
#define WRAP_PLAIN(kind, name, params, args_with)                              \
    WRAP_FD(kind, -1, name, params, args_with)

WRAP_FD(K_SYNC, fd, fsync, (int fd), (fd))
WRAP_FD(K_SYNC, fd, fdatasync, (int fd), (fd))
WRAP_FD(K_SYNC, fd, syncfs, (int fd), (fd))
WRAP_PLAIN(K_TRUNCATE, ftruncate, (int fd, off_t len), (fd, len))
WRAP_PLAIN(K_TRUNCATE, ftruncate64, (int fd, off64_t len), (fd, len))
WRAP_PLAIN(K_TRUNCATE, truncate, (const char *path, off_t len), (path, len))
WRAP_PLAIN(K_TRUNCATE, truncate64, (const char *path, off64_t len), (path, len))
WRAP_PLAIN(K_RENAME, rename, (const char *from, const char *to), (from, to))
WRAP_PLAIN(K_RENAME, renameat,
           (int from_dir, const char *from, int to_dir, const char *to),
           (from_dir, from, to_dir, to))
WRAP_PLAIN(K_RENAME, renameat2,
           (int from_dir, const char *from, int to_dir, const char *to,
            unsigned flags),
           (from_dir, from, to_dir, to, flags))
WRAP_PLAIN(K_RENAME, link, (const char *from, const char *to), (from, to))
WRAP_PLAIN(K_RENAME, linkat,
           (int from_dir, const char *from, int to_dir, const char *to,
            int flags),
           (from_dir, from, to_dir, to, flags))

WRAP_PLAIN(K_UNLINK, unlink, (const char *path), (path))
WRAP_PLAIN(K_UNLINK, remove, (const char *path), (path))
WRAP_PLAIN(K_UNLINK, unlinkat, (int dir, const char *path, int flags),
           (dir, path, flags))
WRAP_PLAIN(K_MKDIR, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP_PLAIN(K_MKDIR, mkdirat, (int dir, const char *path, mode_t mode),
           (dir, path, mode))
WRAP_PLAIN(K_LOCK, flock, (int fd, int how), (fd, how))
WRAP_PLAIN(K_LOCK, lockf, (int fd, int how, off_t len), (fd, how, len))

/* Calls that return a pointer. */
#define WRAP_LIST(type, name, params, args_with)                               \
    type *__real_##name params;                                                \
    type *__wrap_##name params;                                                \
    type *__wrap_##name params                                                 \
    {                                                                          \
        if (meet(K_LIST, #name, -1, CALLER) == FAIL)                           \
            return NULL;                                                       \
        return __real_##name args_with;                                        \
    }

WRAP_LIST(DIR, opendir, (const char *path), (path))
WRAP_LIST(DIR, fdopendir, (int fd), (fd))
WRAP_PLAIN(K_LIST, scandir,
           (const char *path, struct dirent ***list,
            int (*chosen)(const struct dirent *),
            int (*order)(const struct dirent **, const struct dirent **)),
           (path, list, chosen, order))

/* A file system need not say what an entry is (readdir(3)). */
#define WRAP_READDIR(type, name)                                               \
    type *__real_##name(DIR *dir);                                             \
    type *__wrap_##name(DIR *dir);                                             \
    type *__wrap_##name(DIR *dir)                                              \
    {                                                                          \
        enum effect effect = meet(K_LIST, #name, -1, CALLER);                  \
        type *entry = effect == FAIL ? NULL : __real_##name(dir);              \
                                                                               \
        if (entry && effect == ZERO)                                           \
            entry->d_type = DT_UNKNOWN;                                        \
        return entry;                                                          \
    }

WRAP_READDIR(struct dirent, readdir)
WRAP_READDIR(struct dirent64, readdir64)

int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
    int mode = fcntl(fd, F_GETFL);
    int wrote = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY;
    enum effect effect =
        mode < 0 ? NONE : meet(wrote ? K_CLOSE : K_LEAVE, "close", fd, CALLER);
    int err = errno;
    int done = __real_close(fd);

    if (done < 0 && errno == EBADF) {
        say_met("close", FAIL, EBADF, fd, CALLER);
        errno = EBADF;
    }
    if (effect != FAIL)
        return done;
    errno = err;
    return -1;
}

/* open(2) and openat(2) take a mode only when they may create. */
static mode_t mode_of(int flags, va_list args)
{
    int creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;

    return creates ? va_arg(args, mode_t) : 0;
}

/* What somebody else writes who makes the file first. */
static void take(int dir, const char *path)
{
    long fd = syscall(SYS_openat, dir, path, O_WRONLY | O_CREAT | O_EXCL, 0644);

    if (fd >= 0) {
        syscall(SYS_write, fd, "taken", 5);
        syscall(SYS_close, fd);
    }
}

static int open_fails(int dir, const char *path, int flags, const char *name,
                      const char *from)
{
    enum effect effect = meet(K_OPEN, name, -1, from);

    if (effect == NONE && (flags & O_CREAT))
        effect = meet(K_CREATE, name, -1, from);
    if (effect == TAKEN)
        take(dir, path);
    return effect == FAIL;
}

#define WRAP_OPEN(name)                                                        \
    int __real_##name(const char *path, int flags, ...);                       \
    int __wrap_##name(const char *path, int flags, ...);                       \
    int __wrap_##name(const char *path, int flags, ...)                        \
    {                                                                          \
        va_list args;                                                          \
                                                                               \
        va_start(args, flags);                                                 \
        mode_t mode = mode_of(flags, args);                                    \
        va_end(args);                                                          \
        return open_fails(AT_FDCWD, path, flags, #name, CALLER)                \
                   ? -1                                                        \
                   : __real_##name(path, flags, mode);                         \
    }

#define WRAP_OPENAT(name)                                                      \
    int __real_##name(int dir, const char *path, int flags, ...);              \
    int __wrap_##name(int dir, const char *path, int flags, ...);              \
    int __wrap_##name(int dir, const char *path, int flags, ...)               \
    {                                                                          \
        va_list args;                                                          \
                                                                               \
        va_start(args, flags);                                                 \
        mode_t mode = mode_of(flags, args);                                    \
        va_end(args);                                                          \
        return open_fails(dir, path, flags, #name, CALLER)                     \
                   ? -1                                                        \
                   : __real_##name(dir, path, flags, mode);                    \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
