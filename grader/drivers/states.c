/*
 * Runs scripts on every disk that a power loss may leave.
 * SPDX-License-Identifier: MIT
 *
 * In a driver that this is linked with, standard input is `PROFILE CAP`, a line,
 * and then any number of jobs, each a script and an operations file
 * (crashlab/ops.h). A job's script runs once for each disk of its operations, in a
 * child and in a directory that holds the disk. `= job K` stands before what
 * serve.h writes of it.
 *
 * `traced 1` for a line: the children report as a driver does that runs one
 * script alone, so that a trace from outside shows their calls; nothing else is
 * written.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crashlab/serve.h"
#include "driver.h"

/* As fopencookie(3) wants it: all of it, through every interruption. */
static ssize_t write_marks(void *cookie, const char *text, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write(DRIVER_MARKS_FD, text + done, len - done);

        if (n < 0 && errno != EINTR)
            return 0;
        done += n > 0 ? (size_t)n : 0;
    }
    (void)cookie;
    return (ssize_t)len;
}

static void check(void *arg)
{
    close(DRIVER_MARKS_FD); /* the report is the server's to write */
    driver_sink = serve_say;
    driver_run(arg); /* the child's own copy to take apart */
}

static void check_traced(void *arg)
{
    driver_run(arg);
}

/* Whatever the student's program reads or prints, nobody is there. */
static void hush(void)
{
    int fd = open("/dev/null", O_RDWR);

    for (int i = 0; i < 3; i++) {
        if (fd < 0 || dup2(fd, i) < 0)
            driver_fail("cannot open /dev/null");
    }
    close(fd);
}

static const char BEGIN[] = "crashlab-ops 1\n", END[] = "\nend\n";

/* Takes the next job off the input; 0 if there is none. */
static int next_job(char **input, char **script, struct ops *ops)
{
    char *text = strstr(*input, BEGIN);
    char *end = text ? strstr(text, END) : NULL;
    struct ops_error error;

    if (!end)
        return 0;
    end += strlen(END);
    char *copy = strndup(text, (size_t)(end - text));
    if (!copy)
        driver_fail("out of memory");
    if (ops_parse(copy, strlen(copy), ops, &error) < 0) {
        driver_say("? 0 operations, line %zu: %s\n", error.line, error.why);
        _exit(120);
    }
    *script = *input;
    *input = end;
    *text = '\0';
    return 1;
}

/* 0 if the next job may come. */
static int run_job(const struct serve *serve)
{
    const struct op *wrong = NULL;
    int err = serve_run(serve, &wrong);

    if (err < 0)
        driver_fail(wrong ? "an operation that cannot have happened"
                          : strerror(-err));
    return err;
}

static void on_every_disk(char *input)
{
    int traced = strncmp(input, "traced ", 7) == 0;
    FILE *out = traced ? fopen("/dev/null", "we")
                       : fopencookie(NULL, "w",
                                     (cookie_io_functions_t){ .write = write_marks });
    struct serve serve = {
        .profile = strncmp(input, "torn512 ", 8) == 0 ? PROFILE_TORN512
                                                      : PROFILE_POSIX,
        .check = traced ? check_traced : check,
        .out = out,
    };
    char *jobs = strchr(input, '\n');
    struct ops ops;

    if (!jobs || !out)
        driver_fail("no profile");
    *jobs++ = '\0';
    serve.cap = (size_t)number_of(strchr(input, ' ') + 1);
    serve.ops = &ops;
    hush();
    if (driver_warm_up)
        driver_warm_up();
    char *script;
    int stop = 0;
    for (int job = 0; !stop && next_job(&jobs, &script, &ops); job++) {
        fprintf(out, "= job %d\n", job);
        serve.arg = script;
        stop = run_job(&serve);
        ops_free(&ops);
    }
    fclose(out);
}

/* --- what a check can ask for --- */

static void reply_name(const char *kind, const char *path)
{
    reply(" %s=", kind);
    for (; *path; path++) {
        int plain = (*path >= '-' && *path <= '9') || *path == '_' ||
                    ((*path | 32) >= 'a' && (*path | 32) <= 'z');
        reply(plain ? "%c" : "%%%02x", (unsigned char)*path);
    }
}

static void look_at_file(const char *path)
{
    static uint8_t bytes[SERVE_SHOWN_BYTES];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

    reply_name("f", path);
    reply(" size=%lld", fd < 0 ? -1LL : (long long)lseek(fd, 0, SEEK_END));
    reply_bytes("bytes", bytes, len < 0 ? 0 : (size_t)len);
    if (fd >= 0)
        close(fd);
}

static void look_in(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char below[1024];

    while (dir && (entry = readdir(dir))) {
        const char *name = entry->d_name;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        int top = strcmp(path, ".") == 0;
        snprintf(below, sizeof(below), "%s%s%s", top ? "" : path,
                 top ? "" : "/", name);
        if (entry->d_type != DT_DIR) {
            look_at_file(below);
        } else {
            reply_name("d", below);
            look_in(below);
        }
    }
    if (dir)
        closedir(dir);
}

/* look: every file and directory, with sizes and bytes. */
static void call_look(char **args)
{
    (void)args;
    look_in(".");
}

static const struct call calls[] = {
    { "look", call_look },
    { NULL, NULL },
};

__attribute__((constructor)) static void take_input(void)
{
    driver_add_calls(calls);
    driver_input = on_every_disk;
}
