/*
 * Turns operations into steps, and works out which of them are pinned.
 * SPDX-License-Identifier: MIT
 */
#include "model.h"

#include <errno.h>
#include <stdlib.h>

enum { NO_STEP = -1, EITHER = -1, SECTORS = BLOCK_BYTES / SECTOR_BYTES };

/* Where versions follow one another: a block (or a sector), a size, a name. */
struct cell {
    uint64_t value;    /* in program order: the size, or where the name leads */
    ptrdiff_t last;    /* its last step that no failed sync covered */
    ptrdiff_t dropped; /* its last step that one did cover */
    ptrdiff_t cut;     /* of a size: the file's last cut; of a block: the last
                          that cut it, among all up to `cut_seen` */
    ptrdiff_t cut_seen;
};

/* Cells stand in one array: sectors of the split block, blocks, sizes, names. */
static struct cell *block_cell(const struct model *m, size_t block)
{
    return m->cells + SECTORS + block;
}

static struct cell *size_cell(const struct model *m, uint32_t node)
{
    return block_cell(m, m->index->block_count) + node;
}

static struct cell *name_cell(const struct model *m, size_t name)
{
    return size_cell(m, (uint32_t)m->ops->node_count) + name;
}

static void begin_cells(struct model *m)
{
    const struct index *index = m->index;
    size_t count = (size_t)(name_cell(m, index->name_count) - m->cells);

    if (!m->cells)
        m->cells = malloc(count * sizeof(*m->cells));
    if (!m->cells)
        out_of_memory();
    for (size_t i = 0; i < count; i++)
        m->cells[i] = (struct cell){ 0, NO_STEP, NO_STEP, NO_STEP, NO_STEP };
    for (size_t i = 0; i < m->ops->node_count; i++)
        size_cell(m, (uint32_t)i)->value = m->ops->nodes[i].len;
    for (size_t i = 0; i < index->name_count; i++)
        name_cell(m, i)->value = index->names[i].node;
}

const struct fate *model_fate(const struct model *m, const struct step *step)
{
    return &m->index->fates[step->op - m->ops->ops];
}

size_t model_block(const struct model *m, const struct step *step)
{
    return model_fate(m, step)->block +
           (size_t)(step->from / BLOCK_BYTES - step->op->offset / BLOCK_BYTES);
}

/* --- pins --- */

static void pin(const struct model *m, struct step *step)
{
    const struct fate *fate = model_fate(m, step);

    step->dropped = fate->dropped_from <= m->point;
    step->pinned = fate->pinned_after < m->point && !step->dropped;
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
    if (m->step_count == m->step_room) {
        m->step_room = m->step_room ? 2 * m->step_room : 64;
        m->steps = realloc(m->steps, m->step_room * sizeof(*m->steps));
        if (!m->steps)
            out_of_memory();
    }
    struct step *step = &m->steps[m->step_count++];
    *step = (struct step){ .kind = kind, .op = op, .from = from, .to = to };
    pin(m, step);
    return step;
}

static void wait_for(struct step *step, ptrdiff_t other)
{
    if (other != NO_STEP)
        step->waits[step->wait_count++] = (uint32_t)other;
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

/* The last truncation that cut any of these bytes. Cuts of a file are linked
 * from the last to the first, and a block walks over each of them once. */
static ptrdiff_t last_cut(const struct model *m, uint32_t node,
                          struct cell *cell, uint64_t start, uint64_t end)
{
    ptrdiff_t newest = size_cell(m, node)->cut;

    for (ptrdiff_t i = newest; i != cell->cut_seen;
         i = m->steps[i].cut_before) {
        if (m->steps[i].to < end && m->steps[i].from > start) {
            cell->cut = i;
            break;
        }
    }
    cell->cut_seen = newest;
    return cell->cut;
}

static void add_data(struct model *m, const struct op *op, struct split split)
{
    uint64_t at = op->offset, end = op->offset + op->len;

    while (at < end) {
        uint64_t block = at / BLOCK_BYTES;
        int torn = split.node == op->node && split.block == block;
        uint64_t unit = torn ? SECTOR_BYTES : BLOCK_BYTES;
        uint64_t start = at / unit * unit;
        uint64_t to = start + unit < end ? start + unit : end;
        struct step *step = step_new(m, STEP_DATA, op, at, to);
        struct cell *cell = torn ? m->cells + start % BLOCK_BYTES / unit
                                 : block_cell(m, model_block(m, step));

        wait_for(step, last_cut(m, op->node, cell, start, start + unit));
        follow(m, cell);
        at = to;
    }
}

/* A step for every size on the way from the old one to the end of the write. */
static void add_growth(struct model *m, const struct op *op)
{
    struct cell *cell = size_cell(m, op->node);
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
    struct cell *cell = size_cell(m, op->node);
    int cuts = op->offset < cell->value;

    struct step *step =
        step_new(m, cuts ? STEP_CUT : STEP_GROW, op, cell->value, op->offset);
    step->cut_before = cell->cut;
    if (cuts && !step->dropped)
        cell->cut = step - m->steps;
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
        struct cell *cell = name_cell(m, model_fate(m, step)->name[i]);

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
    const struct fate *fate = &m->index->fates[op - m->ops->ops];
    uint64_t from = name_cell(m, fate->name[0])->value;
    uint64_t to = name_cell(m, fate->name[1])->value;
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

int model_build(struct model *m, const struct index *index, uint64_t point,
                struct split split, const struct op **wrong_out)
{
    const struct ops *ops = index->ops;
    int err = 0;

    m->index = index;
    m->ops = ops;
    m->point = point;
    m->step_count = m->ack_count = 0;
    begin_cells(m);
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
