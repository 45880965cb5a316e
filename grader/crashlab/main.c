/*
 * crashlab: every disk that a power loss may leave behind a program.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "explore.h"
#include "print.h"

static const char usage[] =
    "crashlab states  OPS                  every distinct disk, its promises\n"
    "crashlab count   OPS                  how many there are\n"
    "crashlab show    OPS --state N DIR    makes disk N in the directory DIR\n"
    "crashlab explore OPS --check PROGRAM  runs PROGRAM on every disk\n"
    "\n"
    "  --profile posix|torn512  what a disk may do (posix)\n"
    "  --cap N                  sets of steps to try at a crash point (4096)\n"
    "\n"
    "OPS is a file of operations (ops.h), - for standard input. PROGRAM runs\n"
    "in a directory that holds the disk, gets the promises given by then on\n"
    "standard input, a line each, and ends with 0 if they are kept.\n"
    "\n"
    "Exit status: 0 nothing found, 1 a broken promise, 2 wrong use,\n"
    "3 no answer.\n";

enum { FOUND_NOTHING, FOUND_BROKEN, WRONG_USE, NO_ANSWER };

struct options {
    const char *command, *ops, *program, *dir;
    uint64_t state;
    int has_state;
    struct search search;
};

static int wrong_use(const char *what)
{
    fprintf(stderr, "crashlab: %s\n\n%s", what, usage);
    return WRONG_USE;
}

static int parse_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static int parse_option(struct options *o, const char *name, const char *value)
{
    uint64_t number;

    if (strcmp(name, "--profile") == 0 && strcmp(value, "posix") == 0)
        o->search.profile = PROFILE_POSIX;
    else if (strcmp(name, "--profile") == 0 && strcmp(value, "torn512") == 0)
        o->search.profile = PROFILE_TORN512;
    else if (strcmp(name, "--check") == 0)
        o->program = value;
    else if (strcmp(name, "--state") == 0 && parse_number(value, &o->state))
        o->has_state = 1;
    else if (strcmp(name, "--cap") == 0 && parse_number(value, &number))
        o->search.cap = (size_t)number;
    else
        return 0;
    return 1;
}

static int parse(int argc, char **argv, struct options *o)
{
    const char **next[] = { &o->command, &o->ops, &o->dir };
    size_t taken = 0;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (i + 1 == argc || !parse_option(o, argv[i], argv[i + 1]))
                return 0;
            i++;
        } else if (taken < 3) {
            *next[taken++] = argv[i];
        } else {
            return 0;
        }
    }
    return o->ops != NULL;
}

/* --- states --- */

static int list_state(void *arg, const struct state *state)
{
    (void)arg;
    print_state(stdout, state);
    print_acks(stdout, state);
    print_disk(stdout, state->disk);
    return ferror(stdout);
}

static int pass_by(void *arg, const struct state *state)
{
    (void)arg;
    (void)state;
    return 0;
}

static void print_sum(const struct search *s)
{
    printf("%" PRIu64 " states at %zu crash points", s->states, s->points);
    if (s->forgotten)
        printf(", up to %" PRIu64 " of them twice", s->forgotten);
    if (s->bounded)
        printf(", bounded at %zu of them\n", s->bounded);
    else
        printf(", all there are\n");
}

/* --- show --- */

static int show_state(void *arg, const struct state *state)
{
    const struct options *o = arg;

    if (state->number != o->state)
        return 0;
    print_state(stdout, state);
    print_calls(stdout, state);
    print_acks(stdout, state);
    print_disk(stdout, state->disk);
    int err = mkdir(o->dir, 0777) < 0 ? -errno : 0;
    int fd = err ? -1 : open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err)
        err = fd < 0 ? -errno : disk_write(state->disk, fd);
    if (fd >= 0)
        close(fd);
    if (err)
        fprintf(stderr, "crashlab: %s: %s\n", o->dir, strerror(-err));
    return err ? err : 1;
}

/* --- commands --- */

/* What a search that ended says, if it did not end well. */
static int complain(const struct options *o, int stop, const struct op *wrong)
{
    if (stop == -EINVAL && wrong)
        fprintf(stderr,
                "%s:%zu: this cannot have happened: a name that is not "
                "there, or is there already\n",
                o->ops, wrong->line);
    return NO_ANSWER;
}

static int run(struct options *o)
{
    const struct op *wrong = NULL;
    struct explore explore = { .program = o->program };
    int stop;

    int list = strcmp(o->command, "states") == 0;
    if ((list || strcmp(o->command, "count") == 0) && !o->dir) {
        o->search.visit = list ? list_state : pass_by;
        stop = search_run(&o->search, &wrong);
        if (stop)
            return complain(o, stop, wrong);
        print_sum(&o->search);
        return FOUND_NOTHING;
    }
    if (strcmp(o->command, "show") == 0 && o->has_state && o->dir) {
        o->search.visit = show_state;
        o->search.arg = o;
        stop = search_run(&o->search, &wrong);
        if (stop == 0)
            fprintf(stderr,
                    "crashlab: there are %" PRIu64 " states, from 0 on\n",
                    o->search.states);
        return stop == 1 ? FOUND_NOTHING : complain(o, stop, wrong);
    }
    if (strcmp(o->command, "explore") == 0 && o->program && !o->dir) {
        stop = explore_run(&explore, &o->search, &wrong);
        if (stop < 0)
            return complain(o, stop, wrong);
        print_sum(&o->search);
        return explore.found ? FOUND_BROKEN : FOUND_NOTHING;
    }
    return wrong_use("what is wanted?");
}

static int read_ops(const char *path, struct ops *ops)
{
    struct ops_error error = { 0 };
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY);
    int err = fd < 0 ? -errno : ops_read(fd, ops, &error);

    if (fd > STDIN_FILENO)
        close(fd);
    if (err && error.why)
        fprintf(stderr, "%s:%zu: %s\n", path, error.line, error.why);
    else if (err)
        fprintf(stderr, "crashlab: %s: %s\n", path, strerror(-err));
    const struct op *unseen = err ? NULL : ops_unseen(ops);
    if (unseen)
        fprintf(stderr, "%s:%zu: cannot judge: %s\n", path, unseen->line,
                unseen->text);
    return err || unseen ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct options o = { .search.cap = SEARCH_CAP_DEFAULT };
    struct ops ops = { 0 };

    if (!parse(argc, argv, &o))
        return wrong_use("what is wanted?");
    int status = NO_ANSWER;
    if (read_ops(o.ops, &ops) == 0) {
        o.search.ops = &ops;
        status = run(&o);
    }
    ops_free(&ops);
    return fflush(stdout) == 0 ? status : NO_ANSWER;
}
