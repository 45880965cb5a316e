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
#include "own.h"

/* One crash point, or one split block of it. */
struct sets {
    struct model model;
    struct split split;
    uint8_t *kept;
    size_t *open; /* the steps that are not pinned */
    size_t open_count;
    size_t *tried; /* of these, by index: those that a bounded search varies */
    size_t tried_count;
    size_t room;
    size_t limit; /* of sets */
};

/* One block of memory for all arrays. */
static size_t bytes_of(const struct sets *s)
{
    return s->room * (2 * sizeof(*s->open) + 1);
}

static void make_room(struct sets *s)
{
    if (s->model.step_count < s->room)
        return;
    own_free(s->open, bytes_of(s));
    s->room = 2 * (s->model.step_count + 1);
    s->open = own_new(bytes_of(s));
    s->tried = s->open + s->room;
    s->kept = (uint8_t *)(s->tried + s->room);
}

static struct split block_of(const struct step *s)
{
    return (struct split){ s->op->node, s->from / BLOCK_BYTES };
}

static int is_in(const struct step *s, struct split split)
{
    struct split own = block_of(s);

    return s->kind == STEP_DATA && own.node == split.node &&
           own.block == split.block;
}

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
    struct index index;
    size_t point_count;
    struct seen seen;
    size_t ack_count; /* promises of what was seen */
    struct disk disk;
    struct split *torn; /* blocks in flight at this point */
    size_t torn_count;
    size_t *torn_at; /* by block: the last point at which it was one of them */
};

static int look_at(struct hunt *hunt, const struct sets *s)
{
    struct search *search = hunt->search;
    struct state state = { .number = search->states,
                           .model = &s->model,
                           .kept = s->kept,
                           .disk = &hunt->disk,
                           .split = s->split };

    if (hunt->ack_count != s->model.ack_count)
        seen_clear(&hunt->seen); /* no earlier pair comes again */
    hunt->ack_count = s->model.ack_count;
    disk_of(&hunt->disk, s->kept);
    if (!seen_add(&hunt->seen, disk_digest(&hunt->disk, s->model.ack_count)))
        return 0;
    for (size_t i = 0; i < s->open_count; i++)
        state.lost += !s->kept[s->open[i]];
    search->states++;
    return search->visit(search->arg, &state);
}

/* --- all sets, or a few --- */

static int within_limit(struct sets *s)
{
    size_t count = 1;

    if (s->open_count >= s->limit) /* there is one more set than open steps */
        return 0;
    keep_all(s, 0);
    while (count <= s->limit && next_set(s))
        count++;
    return count <= s->limit;
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

/* Chooses the steps to vary: all, or of a torn block those in it, or of too many
 * some, as far from one another as can be. */
static void choose(struct sets *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->open_count; i++) {
        const struct step *step = &s->model.steps[s->open[i]];

        if (s->open_count <= s->limit || !s->split.node ||
            is_in(step, s->split))
            s->tried[count++] = i;
    }
    if (count <= s->limit || s->limit < 2) {
        s->tried_count = count < s->limit ? count : s->limit;
        return;
    }
    s->tried_count = s->limit;
    for (size_t i = 0; i < s->limit; i++)
        s->tried[i] = s->tried[i * (count - 1) / (s->limit - 1)];
}

/* Up to two deviations from both extremes, and no more than the limit of each. */
static int few_sets(struct hunt *hunt, struct sets *s)
{
    size_t tried = 0;
    int stop;

    choose(s);
    keep_all(s, 0);
    stop = look_at(hunt, s);
    keep(s, s->open_count, s->open_count);
    stop = stop ? stop : look_at(hunt, s);
    for (size_t apart = 0; apart < s->tried_count; apart++) {
        for (size_t i = 0; i + apart < s->tried_count && tried < s->limit;
             i++) {
            size_t first = s->tried[i], second = s->tried[i + apart];

            tried++;
            lose(s, first, second);
            stop = stop ? stop : look_at(hunt, s);
            keep(s, first, second);
            stop = stop ? stop : look_at(hunt, s);
            if (stop)
                return stop;
        }
    }
    return stop;
}

/* --- crash points --- */

/* How many sets may be tried of `kinds` kinds at each crash point. */
static size_t limit(const struct hunt *hunt, size_t kinds)
{
    return hunt->search->cap /
           (1 + hunt->point_count * kinds * hunt->disk.cost / SEARCH_WORK);
}

static void sets_begin(struct sets *s, struct hunt *hunt, uint64_t point,
                       struct split split)
{
    const struct op *wrong;

    model_build(&s->model, &hunt->index, point, split, &wrong);
    disk_begin(&hunt->disk, &s->model);
    make_room(s);
    s->split = split;
    s->open_count = 0;
    for (size_t i = 0; i < s->model.step_count; i++) {
        s->kept[i] = (uint8_t)s->model.steps[i].pinned;
        if (!s->kept[i])
            s->open[s->open_count++] = i;
    }
}

static int try_sets(struct hunt *hunt, struct sets *s, int *bounded)
{
    if (within_limit(s))
        return all_sets(hunt, s);
    *bounded = 1;
    return few_sets(hunt, s);
}

/* The blocks, in program order, that could be torn at this point. */
static void find_torn(struct hunt *hunt, const struct model *m)
{
    hunt->torn_count = 0;
    for (size_t i = 0; i < m->step_count; i++) {
        const struct step *s = &m->steps[i];

        if (s->kind != STEP_DATA || s->pinned)
            continue;
        size_t *at = &hunt->torn_at[model_block(m, s)];
        if (*at == hunt->search->points + 1)
            continue;
        *at = hunt->search->points + 1;
        hunt->torn[hunt->torn_count++] = block_of(s);
    }
}

/* Tears one block after another; where they are too many, some of them. */
static int try_torn(struct hunt *hunt, struct sets *whole, struct sets *torn,
                    uint64_t point, int *bounded)
{
    int stop = 0;

    find_torn(hunt, &whole->model);
    size_t most = 1 + limit(hunt, 1);
    size_t count = hunt->torn_count < most ? hunt->torn_count : most;
    *bounded |= count < hunt->torn_count;
    for (size_t i = 0; i < count && !stop; i++) {
        sets_begin(torn, hunt, point, hunt->torn[i * hunt->torn_count / count]);
        torn->limit = limit(hunt, count);
        stop = try_sets(hunt, torn, bounded);
    }
    return stop;
}

static int try_point(struct hunt *hunt, struct sets *whole, struct sets *torn,
                     uint64_t point)
{
    int bounded = 0;

    sets_begin(whole, hunt, point, (struct split){ 0, 0 });
    whole->limit = limit(hunt, 1);
    int stop = try_sets(hunt, whole, &bounded);
    if (!stop && hunt->search->profile == PROFILE_TORN512)
        stop = try_torn(hunt, whole, torn, point, &bounded);
    hunt->search->points++;
    hunt->search->bounded += (size_t)bounded;
    return stop;
}

static void sets_free(struct sets *s)
{
    model_free(&s->model);
    own_free(s->open, bytes_of(s));
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

static void hunt_begin(struct hunt *hunt)
{
    size_t blocks;

    index_build(&hunt->index, hunt->search->ops);
    blocks = hunt->index.block_count + 1;
    hunt->torn = calloc(blocks, sizeof(*hunt->torn));
    hunt->torn_at = calloc(blocks, sizeof(*hunt->torn_at));
    if (!hunt->torn || !hunt->torn_at)
        out_of_memory();
}

static void hunt_end(struct hunt *hunt)
{
    free(hunt->torn);
    free(hunt->torn_at);
    seen_clear(&hunt->seen);
    disk_free(&hunt->disk);
    index_free(&hunt->index);
}

int search_run(struct search *search, const struct op **wrong_out)
{
    struct hunt hunt = { .search = search };
    struct sets whole = { 0 }, torn = { 0 };

    hunt_begin(&hunt);
    int stop = model_build(&whole.model, &hunt.index, NEVER,
                           (struct split){ 0, 0 }, wrong_out);
    uint64_t *points = crash_points(search->ops, &hunt.point_count);

    search->states = search->points = search->bounded = 0;
    for (size_t i = 0; i < hunt.point_count && !stop; i++)
        stop = try_point(&hunt, &whole, &torn, points[i]);
    free(points);
    search->forgotten = hunt.seen.forgotten;
    sets_free(&whole);
    sets_free(&torn);
    hunt_end(&hunt);
    return stop;
}
