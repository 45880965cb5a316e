/*
 * Turns operations into steps, and works out which of them are pinned.
 * SPDX-License-Identifier: MIT
 */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NO_STEP = -1, EITHER = -1 };

enum cell_kind { CELL_DATA, CELL_SIZE, CELL_NAME };

/* Where versions follow one another: a block (or a sector), a size, a name. */
struct cell {
    enum cell_kind kind;
    uint32_t node;  /* the file, or the directory of the name */
    uint64_t start; /* of the block or sector */
    const char *name;
    uint64_t value;    /* in program order: the size, or where the name leads */
    ptrdiff_t last;    /* its last step that no failed sync covered */
    ptrdiff_t dropped; /* its last step that one did cover */
};

static struct cell *cell_of(struct model *m, enum cell_kind kind, uint32_t node,
                            uint64_t start, const char *name)
{
    for (size_t i = 0; i < m->cell_count; i++) {
        struct cell *c = &m->cells[i];

        if (c->kind == kind && c->node == node && c->start == start &&
            (!name || strcmp(c->name, name) == 0))
            return c;
    }
    m->cells = grown(m->cells, m->cell_count, sizeof(*m->cells));
    struct cell *c = &m->cells[m->cell_count++];
    *c = (struct cell){ .kind = kind,
                        .node = node,
                        .start = start,
                        .name = name,
                        .last = NO_STEP,
                        .dropped = NO_STEP };
    if (kind == CELL_SIZE)
        c->value = m->ops->nodes[node].len;
    for (size_t i = 0; name && i < m->ops->entry_count; i++) {
        const struct entry *e = &m->ops->entries[i];

        if (e->dir == node && strcmp(e->name, name) == 0)
            c->value = e->node;
    }
    return c;
}

/* --- pins --- */

static int syncs(const struct op *sync, uint32_t node)
{
    return sync->kind == OP_SYNCFS ||
           (sync->kind == OP_FSYNC && sync->node == node);
}

/* Whether a sync of `node` that covers `op` was over before `before`. */
static int synced(const struct model *m, const struct op *op, uint32_t node,
                  uint64_t before)
{
    for (size_t i = 0; i < m->ops->op_count; i++) {
        const struct op *sync = &m->ops->ops[i];

        if (syncs(sync, node) && op->exit < sync->enter && sync->exit < before)
            return 1;
    }
    return 0;
}

/* Whether a sync of `node` that covers `op` failed, and none was over by then. */
static int dropped(const struct model *m, const struct op *op, uint32_t node)
{
    for (size_t i = 0; i < m->ops->op_count; i++) {
        const struct op *lost = &m->ops->ops[i];

        if (lost->kind == OP_LOST && lost->node == node &&
            op->exit < lost->enter && lost->enter <= m->point &&
            !synced(m, op, node, lost->exit))
            return 1;
    }
    return 0;
}

static void pin(const struct model *m, struct step *step)
{
    const struct op *op = step->op;
    uint32_t nodes[2] = { op->node, 0 };

    if (step->kind == STEP_NAME) {
        nodes[0] = op->dir[0];
        nodes[1] = op->dir[1];
    } else if (op->dsync && op->exit < m->point) {
        step->pinned = 1;
        return;
    }
    step->pinned = 1;
    for (int i = 0; i < 2 && nodes[i]; i++) {
        step->dropped |= dropped(m, op, nodes[i]);
        step->pinned &= synced(m, op, nodes[i], m->point);
    }
    step->pinned &= !step->dropped;
}

/* What a pinned step waits for has persisted too. */
static void pin_what_is_waited_for(struct model *m)
{
    for (size_t i = m->step_count; i-- > 0;) {
        const struct step *step = &m->steps[i];

        for (size_t j = 0; step->pinned && j < step->wait_count; j++)
            m->steps[step->waits[j]].pinned = 1;
    }
}

/* --- steps --- */

static struct step *step_new(struct model *m, enum step_kind kind,
                             const struct op *op, uint64_t from, uint64_t to)
{
    m->steps = grown(m->steps, m->step_count, sizeof(*m->steps));
    struct step *step = &m->steps[m->step_count++];
    *step = (struct step){ .kind = kind, .op = op, .from = from, .to = to };
    pin(m, step);
    return step;
}

static void wait_for(struct step *step, ptrdiff_t other)
{
    if (other != NO_STEP)
        step->waits[step->wait_count++] = (size_t)other;
}

/* Puts the newest step behind all others in its cell. Only a dropped step waits
 * for a dropped one. */
static void follow(struct model *m, struct cell *cell)
{
    ptrdiff_t self = (ptrdiff_t)m->step_count - 1;
    struct step *step = &m->steps[self];

    wait_for(step, cell->last);
    if (step->dropped) {
        wait_for(step, cell->dropped);
        cell->dropped = self;
    } else {
        cell->last = self;
    }
}

/* The last truncation that cut any of these bytes. */
static ptrdiff_t last_cut(const struct model *m, uint32_t node, uint64_t start,
                          uint64_t end)
{
    for (size_t i = m->step_count; i-- > 0;) {
        const struct step *s = &m->steps[i];

        if (s->kind == STEP_CUT && s->op->node == node && !s->dropped &&
            s->to < end && s->from > start)
            return (ptrdiff_t)i;
    }
    return NO_STEP;
}

static void add_data(struct model *m, const struct op *op, struct split split)
{
    uint64_t at = op->offset, end = op->offset + op->len;

    while (at < end) {
        uint64_t block = at / BLOCK_BYTES;
        uint64_t unit = split.node == op->node && split.block == block
                            ? SECTOR_BYTES
                            : BLOCK_BYTES;
        uint64_t start = at / unit * unit;
        uint64_t to = start + unit < end ? start + unit : end;
        struct cell *cell = cell_of(m, CELL_DATA, op->node, start, NULL);
        ptrdiff_t cut = last_cut(m, op->node, start, start + unit);

        wait_for(step_new(m, STEP_DATA, op, at, to), cut);
        follow(m, cell);
        at = to;
    }
}

/* A step for every size on the way from the old one to the end of the write. */
static void add_growth(struct model *m, const struct op *op)
{
    struct cell *cell = cell_of(m, CELL_SIZE, op->node, 0, NULL);
    uint64_t end = op->offset + op->len;
    uint64_t size = cell->value > op->offset ? cell->value : op->offset;

    if (op->len == 0 || end <= cell->value)
        return;
    while (size < end) {
        size = (size / BLOCK_BYTES + 1) * BLOCK_BYTES;
        if (size > end)
            size = end;
        step_new(m, STEP_GROW, op, 0, size);
        follow(m, cell);
    }
    cell->value = end;
}

static void add_resize(struct model *m, const struct op *op)
{
    struct cell *cell = cell_of(m, CELL_SIZE, op->node, 0, NULL);
    int cuts = op->offset < cell->value;

    step_new(m, cuts ? STEP_CUT : STEP_GROW, op, cell->value, op->offset);
    follow(m, cell);
    cell->value = op->offset;
}

/* One step that leads one name, or two, to `nodes`. -EINVAL if a name is not
 * there that `must_be`, or is there that must not be (EITHER: as it likes). */
static int add_names(struct model *m, const struct op *op,
                     const uint32_t nodes[2], const int must_be[2])
{
    int count = op->dir[1] ? 2 : 1, err = 0;
    struct step *step = step_new(m, STEP_NAME, op, 0, 0);

    for (int i = 0; i < count; i++) {
        struct cell *cell = cell_of(m, CELL_NAME, op->dir[i], 0, op->name[i]);

        if (must_be[i] != EITHER && must_be[i] != (cell->value != 0))
            err = -EINVAL;
        step->leads_to[i] = nodes[i];
        cell->value = nodes[i];
        follow(m, cell);
    }
    return err;
}

static int add_rename(struct model *m, const struct op *op)
{
    uint64_t from = cell_of(m, CELL_NAME, op->dir[0], 0, op->name[0])->value;
    uint64_t to = cell_of(m, CELL_NAME, op->dir[1], 0, op->name[1])->value;
    int exchange = op->kind == OP_EXCHANGE;
    uint32_t nodes[2] = { exchange ? (uint32_t)to : 0, (uint32_t)from };

    return add_names(m, op, nodes, (int[]){ 1, exchange ? 1 : EITHER });
}

static int add(struct model *m, const struct op *op, struct split split)
{
    switch (op->kind) {
    case OP_CREATE:
    case OP_LINK:
        if (!op->dir[0])
            return 0;
        return add_names(m, op, (uint32_t[]){ op->node, 0 }, (int[]){ 0, 0 });
    case OP_UNLINK:
        return add_names(m, op, (uint32_t[]){ 0, 0 }, (int[]){ 1, 0 });
    case OP_RENAME:
    case OP_EXCHANGE: return add_rename(m, op);
    case OP_WRITE:
        add_data(m, op, split);
        add_growth(m, op);
        return 0;
    case OP_RESIZE: add_resize(m, op); return 0;
    case OP_ACK: m->ack_count++; return 0;
    case OP_FSYNC:
    case OP_LOST:
    case OP_SYNCFS:
    case OP_UNSEEN: return 0;
    }
    return 0;
}

int model_build(struct model *m, const struct ops *ops, uint64_t point,
                struct split split, const struct op **wrong_out)
{
    int err = 0;

    model_free(m);
    m->ops = ops;
    m->point = point;
    for (size_t i = 0; i < ops->op_count && !err; i++) {
        const struct op *op = &ops->ops[i];

        if (op->enter > point)
            continue;
        /* Of calls that overlap, the point may have one without the other that
         * took effect first: names are held against it at the end only. */
        err = add(m, op, split);
        if (err && point != NEVER)
            err = 0;
        if (err)
            *wrong_out = op;
    }
    pin_what_is_waited_for(m);
    return err;
}

void model_free(struct model *model)
{
    free(model->steps);
    free(model->cells);
    *model = (struct model){ 0 };
}
