/*
 * What a program did to files: the operations file and how it is read.
 * SPDX-License-Identifier: MIT
 *
 * A text file, a line for each thing, words with one space between them. First
 * what was on the disk, durable, before the program began; then what it did, in
 * the order in which it took effect:
 *
 *   crashlab-ops 1
 *   dir 1                        node 1 is the directory that is looked at
 *   file 2 x666f6f               its bytes in hex; `x` alone for none
 *   entry 1 test.wal 2           directory 1 has this name for node 2
 *   op 3 3 create 1 new%20log 3 file
 *   op 4 7 write 3 0 x0102 dsync
 *   op 8 - fsync 3
 *   end
 *
 * After `op` stand two positions in the trace: where the call was entered and
 * where it returned, `-` if it never did. Positions only have to ascend. Then:
 *
 *   create DIR NAME ID file|dir       ID must be new; DIR may be `-` for a file
 *                                     without a name (O_TMPFILE)
 *   write ID OFFSET xHEX [dsync]      dsync: O_SYNC, O_DSYNC or RWF_DSYNC
 *   resize ID SIZE
 *   link DIR NAME ID
 *   unlink DIR NAME                   rmdir too
 *   rename DIR NAME DIR NAME
 *   exchange DIR NAME DIR NAME
 *   fsync ID                          fdatasync is the same, in this model
 *   lost ID                           a sync failed and dropped what it covered
 *   syncfs                            sync too
 *   ack TEXT                          it told somebody; TEXT to the end of line
 *   unseen ID|- WHAT                  it did what no trace shows, to ID or to any
 *
 * In a NAME every byte that is not a letter, a digit or one of `._-` is written
 * as %XX. Numbers are decimal. The last line is `end`, so that a file that was
 * cut is seen to be.
 */
#ifndef CRASHLAB_OPS_H
#define CRASHLAB_OPS_H

#include <stddef.h>
#include <stdint.h>

enum {
    ROOT_ID = 1,
    NODE_ID_MAX = 65535,
    NAME_MAX_BYTES = 255,
};

#define FILE_MAX_BYTES ((uint64_t)1 << 30) /* of data; a size may be larger */
#define SIZE_MAX_BYTES ((uint64_t)1 << 42)
#define NEVER          UINT64_MAX /* the exit of a call that did not return */

enum op_kind {
    OP_CREATE,
    OP_WRITE,
    OP_RESIZE,
    OP_LINK,
    OP_UNLINK,
    OP_RENAME,
    OP_EXCHANGE,
    OP_FSYNC,
    OP_LOST,
    OP_SYNCFS,
    OP_ACK,
    OP_UNSEEN,
};

struct op {
    enum op_kind kind;
    int dsync;
    uint64_t enter;
    uint64_t exit; /* or NEVER */
    size_t line;
    uint32_t node; /* 0: none */
    uint32_t dir[2];
    const char *name[2];
    uint64_t offset; /* of a write; the new size of a resize */
    const uint8_t *data;
    size_t len;
    const char *text; /* of ack and unseen */
};

struct node {
    int exists; /* its id was declared or created */
    int is_dir;
    const uint8_t *data; /* what it held before the program began */
    size_t len;
    size_t extent; /* the last byte that it ever held, plus one */
};

struct entry {
    uint32_t dir;
    const char *name;
    uint32_t node;
};

struct ops {
    char *text;         /* the file; names and data point into it */
    struct node *nodes; /* by id, node_count of them; [0] is unused */
    size_t node_count;
    struct entry *entries;
    size_t entry_count;
    struct op *ops;
    size_t op_count;
};

struct ops_error {
    size_t line; /* 0: the file as a whole */
    const char *why;
};

/*
 * Reads the `len` bytes at `text`, a block from malloc(3) of at least len + 1
 * bytes that belongs to *ops_out from then on, whatever is returned.
 *
 * Returns 0, or -EINVAL and in *error_out the first line that is wrong.
 * ops_free() frees it in both cases.
 */
int ops_parse(char *text, size_t len, struct ops *ops_out,
              struct ops_error *error_out);

/* Reads all of `fd` and parses it; may return a negative errno of read(2). */
int ops_read(int fd, struct ops *ops_out, struct ops_error *error_out);

void ops_free(struct ops *ops);

/* The first operation that the model cannot follow, or NULL. */
const struct op *ops_unseen(const struct ops *ops);

/* Makes room for one more item in an array of `count`: realloc(3) in steps. */
void *grown(void *items, size_t count, size_t item_size);

/* Ends the program: nothing here can go on without. */
void out_of_memory(void) __attribute__((noreturn));

#endif
