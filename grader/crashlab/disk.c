/*
 * Applies the steps that persisted, and writes the result into a directory.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"

static void *or_die(void *block)
{
    if (!block)
        out_of_memory();
    return block;
}

/* --- names --- */

static void make_room(struct disk *disk, const struct model *m)
{
    size_t room = m->ops->entry_count + 2 * m->step_count + 1;

    if (room > disk->room) {
        disk->files = or_die(realloc(disk->files, room * sizeof(*disk->files)));
        disk->names = or_die(realloc(disk->names, room * sizeof(*disk->names)));
        disk->room = room;
    }
    if (!disk->contents) {
        disk->node_count = m->ops->node_count;
        disk->contents =
            or_die(calloc(disk->node_count, sizeof(*disk->contents)));
    }
}

static void lead(struct disk *disk, uint32_t dir, const char *name, uint32_t to)
{
    struct entry *at = disk->names, *end = at + disk->name_count;

    while (at < end && (at->dir != dir || strcmp(at->name, name) != 0))
        at++;
    if (at == end)
        disk->name_count++;
    *at = (struct entry){ dir, name, to };
}

static void apply_names(struct disk *disk, const struct model *m,
                        const uint8_t *kept)
{
    disk->name_count = m->ops->entry_count;
    for (size_t i = 0; i < disk->name_count; i++)
        disk->names[i] = m->ops->entries[i];
    for (size_t i = 0; i < m->step_count; i++) {
        const struct step *step = &m->steps[i];
        const struct op *op = step->op;

        if (step->kind != STEP_NAME || !kept[i])
            continue;
        lead(disk, op->dir[0], op->name[0], step->leads_to[0]);
        if (op->dir[1])
            lead(disk, op->dir[1], op->name[1], step->leads_to[1]);
    }
}

static size_t index_of(const struct disk *disk, uint32_t node)
{
    size_t i = 0;

    while (i < disk->file_count && disk->files[i].node != node)
        i++;
    return i;
}

/* Adds what the directory at `parent` holds, sorted by name. */
static void add_children(struct disk *disk, const struct ops *ops,
                         size_t parent)
{
    size_t first = disk->file_count;

    for (size_t i = 0; i < disk->name_count; i++) {
        const struct entry *e = &disk->names[i];

        if (!e->node || e->dir != disk->files[parent].node)
            continue;
        int is_dir = ops->nodes[e->node].is_dir;
        size_t same_as = index_of(disk, e->node);
        if (is_dir && same_as < disk->file_count)
            continue; /* a rename half undone: a directory has one name */
        size_t at = disk->file_count++;
        while (at > first && strcmp(disk->files[at - 1].name, e->name) > 0) {
            disk->files[at] = disk->files[at - 1];
            at--;
        }
        disk->files[at] = (struct disk_file){
            .node = e->node, .parent = parent, .is_dir = is_dir, .name = e->name
        };
    }
    for (size_t i = first; i < disk->file_count; i++)
        disk->files[i].same_as = index_of(disk, disk->files[i].node);
}

/* --- content --- */

static void apply_step(const struct step *step, uint8_t *bytes, size_t extent,
                       uint64_t *size)
{
    const struct op *op = step->op;

    switch (step->kind) {
    case STEP_DATA:
        memcpy(bytes + step->from, op->data + (step->from - op->offset),
               (size_t)(step->to - step->from));
        break;
    case STEP_GROW:
        if (*size < step->to)
            *size = step->to;
        break;
    case STEP_CUT:
        *size = step->to;
        if (step->to < extent)
            memset(bytes + step->to, 0, extent - (size_t)step->to);
        break;
    case STEP_NAME: break;
    }
}

static void apply_content(struct disk *disk, const struct model *m,
                          const uint8_t *kept, struct disk_file *file)
{
    const struct node *node = &m->ops->nodes[file->node];

    if (!disk->contents[file->node])
        disk->contents[file->node] = or_die(malloc(node->extent + 1));
    uint8_t *bytes = disk->contents[file->node];
    if (node->len > 0)
        memcpy(bytes, node->data, node->len);
    memset(bytes + node->len, 0, node->extent - node->len);
    file->size = node->len;
    for (size_t i = 0; i < m->step_count; i++) {
        const struct step *step = &m->steps[i];

        if (kept[i] && step->op->node == file->node)
            apply_step(step, bytes, node->extent, &file->size);
    }
    size_t len = file->size < node->extent ? (size_t)file->size : node->extent;
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    file->bytes = bytes;
    file->len = len;
}

void disk_of(struct disk *disk, const struct model *m, const uint8_t *kept)
{
    make_room(disk, m);
    apply_names(disk, m, kept);
    disk->files[0] = (struct disk_file){ .node = ROOT_ID, .is_dir = 1 };
    disk->file_count = 1;
    for (size_t i = 0; i < disk->file_count; i++) {
        struct disk_file *file = &disk->files[i];

        if (file->is_dir)
            add_children(disk, m->ops, i);
        else if (file->same_as == i)
            apply_content(disk, m, kept, file);
    }
}

/* --- what becomes of it --- */

struct digest disk_file_digest(const struct disk_file *file)
{
    struct digest d = digest_number(DIGEST_START, file->size);

    return digest_bytes(d, file->bytes, file->len);
}

struct digest disk_digest(const struct disk *disk, size_t ack_count)
{
    struct digest d = digest_number(DIGEST_START, ack_count);

    for (size_t i = 1; i < disk->file_count; i++) {
        const struct disk_file *f = &disk->files[i];

        d = digest_bytes(d, f->name, strlen(f->name));
        d = digest_number(d, f->parent * 2 + (f->is_dir != 0));
        d = digest_number(d, f->same_as);
        if (!f->is_dir && f->same_as == i) {
            d = digest_number(d, f->size);
            d = digest_bytes(d, f->bytes, f->len);
        }
    }
    return d;
}

const char *disk_path(const struct disk *disk, size_t i, char *room)
{
    char *start = room + PATH_MAX_BYTES - 1;

    if (disk->files[i].parent == 0 && i > 0)
        return disk->files[i].name;
    for (*start = '\0'; i > 0; i = disk->files[i].parent) {
        size_t len = strlen(disk->files[i].name);

        if ((size_t)(start - room) < len + 1)
            return NULL;
        if (*start)
            *--start = '/';
        start -= len;
        memcpy(start, disk->files[i].name, len);
    }
    return start;
}

static int write_content(const struct disk_file *file, int fd)
{
    size_t done = 0;

    while (done < file->len) {
        ssize_t n = write(fd, file->bytes + done, file->len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    if (file->size > file->len && ftruncate(fd, (off_t)file->size) < 0)
        return -errno;
    return 0;
}

static int write_file(const struct disk_file *file, int dir_fd,
                      const char *path)
{
    int fd =
        openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    int err = write_content(file, fd);
    if (close(fd) < 0 && !err)
        err = -errno;
    return err;
}

int disk_write(const struct disk *disk, int dir_fd)
{
    char room[PATH_MAX_BYTES], first_room[PATH_MAX_BYTES];
    int err = 0;

    for (size_t i = 1; i < disk->file_count && !err; i++) {
        const struct disk_file *f = &disk->files[i];
        const char *path = disk_path(disk, i, room);
        const char *first = disk_path(disk, f->same_as, first_room);

        if (!path || !first)
            return -ENAMETOOLONG;
        if (f->is_dir)
            err = mkdirat(dir_fd, path, 0755) < 0 ? -errno : 0;
        else if (f->same_as != i)
            err = linkat(dir_fd, first, dir_fd, path, 0) < 0 ? -errno : 0;
        else
            err = write_file(f, dir_fd, path);
    }
    return err;
}

void disk_remove(const struct disk *disk, int dir_fd)
{
    char room[PATH_MAX_BYTES];

    for (size_t i = disk->file_count; i-- > 1;) {
        const char *path = disk_path(disk, i, room);

        if (path)
            unlinkat(dir_fd, path, disk->files[i].is_dir ? AT_REMOVEDIR : 0);
    }
}

void disk_free(struct disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++)
        free(disk->contents[i]);
    free(disk->contents);
    free(disk->files);
    free(disk->names);
    *disk = (struct disk){ 0 };
}
