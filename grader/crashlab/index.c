/*
 * Sorts syncs, names and blocks, so that nobody has to search for them.
 * SPDX-License-Identifier: MIT
 */
#include "index.h"

#include <stdlib.h>
#include <string.h>

static void *array(size_t count, size_t size)
{
    void *items = calloc(count + 1, size);

    if (!items)
        out_of_memory();
    return items;
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* --- pins --- */

/* The syncs that were entered after some position: for each node the one that
 * was over first, and those that failed, the earliest first. */
struct syncs {
    uint64_t *over; /* by node; [0]: of the whole file system */
    const struct op **lost;
    const struct op **next_lost; /* by operation */
    const struct op *ops;
};

static int later_entry_first(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a;
    const struct op *y = *(const struct op *const *)b;

    return order(y->enter, x->enter);
}

static int later_exit_first(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a;
    const struct op *y = *(const struct op *const *)b;

    return order(y->exit, x->exit);
}

static void add_sync(struct syncs *s, const struct op *sync)
{
    uint32_t node = sync->kind == OP_SYNCFS ? 0 : sync->node;

    if (sync->kind == OP_LOST) {
        s->next_lost[sync - s->ops] = s->lost[node];
        s->lost[node] = sync;
    } else if (sync->exit < s->over[node]) {
        s->over[node] = sync->exit;
    }
}

/* When a sync of `node` that covers `op` was over. A write with O_SYNC is its
 * own: no other that covers it ends sooner. */
static uint64_t pinned_after(const struct syncs *s, const struct op *op,
                             uint32_t node)
{
    if (op->dsync)
        return op->exit;
    return s->over[node] < s->over[0] ? s->over[node] : s->over[0];
}

/* When a sync that covers `op` first failed, none being over by then. */
static uint64_t dropped_from(const struct syncs *s, uint32_t node,
                             uint64_t pinned)
{
    for (const struct op *lost = s->lost[node]; lost && lost->enter <= pinned;
         lost = s->next_lost[lost - s->ops]) {
        if (lost->exit <= pinned)
            return lost->enter;
    }
    return NEVER;
}

/* A name needs the sync of its directory, a rename that of both. */
static void decide(const struct syncs *s, const struct op *op,
                   struct fate *fate)
{
    uint32_t nodes[2] = { op->node, 0 };

    if (op->dir[0]) {
        nodes[0] = op->dir[0];
        nodes[1] = op->dir[1];
    }
    fate->pinned_after = 0;
    fate->dropped_from = NEVER;
    for (int i = 0; i < 2 && nodes[i]; i++) {
        uint64_t pinned = pinned_after(s, op, nodes[i]);
        uint64_t dropped = dropped_from(s, nodes[i], pinned);

        if (pinned > fate->pinned_after)
            fate->pinned_after = pinned;
        if (dropped < fate->dropped_from)
            fate->dropped_from = dropped;
    }
}

/* From the last operation to return back to the first, with all the syncs that
 * were entered after it. */
static void find_pins(struct index *index)
{
    const struct ops *ops = index->ops;
    const struct op **by_exit = array(ops->op_count, sizeof(*by_exit));
    const struct op **syncs = array(ops->op_count, sizeof(*syncs));
    struct syncs s = { array(ops->node_count, sizeof(*s.over)),
                       array(ops->node_count, sizeof(*s.lost)),
                       array(ops->op_count, sizeof(*s.next_lost)), ops->ops };
    size_t count = 0, added = 0;

    for (size_t i = 0; i < ops->node_count; i++)
        s.over[i] = NEVER;
    for (size_t i = 0; i < ops->op_count; i++) {
        const struct op *op = &ops->ops[i];

        by_exit[i] = op;
        if (op->kind == OP_FSYNC || op->kind == OP_SYNCFS ||
            op->kind == OP_LOST)
            syncs[count++] = op;
    }
    qsort(by_exit, ops->op_count, sizeof(*by_exit), later_exit_first);
    qsort(syncs, count, sizeof(*syncs), later_entry_first);
    for (size_t i = 0; i < ops->op_count; i++) {
        while (added < count && syncs[added]->enter > by_exit[i]->exit)
            add_sync(&s, syncs[added++]);
        decide(&s, by_exit[i], &index->fates[by_exit[i] - ops->ops]);
    }
    free(by_exit);
    free(syncs);
    free(s.over);
    free(s.lost);
    free(s.next_lost);
}

/* --- names --- */

static int by_directory(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->dir != y->dir ? order(x->dir, y->dir) : strcmp(x->name, y->name);
}

/* What leads somewhere at the start comes before the same name that is only
 * mentioned. */
static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int differ = by_directory(a, b);

    return differ ? differ : order(!x->node, !y->node);
}

static void collect_names(struct index *index)
{
    const struct ops *ops = index->ops;
    size_t count = 0;

    index->names =
        array(ops->entry_count + 2 * ops->op_count, sizeof(*index->names));
    for (size_t i = 0; i < ops->entry_count; i++)
        index->names[count++] = ops->entries[i];
    for (size_t i = 0; i < ops->op_count; i++) {
        const struct op *op = &ops->ops[i];

        for (int j = 0; j < 2 && op->dir[j]; j++)
            index->names[count++] =
                (struct entry){ op->dir[j], op->name[j], 0 };
    }
    qsort(index->names, count, sizeof(*index->names), by_name);
    for (size_t i = 0; i < count; i++) {
        struct entry *last = index->names + index->name_count;

        if (i == 0 || by_directory(last - 1, &index->names[i]) != 0) {
            *last = index->names[i];
            index->name_count++;
        }
    }
}

static void find_names(struct index *index)
{
    const struct ops *ops = index->ops;
    size_t at = 0;

    collect_names(index);
    index->first_name = array(ops->node_count + 1, sizeof(*index->first_name));
    for (size_t node = 0; node <= ops->node_count; node++) {
        while (at < index->name_count && index->names[at].dir < node)
            at++;
        index->first_name[node] = at;
    }
    for (size_t i = 0; i < ops->op_count; i++) {
        const struct op *op = &ops->ops[i];

        for (int j = 0; j < 2 && op->dir[j]; j++) {
            struct entry key = { op->dir[j], op->name[j], 0 };
            struct entry *found = bsearch(&key, index->names, index->name_count,
                                          sizeof(*index->names), by_directory);
            index->fates[i].name[j] = (size_t)(found - index->names);
        }
    }
}

/* --- blocks --- */

struct block {
    uint32_t node;
    uint64_t first, end; /* of a write; `first` becomes the number of it */
    size_t op;
};

static int by_place(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    return x->node != y->node ? order(x->node, y->node)
                              : order(x->first, y->first);
}

/* Numbers the blocks that are written in the order of their places. */
static void find_blocks(struct index *index)
{
    const struct ops *ops = index->ops;
    struct block *writes = array(ops->op_count, sizeof(*writes));
    uint64_t end = 0; /* of the blocks of this file that have a number */
    size_t count = 0;

    for (size_t i = 0; i < ops->op_count; i++) {
        const struct op *op = &ops->ops[i];

        if (op->kind == OP_WRITE && op->len > 0)
            writes[count++] =
                (struct block){ op->node, op->offset / BLOCK_BYTES,
                                (op->offset + op->len - 1) / BLOCK_BYTES + 1,
                                i };
    }
    qsort(writes, count, sizeof(*writes), by_place);
    for (size_t i = 0; i < count; i++) {
        const struct block *w = &writes[i];
        uint64_t from = w->first;

        if (i == 0 || w->node != w[-1].node)
            end = 0;
        if (from < end)
            from = end;
        if (end < w->end) {
            index->block_count += (size_t)(w->end - from);
            end = w->end;
        }
        index->fates[w->op].block = index->block_count -
                                    (size_t)(end - w->first);
    }
    free(writes);
}

void index_build(struct index *index, const struct ops *ops)
{
    *index = (struct index){ .ops = ops };
    index->fates = array(ops->op_count, sizeof(*index->fates));
    find_pins(index);
    find_names(index);
    find_blocks(index);
}

void index_free(struct index *index)
{
    free(index->fates);
    free(index->names);
    free(index->first_name);
    *index = (struct index){ 0 };
}
