/*
 * Arguments of a script that are log records.
 * SPDX-License-Identifier: MIT
 */
#ifndef WAL_ARGS_H
#define WAL_ARGS_H

#include <stdlib.h>

#include "driver.h"
#include "w10/wal_record.h"

/* A record, and the blocks that its key and value stand in. */
struct given_record {
    struct wal_record record;
    uint8_t *key, *value;
};

/* TYPE KEY VALUE; a value of no bytes is NULL, and so is a number, which says the
 * length that goes with it. */
static inline struct given_record given_record(char **args)
{
    size_t key_len, value_len;
    uint8_t *key = bytes_of(args[1], &key_len);
    uint8_t *value = NULL;

    if (args[2][0] == 'x')
        value = bytes_of(args[2], &value_len);
    else
        value_len = (size_t)number_of(args[2]);

    return (struct given_record){
        .record = {
            .type = (uint8_t)number_of(args[0]),
            .key = key,
            .key_len = (uint16_t)key_len,
            .value = value_len ? value : NULL,
            .value_len = (uint16_t)value_len,
        },
        .key = key,
        .value = value,
    };
}

static inline void given_record_free(struct given_record *given)
{
    free(given->value);
    free(given->key);
}

#endif
