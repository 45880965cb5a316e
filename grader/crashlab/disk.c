/*
 * Applies the steps that persisted, and writes the result into a directory.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"
#include "own.h"

enum { COST_BYTES = 16 }; /* as much work as a step, about */

/* A file's bytes and size. Where some of its steps are open, the first of them
 * and all after it are applied for each set anew, onto a copy of the rest. */
struct content {
    uint8_t *base, *bytes;
    uint64_t base_size, size;
    size_t extent; /* bytes that any step up to now wrote; zeros follow */
    size_t len;    /* of the bytes up to the last that is not zero */
    struct digest digest;
    int is_open;
    size_t listed; /* 1 + the first of the disk's files that is this node */
};

/* --- what has persisted in every set --- */

/* One block of memory for all contents, base and bytes of each. */
static void make_contents(struct disk *disk, const struct ops *ops)
{
    for (size_t i = 0; i < ops->node_count; i++)
        disk->memory_bytes += 2 * ops->nodes[i].extent;
    disk->node_count = ops->node_count;
    disk->contents = own_new(ops->node_count * sizeof(*disk->contents));
    disk->memory = own_new(disk->memory_bytes);
    uint8_t *at = disk->memory;
    for (size_t i = 0; i < ops->node_count; i++) {
        disk->contents[i].base = at;
        disk->contents[i].bytes = at + ops->nodes[i].extent;
        at += 2 * ops->nodes[i].extent;
    }
}

static void make_room(struct disk *disk, const struct model *m)
{
    disk->model = m;
    if (!disk->files) {
        disk->room = m->index->name_count + 1;
        disk->files = own_new(disk->room * sizeof(*disk->files));
        disk->leads_to = own_new(disk->room * sizeof(*disk->leads_to));
        disk->base = own_new(disk->room * sizeof(*disk->base));
        make_contents(disk, m->ops);
    }
    if (disk->open_room < m->step_count) {
        own_free(disk->open, disk->open_room * sizeof(*disk->open));
        disk->open_room = m->step_room;
        disk->open = own_new(disk->open_room * sizeof(*disk->open));
    }
}

static void apply_name(const struct model *m, const struct step *step,
                       uint32_t *leads_to)
{
    const struct fate *fate = model_fate(m, step);

    leads_to[fate->name[0]] = step->leads_to[0];
    if (step->op->dir[1])
        leads_to[fate->name[1]] = step->leads_to[1];
}

static void apply_content(const struct step *step, size_t extent,
                          uint8_t *bytes, uint64_t *size)
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

/* What the file held at the start. Until a step is open its bytes are the base
 * themselves. */
static void begin_content(struct content *c, const struct node *node)
{
    if (node->len > 0)
        memcpy(c->base, node->data, node->len);
    c->extent = node->len;
    c->base_size = node->len;
    c->is_open = 0;
}

static void end_content(struct content *c, const uint8_t *bytes, uint64_t size)
{
    size_t len = size < c->extent ? (size_t)size : c->extent;

    while (len > 0 && bytes[len - 1] == 0)
        len--;
    c->size = size;
    c->len = len;
    c->digest = digest_bytes(digest_number(DIGEST_START, size), bytes, len);
}

/* Steps before the first open one of their file, or of all names, have
 * persisted in every set; the others are looked at for each. */
static void begin_steps(struct disk *disk)
{
    const struct model *m = disk->model;
    int names_open = 0;

    disk->open_count = 0;
    for (size_t i = 0; i < m->step_count; i++) {
        const struct step *step = &m->steps[i];
        struct content *c = &disk->contents[step->op->node];
        int *is_open = step->kind == STEP_NAME ? &names_open : &c->is_open;

        *is_open |= !step->pinned;
        if (step->kind == STEP_DATA && c->extent < step->to) {
            memset(c->base + c->extent, 0, step->to - c->extent);
            c->extent = step->to;
        }
        if (*is_open)
            disk->open[disk->open_count++] = (uint32_t)i;
        if (*is_open && step->kind == STEP_CUT)
            disk->cost += c->extent / COST_BYTES; /* it writes zeros */
        if (*is_open)
            continue;
        if (step->kind == STEP_NAME)
            apply_name(m, step, disk->base);
        else
            apply_content(step, c->extent, c->base, &c->base_size);
    }
}

void disk_begin(struct disk *disk, const struct model *m)
{
    make_room(disk, m);
    for (size_t i = 0; i < m->index->name_count; i++)
        disk->base[i] = m->index->names[i].node;
    for (size_t i = ROOT_ID; i < m->ops->node_count; i++)
        begin_content(&disk->contents[i], &m->ops->nodes[i]);
    disk->cost = 1 + m->index->name_count;
    begin_steps(disk);
    disk->cost += disk->open_count;
    for (size_t i = ROOT_ID; i < m->ops->node_count; i++) {
        struct content *c = &disk->contents[i];

        if (!c->is_open)
            end_content(c, c->base, c->base_size);
        else
            disk->cost += c->extent / COST_BYTES;
    }
}

/* --- one set --- */

static void apply_steps(struct disk *disk, const uint8_t *kept)
{
    const struct model *m = disk->model;

    for (size_t i = 0; i < disk->open_count; i++) {
        const struct step *step = &m->steps[disk->open[i]];
        struct content *c = &disk->contents[step->op->node];

        if (!kept[disk->open[i]])
            continue;
        if (step->kind == STEP_NAME)
            apply_name(m, step, disk->leads_to);
        else
            apply_content(step, c->extent, c->bytes, &c->size);
    }
}

/* Adds what the directory at `parent` holds, sorted by name. */
static void add_children(struct disk *disk, size_t parent)
{
    const struct model *m = disk->model;
    const size_t *first = &m->index->first_name[disk->files[parent].node];

    for (size_t i = first[0]; i < first[1]; i++) {
        uint32_t node = disk->leads_to[i];
        int is_dir = m->ops->nodes[node].is_dir;
        struct content *c = &disk->contents[node];

        if (!node || (is_dir && c->listed))
            continue; /* a rename half undone: a directory has one name */
        size_t at = disk->file_count++;
        if (!c->listed)
            c->listed = at + 1;
        disk->files[at] = (struct disk_file){
            .node = node,
            .is_dir = is_dir,
            .parent = parent,
            .name = m->index->names[i].name,
            .same_as = c->listed - 1,
            .size = c->size,
            .bytes = c->is_open ? c->bytes : c->base,
            .len = c->len,
            .digest = c->digest,
        };
    }
}

static void list_files(struct disk *disk)
{
    for (size_t i = 0; i < disk->file_count; i++)
        disk->contents[disk->files[i].node].listed = 0;
    disk->files[0] = (struct disk_file){ .node = ROOT_ID, .is_dir = 1 };
    disk->contents[ROOT_ID].listed = 1;
    disk->file_count = 1;
    for (size_t i = 0; i < disk->file_count; i++) {
        if (disk->files[i].is_dir)
            add_children(disk, i);
    }
}

void disk_of(struct disk *disk, const uint8_t *kept)
{
    const struct model *m = disk->model;

    memcpy(disk->leads_to, disk->base,
           m->index->name_count * sizeof(*disk->base));
    for (size_t i = ROOT_ID; i < m->ops->node_count; i++) {
        struct content *c = &disk->contents[i];

        if (c->is_open) {
            memcpy(c->bytes, c->base, c->extent);
            c->size = c->base_size;
        }
    }
    apply_steps(disk, kept);
    for (size_t i = ROOT_ID; i < m->ops->node_count; i++) {
        struct content *c = &disk->contents[i];

        if (c->is_open)
            end_content(c, c->bytes, c->size);
    }
    list_files(disk);
}

/* --- what becomes of it --- */

struct digest disk_digest(const struct disk *disk, size_t ack_count)
{
    struct digest d = digest_number(DIGEST_START, ack_count);

    for (size_t i = 1; i < disk->file_count; i++) {
        const struct disk_file *f = &disk->files[i];

        d = digest_bytes(d, f->name, strlen(f->name));
        d = digest_number(d, f->parent * 2 + (f->is_dir != 0));
        d = digest_number(d, f->same_as);
        if (!f->is_dir && f->same_as == i) {
            d = digest_number(d, f->digest.a);
            d = digest_number(d, f->digest.b);
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
    /* Not on the stack, which would reach over pages that fork(2) copies. */
    static char room[PATH_MAX_BYTES], first_room[PATH_MAX_BYTES];
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
    static char room[PATH_MAX_BYTES];

    for (size_t i = disk->file_count; i-- > 1;) {
        const char *path = disk_path(disk, i, room);

        if (path)
            unlinkat(dir_fd, path, disk->files[i].is_dir ? AT_REMOVEDIR : 0);
    }
}

void disk_free(struct disk *disk)
{
    own_free(disk->files, disk->room * sizeof(*disk->files));
    own_free(disk->leads_to, disk->room * sizeof(*disk->leads_to));
    own_free(disk->base, disk->room * sizeof(*disk->base));
    own_free(disk->open, disk->open_room * sizeof(*disk->open));
    own_free(disk->contents, disk->node_count * sizeof(*disk->contents));
    own_free(disk->memory, disk->memory_bytes);
    *disk = (struct disk){ 0 };
}
