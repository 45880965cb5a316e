/*
 * Enumerates sets of steps: everything kept first, nothing but the pinned last.
 * SPDX-License-Identifier: MIT
 *
 * The steps that are not pinned are digits of a number, 1 for kept, and the
 * search counts down. A step whose predecessors are not all kept has no choice.
 * Of two sets that hold the same disk the larger one comes first, so that what
 * is visited has lost only what shows.
 */
#include "search.h"

#include <stdlib.h>

#include "digest.h"
#include "disk.h"

/* One crash point, or one split block of it. */
struct sets {
    struct model model;
    struct split split;
    uint8_t *kept;
    size_t *open; /* the steps that are not pinned */
    size_t open_count;
};

static int may_keep(const struct sets *s, size_t step)
{
    const struct step *at = &s->model.steps[step];

    for (size_t i = 0; i < at->wait_count; i++) {
        if (!s->kept[at->waits[i]])
            return 0;
    }
    return 1;
}

/* Keeps every step that can be kept, from the `from`th open one on. */
static void keep_all(struct sets *s, size_t from)
{
    for (size_t i = from; i < s->open_count; i++)
        s->kept[s->open[i]] = (uint8_t)may_keep(s, s->open[i]);
}

/* The next set; 0 if there is none. */
static int next_set(struct sets *s)
{
    for (size_t i = s->open_count; i-- > 0;) {
        if (s->kept[s->open[i]]) {
            s->kept[s->open[i]] = 0;
            keep_all(s, i + 1);
            return 1;
        }
    }
    return 0;
}

/* --- what the search does with a set --- */

struct hunt {
    struct search *search;
    struct seen seen;
    struct disk disk;
};

static int look_at(struct hunt *hunt, const struct sets *s)
{
    struct search *search = hunt->search;
    struct state state = { .number = search->states,
                           .model = &s->model,
                           .kept = s->kept,
                           .disk = &hunt->disk,
                           .split = s->split };

    disk_of(&hunt->disk, &s->model, s->kept);
    if (!seen_add(&hunt->seen, disk_digest(&hunt->disk, s->model.ack_count)))
        return 0;
    for (size_t i = 0; i < s->open_count; i++)
        state.lost += !s->kept[s->open[i]];
    search->states++;
    return search->visit(search->arg, &state);
}

/* --- all sets, or a few --- */

static int within_cap(struct sets *s, size_t cap)
{
    size_t count = 1;

    keep_all(s, 0);
    while (count <= cap && next_set(s))
        count++;
    return count <= cap;
}

static int all_sets(struct hunt *hunt, struct sets *s)
{
    keep_all(s, 0);
    for (;;) {
        int stop = look_at(hunt, s);

        if (stop || !next_set(s))
            return stop;
    }
}

/* Everything but two steps (the same one twice: but one) and what waits. */
static void lose(struct sets *s, size_t first, size_t second)
{
    for (size_t i = 0; i < s->open_count; i++)
        s->kept[s->open[i]] = i != first && i != second &&
                              may_keep(s, s->open[i]);
}

/* Nothing but two steps and what they wait for. */
static void keep(struct sets *s, size_t first, size_t second)
{
    for (size_t i = 0; i < s->open_count; i++)
        s->kept[s->open[i]] = i == first || i == second;
    for (size_t i = s->open_count; i-- > 0;) {
        const struct step *step = &s->model.steps[s->open[i]];

        for (size_t j = 0; s->kept[s->open[i]] && j < step->wait_count; j++)
            s->kept[step->waits[j]] = 1;
    }
}

/* Up to two deviations from both extremes, and no more than the cap of each. */
static int few_sets(struct hunt *hunt, struct sets *s)
{
    size_t n = s->open_count, tried = 0;
    int stop;

    keep_all(s, 0);
    stop = look_at(hunt, s);
    keep(s, n, n);
    stop = stop ? stop : look_at(hunt, s);
    for (size_t apart = 0; apart < n; apart++) {
        for (size_t i = 0; i + apart < n && tried < hunt->search->cap; i++) {
            tried++;
            lose(s, i, i + apart);
            stop = stop ? stop : look_at(hunt, s);
            keep(s, i, i + apart);
            stop = stop ? stop : look_at(hunt, s);
            if (stop)
                return stop;
        }
    }
    return stop;
}

/* --- crash points --- */

static void sets_begin(struct sets *s, struct search *search, uint64_t point,
                       struct split split)
{
    const struct op *wrong;

    model_build(&s->model, search->ops, point, split, &wrong);
    s->split = split;
    s->open_count = 0;
    s->kept = realloc(s->kept, s->model.step_count + 1);
    s->open = realloc(s->open, (s->model.step_count + 1) * sizeof(*s->open));
    if (!s->kept || !s->open)
        out_of_memory();
    for (size_t i = 0; i < s->model.step_count; i++) {
        s->kept[i] = (uint8_t)s->model.steps[i].pinned;
        if (!s->kept[i])
            s->open[s->open_count++] = i;
    }
}

static int try_sets(struct hunt *hunt, struct sets *s, int *bounded)
{
    if (within_cap(s, hunt->search->cap))
        return all_sets(hunt, s);
    *bounded = 1;
    return few_sets(hunt, s);
}

static int in_flight(const struct step *s)
{
    return s->kind == STEP_DATA && !s->pinned;
}

static struct split block_of(const struct step *s)
{
    return (struct split){ s->op->node, s->from / BLOCK_BYTES };
}

/* Whether a step before the `end`th is in flight on the same block. */
static int is_split_already(const struct model *m, struct split split,
                            size_t end)
{
    for (size_t i = 0; i < end; i++) {
        struct split other = block_of(&m->steps[i]);

        if (in_flight(&m->steps[i]) && other.node == split.node &&
            other.block == split.block)
            return 1;
    }
    return 0;
}

/* The next block, in program order, that could be torn at this point. */
static int next_split(const struct model *m, size_t *step, struct split *split)
{
    while (*step < m->step_count) {
        const struct step *s = &m->steps[(*step)++];

        *split = block_of(s);
        if (in_flight(s) && !is_split_already(m, *split, *step - 1))
            return 1;
    }
    return 0;
}

static int try_point(struct hunt *hunt, struct sets *whole, struct sets *torn,
                     uint64_t point)
{
    struct split split = { 0, 0 };
    size_t step = 0;
    int bounded = 0;

    sets_begin(whole, hunt->search, point, split);
    int stop = try_sets(hunt, whole, &bounded);
    while (!stop && hunt->search->profile == PROFILE_TORN512 &&
           next_split(&whole->model, &step, &split)) {
        sets_begin(torn, hunt->search, point, split);
        stop = try_sets(hunt, torn, &bounded);
    }
    hunt->search->points++;
    hunt->search->bounded += (size_t)bounded;
    return stop;
}

static void sets_free(struct sets *s)
{
    model_free(&s->model);
    free(s->kept);
    free(s->open);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The positions at which calls were entered, in order; one before them all. */
static uint64_t *crash_points(const struct ops *ops, size_t *count_out)
{
    uint64_t *points = malloc((ops->op_count + 1) * sizeof(*points));
    size_t count = 1;

    if (!points)
        out_of_memory();
    points[0] = 0;
    for (size_t i = 0; i < ops->op_count; i++)
        points[i + 1] = ops->ops[i].enter;
    qsort(points, ops->op_count + 1, sizeof(*points), by_value);
    for (size_t i = 1; i <= ops->op_count; i++) {
        if (points[i] != points[count - 1])
            points[count++] = points[i];
    }
    *count_out = count;
    return points;
}

int search_run(struct search *search, const struct op **wrong_out)
{
    struct hunt hunt = { .search = search };
    struct sets whole = { 0 }, torn = { 0 };
    size_t count;
    int stop = model_build(&whole.model, search->ops, NEVER,
                           (struct split){ 0, 0 }, wrong_out);
    uint64_t *points = crash_points(search->ops, &count);

    search->states = search->points = search->bounded = 0;
    for (size_t i = 0; i < count && !stop; i++)
        stop = try_point(&hunt, &whole, &torn, points[i]);
    free(points);
    sets_free(&whole);
    sets_free(&torn);
    seen_free(&hunt.seen);
    disk_free(&hunt.disk);
    return stop;
}
