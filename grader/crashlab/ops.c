/*
 * Reads an operations file: strictly, a line at a time, in place.
 * SPDX-License-Identifier: MIT
 */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The rest of the line that is being read, and the first thing wrong with it.
 * Once `why` is set nothing more is taken, so callers look once a line. */
struct reader {
    struct ops *ops;
    size_t line;
    char *rest; /* NULL: the line is used up */
    const char *why;
};

void out_of_memory(void)
{
    fputs("crashlab: out of memory\n", stderr);
    exit(3);
}

void *grown(void *items, size_t count, size_t item_size)
{
    if (count & (count - 1))
        return items; /* rooms are powers of two */
    items = realloc(items, (count ? 2 * count : 1) * item_size);
    if (!items)
        out_of_memory();
    return items;
}

static void complain(struct reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
}

/* Takes the next word off the line. Never NULL. */
static char *word(struct reader *r)
{
    char *start = r->rest;

    if (!start || *start == '\0' || *start == ' ' || r->why) {
        complain(r, "a word is missing");
        return "";
    }
    char *space = strchr(start, ' ');
    if (space)
        *space++ = '\0';
    r->rest = space;
    return start;
}

static uint64_t number(struct reader *r, uint64_t most)
{
    const char *p = word(r);
    uint64_t value = 0;

    if (*p == '\0' || (*p == '0' && p[1] != '\0'))
        complain(r, "not a number");
    for (; *p; p++) {
        if (*p < '0' || *p > '9') {
            complain(r, "not a number");
            return 0;
        }
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > most) {
            complain(r, "the number is too large");
            return 0;
        }
    }
    return value;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* Two hex digits, or -1. The second is looked at only if the first is one. */
static int hex_byte(const char *p)
{
    int high = hex(p[0]);
    int low = high < 0 ? -1 : hex(p[1]);

    return low < 0 ? -1 : high << 4 | low;
}

/* The bytes of `xHEX`, decoded over the word itself. */
static const uint8_t *bytes(struct reader *r, size_t *len_out)
{
    char *p = word(r);
    uint8_t *start = (uint8_t *)p, *out = start;

    if (*p++ != 'x')
        complain(r, "bytes begin with x");
    while (!r->why && *p) {
        int byte = hex_byte(p);

        if (byte < 0)
            complain(r, "bytes are pairs of lower-case hex digits");
        else
            *out++ = (uint8_t)byte;
        p += 2;
    }
    *len_out = (size_t)(out - start);
    return start;
}

static int is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static const char *name(struct reader *r)
{
    char *start = word(r), *out = start;

    for (char *p = start; !r->why && *p; out++) {
        int byte = *p == '%' ? hex_byte(p + 1) : is_plain(*p) ? *p : -1;

        if (byte <= 0 || byte == '/')
            complain(r, "not a name");
        p += *p == '%' ? 3 : 1;
        *out = (char)byte;
    }
    if (r->why)
        return "";
    *out = '\0';
    if (out - start > NAME_MAX_BYTES || !strcmp(start, ".") ||
        !strcmp(start, ".."))
        complain(r, "not a name");
    return start;
}

/* A new node; the ids between are left unused. */
static uint32_t new_node(struct reader *r, int is_dir)
{
    struct ops *ops = r->ops;
    uint32_t id = (uint32_t)number(r, NODE_ID_MAX);

    if (id == 0 || (id < ops->node_count && ops->nodes[id].exists))
        complain(r, "the node's number is taken");
    if (r->why)
        return 0;
    while (ops->node_count <= id) {
        ops->nodes = grown(ops->nodes, ops->node_count, sizeof(*ops->nodes));
        ops->nodes[ops->node_count++] = (struct node){ 0 };
    }
    ops->nodes[id].exists = 1;
    ops->nodes[id].is_dir = is_dir;
    return id;
}

static uint32_t known_node(struct reader *r)
{
    uint32_t id = (uint32_t)number(r, NODE_ID_MAX);

    if (!r->why && (id >= r->ops->node_count || !r->ops->nodes[id].exists))
        complain(r, "no such node");
    return r->why ? 0 : id;
}

static uint32_t known_dir(struct reader *r)
{
    uint32_t id = known_node(r);

    if (!r->why && !r->ops->nodes[id].is_dir)
        complain(r, "not a directory");
    return id;
}

static uint32_t known_file(struct reader *r)
{
    uint32_t id = known_node(r);

    if (!r->why && r->ops->nodes[id].is_dir)
        complain(r, "not a file");
    return id;
}

static int takes(struct reader *r, const char *text)
{
    if (!r->rest || strcmp(r->rest, text) != 0)
        return 0;
    r->rest = NULL;
    return 1;
}

static void read_create(struct reader *r, struct op *op)
{
    struct op made = { 0 };
    char *rest = r->rest;

    if (rest && rest[0] == '-' && rest[1] == ' ')
        r->rest = rest + 2;
    else {
        made.dir[0] = known_dir(r);
        made.name[0] = name(r);
    }
    /* The kind stands last and is wanted first. */
    char *space = r->rest ? strchr(r->rest, ' ') : NULL;
    int is_dir = space && strcmp(space + 1, "dir") == 0;
    made.node = new_node(r, is_dir);
    if (!takes(r, is_dir ? "dir" : "file") || (is_dir && !made.dir[0]))
        complain(r, "neither a file nor a directory");
    op->dir[0] = made.dir[0];
    op->name[0] = made.name[0];
    op->node = made.node;
}

static void read_write(struct reader *r, struct op *op)
{
    op->node = known_file(r);
    op->offset = number(r, FILE_MAX_BYTES);
    op->data = bytes(r, &op->len);
    op->dsync = takes(r, "dsync");
    if (op->offset + op->len > FILE_MAX_BYTES)
        complain(r, "the file is too large");
    if (r->why)
        return;
    struct node *node = &r->ops->nodes[op->node];
    if (node->extent < op->offset + op->len)
        node->extent = (size_t)op->offset + op->len;
}

static void read_resize(struct reader *r, struct op *op)
{
    op->node = known_file(r);
    op->offset = number(r, SIZE_MAX_BYTES);
}

static void read_link(struct reader *r, struct op *op)
{
    op->dir[0] = known_dir(r);
    op->name[0] = name(r);
    op->node = known_file(r);
}

static void read_unlink(struct reader *r, struct op *op)
{
    op->dir[0] = known_dir(r);
    op->name[0] = name(r);
}

static void read_rename(struct reader *r, struct op *op)
{
    for (int i = 0; i < 2; i++) {
        op->dir[i] = known_dir(r);
        op->name[i] = name(r);
    }
    if (!r->why && op->dir[0] == op->dir[1] &&
        strcmp(op->name[0], op->name[1]) == 0)
        complain(r, "a rename to itself does nothing");
}

static void read_sync(struct reader *r, struct op *op)
{
    op->node = known_node(r);
}

static void read_syncfs(struct reader *r, struct op *op)
{
    (void)r;
    (void)op;
}

static void read_text(struct reader *r, struct op *op)
{
    op->text = r->rest ? r->rest : "";
    r->rest = NULL;
}

static void read_unseen(struct reader *r, struct op *op)
{
    if (r->rest && r->rest[0] == '-' && r->rest[1] == ' ')
        r->rest += 2;
    else
        op->node = known_node(r);
    read_text(r, op);
}

static const struct verb {
    const char *name;
    enum op_kind kind;
    void (*read)(struct reader *r, struct op *op);
} verbs[] = {
    { "create", OP_CREATE, read_create },
    { "write", OP_WRITE, read_write },
    { "resize", OP_RESIZE, read_resize },
    { "link", OP_LINK, read_link },
    { "unlink", OP_UNLINK, read_unlink },
    { "rename", OP_RENAME, read_rename },
    { "exchange", OP_EXCHANGE, read_rename },
    { "fsync", OP_FSYNC, read_sync },
    { "fdatasync", OP_FSYNC, read_sync },
    { "lost", OP_LOST, read_sync },
    { "syncfs", OP_SYNCFS, read_syncfs },
    { "ack", OP_ACK, read_text },
    { "unseen", OP_UNSEEN, read_unseen },
};

static void read_op(struct reader *r)
{
    struct ops *ops = r->ops;
    struct op op = { .line = r->line };

    op.enter = number(r, NEVER / 16);
    if (r->rest && r->rest[0] == '-' && r->rest[1] == ' ') {
        op.exit = NEVER;
        r->rest += 2;
    } else {
        op.exit = number(r, NEVER / 16);
    }
    if (op.exit < op.enter)
        complain(r, "it returned before it was entered");
    const char *verb = word(r);
    size_t i = 0;
    while (i < sizeof(verbs) / sizeof(*verbs) && strcmp(verbs[i].name, verb))
        i++;
    if (i == sizeof(verbs) / sizeof(*verbs)) {
        complain(r, "no such operation");
        return;
    }
    op.kind = verbs[i].kind;
    verbs[i].read(r, &op);
    ops->ops = grown(ops->ops, ops->op_count, sizeof(op));
    ops->ops[ops->op_count++] = op;
}

static void read_file(struct reader *r)
{
    uint32_t id = new_node(r, 0);
    size_t len;
    const uint8_t *data = bytes(r, &len);

    if (r->why)
        return;
    r->ops->nodes[id].data = data;
    r->ops->nodes[id].len = len;
    r->ops->nodes[id].extent = len;
}

static void read_entry(struct reader *r)
{
    struct ops *ops = r->ops;
    struct entry entry = { 0 };

    entry.dir = known_dir(r);
    entry.name = name(r);
    entry.node = known_node(r);
    for (size_t i = 0; i < ops->entry_count && !r->why; i++) {
        if (ops->entries[i].dir == entry.dir &&
            strcmp(ops->entries[i].name, entry.name) == 0)
            complain(r, "the directory has that name already");
    }
    ops->entries = grown(ops->entries, ops->entry_count, sizeof(entry));
    ops->entries[ops->entry_count++] = entry;
}

/* Reads one line; 1 once it was `end`. */
static int read_line(struct reader *r)
{
    if (r->line == 1) {
        if (!takes(r, "crashlab-ops 1"))
            complain(r, "the first line is not `crashlab-ops 1`");
        return 0;
    }
    if (takes(r, "end"))
        return 1;
    const char *what = word(r);
    if (strcmp(what, "op") == 0)
        read_op(r);
    else if (r->ops->op_count > 0)
        complain(r, "what was there before stands before what was done");
    else if (strcmp(what, "dir") == 0)
        new_node(r, 1);
    else if (strcmp(what, "file") == 0)
        read_file(r);
    else if (strcmp(what, "entry") == 0)
        read_entry(r);
    else
        complain(r, "no such line");
    return 0;
}

int ops_parse(char *text, size_t len, struct ops *ops_out,
              struct ops_error *error_out)
{
    struct reader r = { .ops = ops_out };
    char *end = text + len;
    int ended = 0;

    *ops_out = (struct ops){ .text = text };
    *end = '\0';
    for (char *line = text; line < end && !r.why;) {
        char *newline = strchr(line, '\n'); /* stops at a zero byte too */

        r.line++;
        if (!newline) {
            complain(&r, "the line is cut");
            break;
        }
        if (ended)
            complain(&r, "something follows the end");
        *newline = '\0';
        r.rest = line;
        ended = read_line(&r);
        if (r.rest)
            complain(&r, "the line goes on");
        line = newline + 1;
    }
    if (!ended && !r.why) {
        r.line++;
        complain(&r, "the file is cut: `end` is missing");
    }
    if (!r.why &&
        (ops_out->node_count <= ROOT_ID || !ops_out->nodes[ROOT_ID].is_dir))
        complain(&r, "node 1 is not a directory");
    *error_out = (struct ops_error){ r.line, r.why };
    return r.why ? -EINVAL : 0;
}

int ops_read(int fd, struct ops *ops_out, struct ops_error *error_out)
{
    size_t room = 1 << 16, len = 0;
    char *text = NULL;

    *ops_out = (struct ops){ 0 };
    for (;;) {
        if (!text || room - len < 2)
            text = realloc(text, room *= 2);
        if (!text)
            return -ENOMEM;
        ssize_t n = read(fd, text + len, room - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return -errno;
        }
        if (n == 0)
            return ops_parse(text, len, ops_out, error_out);
        len += (size_t)n;
    }
}

void ops_free(struct ops *ops)
{
    free(ops->text);
    free(ops->nodes);
    free(ops->entries);
    free(ops->ops);
    *ops = (struct ops){ 0 };
}

const struct op *ops_unseen(const struct ops *ops)
{
    for (size_t i = 0; i < ops->op_count; i++) {
        if (ops->ops[i].kind == OP_UNSEEN)
            return &ops->ops[i];
    }
    return NULL;
}
