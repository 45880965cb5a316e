/*
 * Calls of w13/cas_store.h.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

enum { HANDLES = 16, ZEROS_BYTES = 128 << 20 };
#include "handles.h"
#include "w13/cas_store.h"

static struct cas stores[HANDLES];

/* Room for a name, with `text` in it and no other NUL than its own. */
static void soil_name(char name[CAS_NAME_BYTES], const char *text)
{
    memset(name, 'Z', CAS_NAME_BYTES);
    strcpy(name, text);
}

/* A name that the student wrote, as bytes; all that there is room for, where no
 * NUL ends it. */
static void reply_name(const char *name)
{
    reply_bytes("name", (const uint8_t *)name, strnlen(name, CAS_NAME_BYTES));
}

/* BYTES, or the word null: no bytes, and a NULL pointer to them. */
static uint8_t *bytes_or_null(const char *arg, size_t *len_out)
{
    *len_out = 0;
    return strcmp(arg, "null") == 0 ? NULL : bytes_of(arg, len_out);
}

/* cas_name BYTES|null */
static void call_name(char **args)
{
    char name[CAS_NAME_BYTES];
    size_t len;
    uint8_t *bytes = bytes_or_null(args[0], &len);

    soil_name(name, "untouched");
    reply(" ret=%d", cas_name(bytes, len, name));
    reply_name(name);
    free(bytes);
}

/* cas_open HANDLE DIR */
static void call_open(char **args)
{
    int handle = handle_of(args[0]);
    struct cas *store = &stores[handle];

    /* Whatever stands in the struct before must not matter. */
    memset(store, 0x5A, sizeof(*store));
    int ret = cas_open(store, args[1]);
    handle_is_open[handle] = ret == 0;
    reply(" ret=%d", ret);
}

static void store_bytes(int handle, const void *data, size_t len)
{
    char name[CAS_NAME_BYTES];

    if (skipped(handle))
        return;
    soil_name(name, "untouched");
    int ret = cas_store(&stores[handle], data, len, name);

    reply(" ret=%d", ret);
    reply_name(name);
}

/* cas_store HANDLE BYTES|null */
static void call_store(char **args)
{
    size_t len;
    uint8_t *bytes = bytes_or_null(args[1], &len);

    store_bytes(handle_of(args[0]), bytes, len);
    free(bytes);
}

/* cas_store_zeros HANDLE LEN: that many zero bytes; of more than ZEROS_BYTES, which
 * are to be refused unread, no more are there. */
static void call_store_zeros(char **args)
{
    size_t len = (size_t)number_of(args[1]);
    size_t room = len < ZEROS_BYTES ? len : ZEROS_BYTES;
    void *zeros = mmap(NULL, room, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (zeros == MAP_FAILED)
        driver_fail("out of memory");
    store_bytes(handle_of(args[0]), zeros, len);
    munmap(zeros, room);
}

enum { SHOWN_BYTES = 8 << 20 };

/* cas_load HANDLE NAME, where NAME is given as bytes. Of a large object the reply
 * has the length alone. */
static void call_load(char **args)
{
    static char untouched;
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    size_t name_len, len = 12345;
    uint8_t *bytes = bytes_of(args[1], &name_len);
    char *name = malloc(name_len + 1);
    void *data = &untouched;

    if (!name)
        driver_fail("out of memory");
    memcpy(name, bytes, name_len);
    name[name_len] = '\0';
    int ret = cas_load(&stores[handle], name, &data, &len);
    reply(" ret=%d", ret);
    if (ret == CAS_OK && data != NULL && data != &untouched) {
        if (len > SHOWN_BYTES)
            reply(" len=%zu", len);
        else
            reply_bytes("data", data, len);
        free(data);
    } else {
        reply(" wrote=%d", data != &untouched || len != 12345);
    }
    free(name);
    free(bytes);
}

/* cas_close HANDLE */
static void call_close(char **args)
{
    int handle = handle_of(args[0]);

    if (skipped(handle))
        return;
    handle_is_open[handle] = 0;
    reply(" ret=%d", cas_close(&stores[handle]));
}

static const struct call calls[] = {
    { "cas_name", call_name },
    { "cas_open", call_open },
    { "cas_store", call_store },
    { "cas_store_zeros", call_store_zeros },
    { "cas_load", call_load },
    { "cas_close", call_close },
    { NULL, NULL },
};

/* libcrypto reads its configuration, fetches SHA-256 and seeds its generator at
 * the first use of each. After a fork(2) it seeds the child's anew by itself. */
static void warm_up(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE], random;

    EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);
    RAND_bytes(&random, sizeof(random));
}

const char *__tsan_default_suppressions(void);

/* ThreadSanitizer does not see by what libcrypto, built without it, keeps its threads
 * apart. */
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libcrypto\n";
}

__attribute__((constructor)) static void add_calls(void)
{
    driver_add_calls(calls);
    driver_warm_up = warm_up;
}
