/*
 * A fresh directory and a fresh process for every disk; slow and general.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "explore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "print.h"
#include "sweep.h"

/* The promises, in a file without a name: a pipe could fill up. */
static int promises_of(const struct state *state)
{
    FILE *file = tmpfile();

    if (!file)
        return -errno;
    for (size_t i = 0; i < state->model->ops->op_count; i++) {
        const struct op *op = &state->model->ops->ops[i];

        if (op->kind == OP_ACK && op->enter <= state->model->point)
            fprintf(file, "%s\n", op->text);
    }
    int fd = fflush(file) == 0 ? dup(fileno(file)) : -1;
    fclose(file);
    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return fd;
}

static void become(const struct explore *e, int dir_fd, int promises)
{
    if (fchdir(dir_fd) == 0 && dup2(promises, STDIN_FILENO) >= 0) {
        setpgid(0, 0);
        alarm(CHECK_SECONDS); /* outlives the exec; a signal ends the program */
        execl(e->path, e->path, (char *)NULL);
    }
    fprintf(stderr, "crashlab: %s: %s\n", e->program, strerror(errno));
    _exit(127);
}

/* Runs the program; its status in *status_out. */
static int run(const struct explore *e, const struct state *state, int dir_fd,
               int *status_out)
{
    int promises = promises_of(state);

    if (promises < 0)
        return promises;
    pid_t child = fork();
    if (child == 0)
        become(e, dir_fd, promises);
    int err = child < 0 ? -errno : 0;
    close(promises);
    while (!err && waitpid(child, status_out, 0) < 0)
        err = errno == EINTR ? 0 : -errno;
    if (child > 0)
        kill(-child, SIGKILL); /* what it left behind */
    return err;
}

static void keep_smallest(struct explore *e, const struct state *state,
                          int status)
{
    if (e->found && (state->model->point > e->point || state->lost >= e->lost))
        return;
    e->found = 1;
    e->number = state->number;
    e->point = state->model->point;
    e->lost = state->lost;
    e->status = status;
}

static int visit(void *arg, const struct state *state)
{
    struct explore *e = arg;
    int status = 0;
    int dir_fd = mkdir(e->dir, 0755) < 0
                     ? -1
                     : open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir_fd < 0)
        return -errno;
    int err = disk_write(state->disk, dir_fd);
    if (!err)
        err = run(e, state, dir_fd, &status);
    if (!err && WIFEXITED(status) && WEXITSTATUS(status) == 127)
        err = -ENOEXEC;
    close(dir_fd);
    sweep(AT_FDCWD, e->dir);
    if (!err && status != 0)
        keep_smallest(e, state, status);
    return err;
}

static void report(const struct explore *e)
{
    if (!e->found)
        return;
    printf("broken: state %" PRIu64 ", crash after position %" PRIu64
           ", %zu steps lost: ",
           e->number, e->point, e->lost);
    if (WIFSIGNALED(e->status))
        printf("%s ended by signal %d\n", e->program, WTERMSIG(e->status));
    else
        printf("%s ended with %d\n", e->program, WEXITSTATUS(e->status));
}

int explore_run(struct explore *e, struct search *search,
                const struct op **wrong_out)
{
    char top[] = "/tmp/crashlab-XXXXXX";
    char disk[sizeof(top) + sizeof("/disk")];

    e->path = realpath(e->program, NULL);
    if (!e->path || !mkdtemp(top)) {
        fprintf(stderr, "crashlab: %s: %s\n", e->program, strerror(errno));
        free(e->path);
        return -ENOENT;
    }
    snprintf(disk, sizeof(disk), "%s/disk", top);
    e->dir = disk;
    search->visit = visit;
    search->arg = e;
    int err = search_run(search, wrong_out);
    sweep(AT_FDCWD, top);
    free(e->path);
    if (err)
        fprintf(stderr, "crashlab: %s\n", strerror(-err));
    else
        report(e);
    return err;
}
