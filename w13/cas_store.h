/*
 * Content-addressed store: a file's name is the SHA-256 of its bytes.
 * SPDX-License-Identifier: MIT
 *
 * On disk. A store is one directory, on a local file system:
 *
 *   store_dir/<64 hex digits>   an object: its bytes and nothing else, named
 *                               by their SHA-256 (FIPS 180-4) in lower case
 *   store_dir/.tmp-<random>     an object that is still being written, or
 *                               what a crash left of one
 *
 * The object "abc" is the three bytes 61 62 63 in the file
 *
 *   ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
 *
 * An object never changes. Nothing is known of it but its bytes, so a file
 * is an object if and only if its bytes hash to its name.
 *
 * Calling sequence:
 *
 *   struct cas store;
 *   char name[CAS_NAME_BYTES];
 *
 *   cas_open(&store, "store_dir");
 *   cas_store(&store, "abc", 3, name);
 *   cas_load(&store, name, &data, &len);  ...  free(data);
 *   cas_close(&store);
 *
 * Any number of processes may use one directory at a time. A struct cas
 * belongs to one thread at a time; two threads open two.
 *
 * Failures are negative errno values; output arguments, named ..._out, are
 * written only on success. A failure on a file that nobody else can name yet,
 * the temp file, ends that call alone. A failed sync of what has its final
 * name (the directory, or an object that was already there) poisons the
 * store: the kernel may have dropped what it could not write, and the next
 * sync may succeed without it (Rebello et al., USENIX ATC'20). Every later
 * call returns that first error, whatever its arguments; only closing and
 * opening again clears it. No failure removes an object that was there, nor
 * one that this call has given its name: another process may have found it
 * since, and promised it.
 */
#ifndef CAS_STORE_H
#define CAS_STORE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 64 hex digits and a NUL. */
#define CAS_NAME_BYTES 65

/* What may be stored can be loaded; no damaged file makes us allocate more. */
#define CAS_OBJECT_MAX_BYTES ((size_t)64 << 20)

struct cas {
    int dir_fd; /* the store's directory: open it once, sync it often */
    int error;  /* 0, or the first error of a failed sync */
    /* Add what you need. */
};

/* What stands under an object's name. Only CAS_OK gives you bytes. */
enum cas_verdict {
    CAS_OK,         /* the bytes that were stored */
    CAS_MISSING,    /* no such name */
    CAS_EMPTY,      /* no bytes, where some belong: a lost write */
    CAS_MISMATCH,   /* other bytes: torn, too short, too long, flipped */
    CAS_TOO_LONG,   /* more than CAS_OBJECT_MAX_BYTES, left unread */
    CAS_NOT_A_FILE, /* a directory, symbolic link, FIFO, socket or device */
};

/*
 * Names `len` bytes: SHA-256 in lower-case hex, and a NUL. `data` may be NULL
 * where len is 0; the empty object is an object like any other.
 * Returns 0, or -ENOMEM if libcrypto cannot hash. Touches no file.
 */
int cas_name(const void *data, size_t len, char name_out[CAS_NAME_BYTES]);

/*
 * Opens the store in `dir`, whatever path leads there (`.` is one), and makes
 * that directory, mode 0755, if it is missing; its parent must be there and
 * readable.
 *
 * Removes every regular file `.tmp-*` that no live writer holds. Who holds
 * one: a writer has flock(2) LOCK_EX on its temp file from just after
 * open(2) until after rename(2), and a lock dies with its process. The
 * cleaner takes LOCK_EX | LOCK_NB before it unlinks, and leaves what it
 * cannot lock. That closes both windows:
 *
 *   the writer has created its file and not locked it yet: the cleaner may
 *   win the lock and unlink. So the writer, once it has the lock, asks
 *   fstat(2) whether its file still has a name (st_nlink); where it has
 *   none, or the lock is taken, it starts again under a new random name.
 *
 *   the cleaner has opened a file that the writer renames before the
 *   cleaner locks it: the cleaner unlinks by the .tmp- name, which is gone.
 *   A random name is never used twice, so it hits nobody else's file.
 *
 * Returns 0 or a negative errno; after a failure there is nothing to close.
 * Durable on return: the directory's own name, and every name in it. Every
 * open syncs both, since whoever made them may have died before it could.
 */
int cas_open(struct cas *store, const char *dir);

/*
 * Stores `len` bytes, at most CAS_OBJECT_MAX_BYTES, and gives their name.
 *
 * If the object is there and its bytes verify, nothing is written. Whatever
 * else stands there (a torn object, a symbolic or a hard link, an unreadable
 * file) is replaced; the file that a link leads to stays as it was.
 *
 * Durable on return, for a duplicate as for a new object: the bytes, and
 * the name. A crash at any point leaves the name with all its bytes, or as
 * it was before the call.
 *
 * Returns 0, or -EMSGSIZE (touching nothing), -ENOSPC (also for a write of
 * zero bytes), -EISDIR where a directory has the object's name, -EAGAIN if
 * cleaners took every temp file it made, or another negative errno, also that
 * of a failed close(2) of the file that it wrote, EINTR included. After a
 * failure no .tmp- file of this call is left, unless removing it failed too.
 */
int cas_store(struct cas *store, const void *data, size_t len,
              char name_out[CAS_NAME_BYTES]);

/*
 * Loads the object `name` and verifies it: the bytes are hashed on every
 * read, so that you never get bytes that are not those of the name.
 *
 * Returns CAS_OK with the bytes in memory from malloc(3), which you free(3),
 * not NULL even for the empty object; or another enum cas_verdict, which is
 * positive, and no bytes; or a negative errno: -EINVAL if `name` is not 64
 * lower-case hex digits (no path can be smuggled in), -EACCES, -EIO, -ENOMEM.
 * Never blocks on a FIFO, never follows a link. Promises no durability:
 * what it read may be in the page cache alone.
 */
int cas_load(struct cas *store, const char *name, void **data_out,
             size_t *len_out);

/* Closes the store. Returns 0, the error that poisoned it, or close(2)'s. */
int cas_close(struct cas *store);

#ifdef __cplusplus
}
#endif

#endif
