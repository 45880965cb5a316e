/*
 * Calls of w18/anchor_storage.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "anchor_args.h"
#include "w18/anchor_storage.h"

/* anchor_persist_record DIR ID PREV PAYLOAD */
static void call_record(char **args)
{
    struct anchor_record record = record_of(args + 1);

    reply(" ret=%d", anchor_persist_record(args[0], &record));
}

/* anchor_persist_cosignature DIR ID DIGEST TIME SIGNATURE */
static void call_cosignature(char **args)
{
    struct anchor_cosignature cosignature = cosignature_of(args + 1);

    reply(" ret=%d", anchor_persist_cosignature(args[0], &cosignature));
}

/* anchor_atomic_advance DIR ID */
static void call_advance(char **args)
{
    reply(" ret=%d", anchor_atomic_advance(args[0], u64_of(args[1])));
}

static void reply_found(const struct anchor_recovery *found)
{
    reply(" count=%llu", (unsigned long long)found->log.count);
    reply_bytes("last", found->log.last, sizeof(found->log.last));
    reply(" head=%d next=%d torn=%llu hole=%d", (int)found->head,
          (int)found->next, (unsigned long long)found->torn, found->hole);
    if (found->head == ANCHOR_HEAD_VALID)
        reply(" head_id=%llu", (unsigned long long)found->head_id);
    if (found->hole)
        reply(" highest=%llu", (unsigned long long)found->highest);
    if (found->next == ANCHOR_NEXT_PENDING) {
        reply(" id=%llu", (unsigned long long)found->pending.id);
        reply_bytes("prev", found->pending.prev, ANCHOR_DIGEST_BYTES);
        reply_bytes("payload", found->pending.payload, ANCHOR_DIGEST_BYTES);
    }
}

/* anchor_recover DIR KEY: the key is the witness's, or x for none. */
static void call_recover(char **args)
{
    struct anchor_recovery found, before;
    size_t len;
    uint8_t *key = bytes_of(args[1], &len);

    memset(&before, 0x5A, sizeof(before));
    found = before;
    int64_t ret = anchor_recover(args[0], len ? key : NULL, &found);
    reply(" ret=%lld", (long long)ret);
    if (ret >= 0)
        reply_found(&found);
    else
        reply(" wrote=%d", memcmp(&found, &before, sizeof(found)) != 0);
    free(key);
}

static const struct call calls[] = {
    { "anchor_persist_record", call_record },
    { "anchor_persist_cosignature", call_cosignature },
    { "anchor_atomic_advance", call_advance },
    { "anchor_recover", call_recover },
    { NULL, NULL },
};

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
}
