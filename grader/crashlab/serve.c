/*
 * Fork, check, wait, clean up; 10,000 times a second.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "print.h"
#include "sweep.h"

static const char DISK[] = "disk";

/* Shared with the child, which may scribble on it as it likes. */
static struct report {
    size_t len;
    char text[SERVE_REPORT_BYTES];
} * report;

struct server {
    const struct serve *serve;
    int killed;
};

void serve_say(const char *text, size_t len)
{
    size_t at = report->len;

    report->len = at + len;
    if (at <= SERVE_REPORT_BYTES && len <= SERVE_REPORT_BYTES - at)
        memcpy(report->text + at, text, len);
}

/* --- children --- */

static void tick(int sig)
{
    (void)sig; /* waitpid(2) returns, and the clock is looked at */
}

/* A tick is never far, so a wait that begins just after one is no trap. */
static int start_ticking(void)
{
    struct sigaction action = { .sa_handler = tick }; /* no SA_RESTART */
    struct itimerval every = { { 0, 100000 }, { 0, 100000 } };

    return sigaction(SIGALRM, &action, NULL) < 0 ||
                   setitimer(ITIMER_REAL, &every, NULL) < 0
               ? -errno
               : 0;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Waits for the child; 1 if it had to be killed. */
static int wait_for(pid_t child, int *status_out)
{
    double deadline = 0;
    int killed = 0;

    while (waitpid(child, status_out, 0) < 0) {
        double now = seconds();

        if (deadline == 0)
            deadline = now + SERVE_SECONDS;
        if (now > deadline && !killed)
            killed = kill(child, SIGKILL) == 0;
    }
    return killed;
}

/* Without a namespace of our own: only those that are ours to reap. */
static void kill_children(void)
{
    char path[64];
    long pid;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%ld", &pid) == 1)
        kill((pid_t)pid, SIGKILL);
    if (children)
        fclose(children);
}

/* Kills whatever the child left. All of it is ours to reap: PID 1 is given
 * every orphan of its namespace, and a subreaper those below it. */
static void clear_away(void)
{
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);

        if (pid < 0 && errno == ECHILD)
            return; /* the usual case: one call, and nobody is left */
        if (pid != 0)
            continue;
        if (getpid() == 1)
            kill(-1, SIGKILL);
        else
            kill_children();
        waitpid(-1, NULL, 0);
    }
}

static void child_run(const struct serve *serve, int dir_fd)
{
    if (fchdir(dir_fd) < 0)
        _exit(125);
    close(dir_fd);
    signal(SIGALRM, SIG_DFL);
    serve->check(serve->arg);
    _exit(0);
}

/* --- one disk --- */

static void show_disk(FILE *out, const struct disk *disk)
{
    static const char digits[] = "0123456789abcdef";
    static char room[PATH_MAX_BYTES]; /* off the stack, as in disk_write() */

    for (size_t i = 1; i < disk->file_count; i++) {
        const struct disk_file *f = &disk->files[disk->files[i].same_as];
        const char *path = disk_path(disk, i, room);

        fputs(f->is_dir ? "@ d " : "@ f ", out);
        print_path(out, path ? path : "...");
        if (!f->is_dir) {
            fprintf(out, " %" PRIu64 " x", f->size);
            for (size_t j = 0; j < f->len && j < SERVE_SHOWN_BYTES; j++) {
                putc(digits[f->bytes[j] >> 4], out);
                putc(digits[f->bytes[j] & 15], out);
            }
        }
        putc('\n', out);
    }
}

static void show_end(FILE *out, int status, int killed)
{
    size_t len = report->len;
    int too_much = len > SERVE_REPORT_BYTES;

    fwrite(report->text, 1, too_much ? 0 : len, out);
    if (killed)
        fputs("= time 0\n", out);
    else if (too_much)
        fputs("= much 0\n", out);
    else if (WIFSIGNALED(status))
        fprintf(out, "= signal %d\n", WTERMSIG(status));
    else
        fprintf(out, "= exit %d\n", WEXITSTATUS(status));
}

static int check_disk(struct server *server, const struct disk *disk,
                      int dir_fd)
{
    int err = disk_write(disk, dir_fd);
    int status = 0;

    if (err)
        return err;
    report->len = 0;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0)
        child_run(server->serve, dir_fd);
    int killed = wait_for(child, &status);
    clear_away();
    show_end(server->serve->out, status, killed);
    server->killed += killed;
    return 0;
}

/* Most programs leave the files that they found, and their names are known. */
static int clean(const struct disk *disk, int dir_fd)
{
    if (dir_fd >= 0) {
        disk_remove(disk, dir_fd);
        close(dir_fd);
    }
    return rmdir(DISK) == 0 ? 0 : sweep(AT_FDCWD, DISK);
}

static int visit(void *arg, const struct state *state)
{
    struct server *server = arg;
    FILE *out = server->serve->out;

    fprintf(out, "= %" PRIu64 " %" PRIu64 " %zu\n", state->number,
            state->model->point, state->lost);
    show_disk(out, state->disk);
    if (mkdir(DISK, 0755) < 0)
        return -errno;
    int dir_fd = open(DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = dir_fd < 0 ? -errno : check_disk(server, state->disk, dir_fd);
    int swept = clean(state->disk, dir_fd);
    if (err || swept)
        return err ? err : swept;
    return server->killed >= SERVE_KILLED_MAX ? SERVE_GAVE_UP : 0;
}

int serve_run(const struct serve *serve, const struct op **wrong_out)
{
    struct server server = { .serve = serve };
    struct search search = { .ops = serve->ops,
                             .profile = serve->profile,
                             .cap = serve->cap,
                             .visit = visit,
                             .arg = &server };

    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -errno;
    int err = start_ticking();
    if (!err)
        err = search_run(&search, wrong_out);
    munmap(report, sizeof(*report));
    if (err < 0)
        return err;
    if (err == SERVE_GAVE_UP)
        fputs("= stopped\n", serve->out);
    fprintf(serve->out, "= sum %" PRIu64 " %zu %zu\n", search.states,
            search.points, search.bounded);
    return err;
}
