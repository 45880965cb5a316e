/*
 * Arguments of a script that are anchor records and cosignatures.
 * SPDX-License-Identifier: MIT
 */
#ifndef ANCHOR_ARGS_H
#define ANCHOR_ARGS_H

#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "w18/anchor_record.h"

/* Fills a field of a fixed size. */
static inline void exactly(uint8_t *out, size_t size, const char *arg)
{
    size_t len;
    uint8_t *bytes = bytes_of(arg, &len);

    if (len != size)
        driver_fail("bytes of another length");
    memcpy(out, bytes, size);
    free(bytes);
}

/* ID PREV PAYLOAD */
static inline struct anchor_record record_of(char **args)
{
    struct anchor_record record = { .id = u64_of(args[0]) };

    exactly(record.prev, sizeof(record.prev), args[1]);
    exactly(record.payload, sizeof(record.payload), args[2]);
    return record;
}

/* ID DIGEST TIME SIGNATURE */
static inline struct anchor_cosignature cosignature_of(char **args)
{
    struct anchor_cosignature cosignature = {
        .id = u64_of(args[0]),
        .time = u64_of(args[2]),
    };

    exactly(cosignature.digest, sizeof(cosignature.digest), args[1]);
    exactly(cosignature.signature, sizeof(cosignature.signature), args[3]);
    return cosignature;
}

#endif
