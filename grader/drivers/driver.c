/*
 * Reads a script and makes its calls; driver.h has the protocol.
 * SPDX-License-Identifier: MIT
 *
 * Linked with -Wl,--wrap=main, so the main() that the lesson asks for may stay.
 * Everything here goes through syscall(2): the faults injected into the student's
 * calls of write(2) and its like never meet the driver's own.
 */
#define _GNU_SOURCE

#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    TABLES_MAX = 8,
    ARGS_MAX = 16,
};

static void to_marks(const char *text, size_t len);

long driver_call;
void (*driver_sink)(const char *text, size_t len) = to_marks;
void (*driver_input)(char *input) = driver_run;
static const struct call *tables[TABLES_MAX];
static char *line_buf; /* the report of the call that runs */
static size_t line_len, line_room;

void driver_add_calls(const struct call *calls)
{
    size_t i = 0;

    while (i < TABLES_MAX && tables[i])
        i++;
    if (i == TABLES_MAX)
        driver_fail("too many tables of calls");
    tables[i] = calls;
}

void driver_fail(const char *what)
{
    driver_say("? %ld %s\n", driver_call, what);
    _exit(120);
}

static void to_marks(const char *text, size_t len)
{
    while (len > 0) {
        long n = syscall(SYS_write, DRIVER_MARKS_FD, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(121);
        text += n;
        len -= (size_t)n;
    }
}

void driver_say(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    driver_sink(text, len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static char *line_grow(size_t len)
{
    if (line_len + len > line_room) {
        line_room = 2 * (line_len + len);
        line_buf = realloc(line_buf, line_room);
        if (!line_buf)
            driver_fail("out of memory");
    }
    return line_buf + line_len;
}

void reply(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int wanted = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t len = wanted < (int)sizeof(text) ? (size_t)wanted : sizeof(text) - 1;
    memcpy(line_grow(len), text, len);
    line_len += len;
}

void reply_bytes(const char *name, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    reply(" %s=x", name);
    char *out = line_grow(2 * len);
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    line_len += 2 * len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    driver_fail("not a hex digit");
}

uint8_t *bytes_of(const char *arg, size_t *len_out)
{
    if (!arg || arg[0] != 'x')
        driver_fail("bytes begin with x");
    size_t len = strlen(arg + 1) / 2;
    uint8_t *bytes = malloc(len);
    if (!bytes && len > 0)
        driver_fail("out of memory");
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(hex_digit(arg[1 + 2 * i]) << 4 |
                             hex_digit(arg[2 + 2 * i]));
    *len_out = len;
    return bytes;
}

long number_of(const char *arg)
{
    char *end;

    if (!arg)
        driver_fail("a number is missing");
    long value = strtol(arg, &end, 10);
    if (*arg == '\0' || *end != '\0')
        driver_fail("not a number");
    return value;
}

/* Calls of the driver itself. */

/* put PATH BYTES: a file that some other program left, not synced. */
static void call_put(char **args)
{
    size_t len;
    uint8_t *bytes = bytes_of(args[1], &len);
    long fd = syscall(SYS_openat, AT_FDCWD, args[0],
                      O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || syscall(SYS_write, fd, bytes, len) != (long)len)
        driver_fail("cannot put the file");
    syscall(SYS_close, fd);
    free(bytes);
}

/* limit data|fsize BYTES: as setrlimit(2); past fsize a write is short, then
 * fails with EFBIG. */
static void call_limit(char **args)
{
    rlim_t bytes = (rlim_t)number_of(args[1]);
    struct rlimit limit = { bytes, bytes };
    int data = strcmp(args[0], "data") == 0;

    if (setrlimit(data ? RLIMIT_DATA : RLIMIT_FSIZE, &limit) < 0)
        driver_fail("cannot set the limit");
}

/* fds: how many descriptors are open. */
static void call_fds(char **args)
{
    int open_fds = 0;

    (void)args;
    for (int fd = 0; fd < DRIVER_MARKS_FD; fd++)
        open_fds += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
    reply(" open=%d", open_fds);
}

static const struct call driver_calls[] = {
    { "put", call_put },
    { "limit", call_limit },
    { "fds", call_fds },
    { NULL, NULL },
};

static const struct call *find_call(const char *name)
{
    for (size_t i = 0; i < TABLES_MAX && tables[i]; i++) {
        for (const struct call *c = tables[i]; c->name; c++) {
            if (strcmp(c->name, name) == 0)
                return c;
        }
    }
    driver_fail("no such call");
}

/* Leaves no zeros on the stack for a forgotten initialisation to live on. */
__attribute__((noinline)) static void soil_the_stack(void)
{
    volatile char dirt[1 << 16];

    for (size_t i = 0; i < sizeof(dirt); i++)
        dirt[i] = 0x5A;
}

static void run_line(char *line)
{
    char *args[ARGS_MAX + 1] = { NULL };
    char *save = NULL;
    size_t n = 0;

    driver_call = number_of(strtok_r(line, " ", &save));
    char *name = strtok_r(NULL, " ", &save);
    if (!name)
        driver_fail("no call");
    while (n < ARGS_MAX && (args[n] = strtok_r(NULL, " ", &save)))
        n++;
    const struct call *call = find_call(name);
    driver_say("> %ld %s\n", driver_call, name);
    line_len = 0;
    reply("< %ld %s", driver_call, name);
    if (driver_input == driver_run) /* not where the script runs a thousandfold */
        soil_the_stack();
    call->run(args);
    reply("\n");
    driver_sink(line_buf, line_len);
}

void driver_run(char *script)
{
    char *save = NULL;

    for (char *line = strtok_r(script, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        run_line(line);
}

/* The whole script, read before the first call so that no read stands between
 * the calls that a trace shows. */
static char *read_input(void)
{
    size_t room = 1 << 16, len = 0;
    char *script = malloc(room);

    for (;;) {
        if (!script)
            driver_fail("out of memory");
        long n = syscall(SYS_read, STDIN_FILENO, script + len, room - len - 1);
        if (n < 0)
            driver_fail("cannot read the script");
        if (n == 0)
            break;
        len += (size_t)n;
        if (room - len < 2)
            script = realloc(script, room *= 2);
    }
    script[len] = '\0';
    return script;
}

int __wrap_main(int argc, char **argv);

int __wrap_main(int argc, char **argv)
{
    long marks = argc > 1 ? strtol(argv[argc - 1], NULL, 10) : -1;

    if (syscall(SYS_dup3, marks, DRIVER_MARKS_FD, O_CLOEXEC) < 0)
        return 122;
    syscall(SYS_close, marks);
    signal(SIGXFSZ, SIG_IGN);
    driver_add_calls(driver_calls);
    char *input = read_input();
    driver_input(input);
    free(input);
    free(line_buf);
    return 0;
}
