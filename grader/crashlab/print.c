/*
 * Prints states, a line for each thing; print.h has the format.
 * SPDX-License-Identifier: MIT
 */
#include "print.h"

#include <inttypes.h>
#include <string.h>

static const char *const verbs[] = {
    [OP_CREATE] = "create",     [OP_WRITE] = "write",   [OP_RESIZE] = "resize",
    [OP_LINK] = "link",         [OP_UNLINK] = "unlink", [OP_RENAME] = "rename",
    [OP_EXCHANGE] = "exchange", [OP_FSYNC] = "fsync",   [OP_LOST] = "lost",
    [OP_SYNCFS] = "syncfs",     [OP_ACK] = "ack",       [OP_UNSEEN] = "unseen",
};

void print_state(FILE *out, const struct state *state)
{
    fprintf(out, "state %" PRIu64 " point %" PRIu64 " lost %zu\n",
            state->number, state->model->point, state->lost);
}

void print_path(FILE *out, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";

    for (; *path; path++) {
        if (strchr(plain, *path))
            putc(*path, out);
        else
            fprintf(out, "%%%02x", (unsigned char)*path);
    }
}

void print_calls(FILE *out, const struct state *state)
{
    const struct model *m = state->model;
    size_t step = 0;

    for (size_t i = 0; i < m->ops->op_count; i++) {
        const struct op *op = &m->ops->ops[i];
        size_t kept = 0, all = 0;

        if (op->enter > m->point || op->kind == OP_ACK)
            continue;
        for (; step < m->step_count && m->steps[step].op == op; step++) {
            all++;
            kept += state->kept[step];
        }
        fprintf(out, "  op %zu ", op->line);
        if (op->kind == OP_FSYNC || op->kind == OP_SYNCFS)
            fputs(op->exit < m->point ? "pins" : "runs", out);
        else
            fprintf(out, "%zu/%zu", kept, all);
        fprintf(out, " %s\n", verbs[op->kind]);
    }
}

void print_acks(FILE *out, const struct state *state)
{
    const struct model *m = state->model;

    for (size_t i = 0; i < m->ops->op_count; i++) {
        const struct op *op = &m->ops->ops[i];

        if (op->kind == OP_ACK && op->enter <= m->point)
            fprintf(out, "  ack %s\n", op->text);
    }
}

void print_disk(FILE *out, const struct disk *disk)
{
    char room[PATH_MAX_BYTES];

    for (size_t i = 1; i < disk->file_count; i++) {
        const struct disk_file *f = &disk->files[i];
        struct digest d = disk->files[f->same_as].digest;
        const char *path = disk_path(disk, i, room);

        fputs(f->is_dir ? "  dir " : "  file ", out);
        print_path(out, path ? path : "...");
        if (!f->is_dir)
            fprintf(out, " %" PRIu64 " %016" PRIx64 "%016" PRIx64,
                    disk->files[f->same_as].size, d.a, d.b);
        putc('\n', out);
    }
}
