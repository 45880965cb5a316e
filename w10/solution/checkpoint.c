/*
 * Checkpoints: the snapshot is durable under its name before any segment goes.
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L

#include "checkpoint.h"

#include <errno.h>

//> includes
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32.h"
#include "wal_recovery.h"

enum { PATH_BYTES = KV_LOG_DIR_MAX_BYTES + 40 };

static const uint8_t MAGIC[4] = { 'S', 'N', 'A', 'P' };

static void put_le(uint8_t *p, int bytes, uint64_t value)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

/* The paths below, each in a buffer of the caller's. */
static const char *file_in(const struct kv_log *log, const char *name,
                           char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%.30s", log->dir, name);
    return path;
}

static const char *segment_in(const struct kv_log *log, uint64_t number,
                              char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%" PRIu64 ".wal", log->dir, number);
    return path;
}

/* Keeps the first error: from now on the handle only repeats it. */
static int poison(struct kv_log *log, int err)
{
    log->error = err;
    return err;
}

static int apply(struct kv *kv, const struct wal_record *record)
{
    if (record->type == WAL_SET)
        return kv_set(kv, record->key, record->key_len, record->value,
                      record->value_len);
    kv_del(kv, record->key, record->key_len);
    return 0;
}

/* --- segments in the directory --- */

/* The number that `name` is the segment of, or 0. */
static uint64_t number_of(const char *name)
{
    char again[32];
    uint64_t number = strtoull(name, NULL, 10);

    /* One number has one name: no sign, no space, no zero in front. */
    snprintf(again, sizeof(again), "%" PRIu64 ".wal", number);
    return strcmp(name, again) == 0 ? number : 0;
}

/* Finds the highest number of a segment; 0 where there is none. */
static int last_segment(const struct kv_log *log, uint64_t *last_out)
{
    DIR *dir = opendir(log->dir);
    struct dirent *entry;
    uint64_t last = 0;

    if (!dir)
        return -errno;
    /* At the end readdir(3) leaves errno alone; strtoull(3) does not always. */
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        uint64_t number = number_of(entry->d_name);

        last = number > last ? number : last;
    }
    int err = -errno;
    closedir(dir);
    if (!err)
        *last_out = last;
    return err;
}

/* Removes what the snapshot made needless, as far as that works. The caller has
 * made the snapshot's name durable: a crash here leaves files that are not
 * replayed, whichever of the removals it takes back. */
static void remove_leftovers(const struct kv_log *log, uint64_t first)
{
    char path[PATH_BYTES];
    DIR *dir = opendir(log->dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        uint64_t number = number_of(entry->d_name);

        if ((number > 0 && number < first) ||
            strcmp(entry->d_name, "snapshot.tmp") == 0)
            unlink(file_in(log, entry->d_name, path));
    }
    if (dir)
        closedir(dir);
}

/* --- recovery --- */

static int read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* shorter than it was a moment ago */
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads a whole file; the caller frees *bytes_out. */
static int read_file(const char *path, uint8_t **bytes_out, size_t *len_out)
{
    struct stat st;
    uint8_t *bytes = NULL;
    int err = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        err = -errno;
    if (!err) {
        bytes = malloc((size_t)st.st_size + 1);
        err = bytes ? read_all(fd, bytes, (size_t)st.st_size) : -ENOMEM;
    }
    close(fd); /* nothing was written through it: no error to lose */
    if (err) {
        free(bytes);
        return err;
    }
    *bytes_out = bytes;
    *len_out = (size_t)st.st_size;
    return 0;
}

/* Applies records that fill `len` bytes to the last one. */
static int apply_all(struct kv *kv, const uint8_t *bytes, size_t len,
                     uint64_t *count_out)
{
    struct wal_record record;
    uint64_t count = 0;
    size_t size;

    for (; len > 0; bytes += size, len -= size, count++) {
        if (wal_record_decode(bytes, len, &record, &size) != WAL_RECORD_OK)
            return -EBADMSG;
        int err = apply(kv, &record);
        if (err)
            return err;
    }
    *count_out = count;
    return 0;
}

static int apply_snapshot(struct kv *kv, const uint8_t *bytes, size_t len,
                          uint64_t *first_out)
{
    if (len < SNAPSHOT_TRAILER_BYTES)
        return -EBADMSG;

    size_t records = len - SNAPSHOT_TRAILER_BYTES;
    const uint8_t *trailer = bytes + records;
    uint64_t first = get_le(trailer + 4, 8), count;

    if (crc32_update(0, bytes, len - 4) != get_le(trailer + 20, 4) ||
        memcmp(trailer, MAGIC, sizeof(MAGIC)) != 0 || first == 0)
        return -EBADMSG;
    int err = apply_all(kv, bytes, records, &count);
    if (err)
        return err;
    if (count != get_le(trailer + 12, 8) || kv->count != count)
        return -EBADMSG;
    *first_out = first;
    return 0;
}

/* Loads the snapshot, if there is one; *first_out is the segment behind it. */
static int load_snapshot(struct kv_log *log, uint64_t *first_out)
{
    char path[PATH_BYTES];
    uint8_t *bytes;
    size_t len;
    int err = read_file(file_in(log, "snapshot", path), &bytes, &len);

    if (err == -ENOENT) {
        *first_out = 1;
        return 0;
    }
    if (err)
        return err;
    err = apply_snapshot(&log->kv, bytes, len, first_out);
    free(bytes);
    return err;
}

/* Replays a segment that another follows: one that is not whole is damage. */
static int replay_closed(struct kv_log *log, uint64_t number)
{
    char path[PATH_BYTES];
    uint8_t *bytes;
    size_t len;
    uint64_t count;
    int err = read_file(segment_in(log, number, path), &bytes, &len);

    if (err)
        return err == -ENOENT ? -EBADMSG : err;
    err = apply_all(&log->kv, bytes, len, &count);
    free(bytes);
    return err;
}

/* Builds the map; *first_out is the first segment that the snapshot lacks. */
static int recover(struct kv_log *log, uint64_t *first_out)
{
    char path[PATH_BYTES];
    struct wal_recovery found;
    uint64_t first = 0, last = 0;
    int err = load_snapshot(log, &first);

    if (!err)
        err = last_segment(log, &last);
    if (err)
        return err;
    if (last < first)
        last = first;
    for (uint64_t number = first; !err && number < last; number++)
        err = replay_closed(log, number);
    /* Only here can a crash have torn something. It comes last, since it may
     * cut, and all before it changes nothing. */
    if (!err)
        err = wal_recover(segment_in(log, last, path), &log->kv, &found);
    if (err)
        return err;
    log->segment = last;
    *first_out = first;
    return 0;
}

/* --- the snapshot --- */

struct snapshot {
    int fd;
    int error;
    uint32_t crc;
    uint64_t count;
    size_t len; /* bytes that wait in the buffer */
    uint8_t bytes[WAL_RECORD_MAX_BYTES];
};

static void flush(struct snapshot *s)
{
    if (!s->error)
        s->error = write_full(s->fd, s->bytes, s->len);
    s->len = 0;
}

static void put_pair(void *arg, const struct kv_entry *entry)
{
    struct snapshot *s = arg;
    struct wal_record record = { .type = WAL_SET,
                                 .key = entry->key,
                                 .key_len = (uint16_t)entry->key_len,
                                 .value = entry->value,
                                 .value_len = (uint16_t)entry->value_len };
    size_t len = 0;
    int err = wal_record_encode(&record, s->bytes + s->len,
                                sizeof(s->bytes) - s->len, &len);

    if (err == -ENOBUFS) {
        flush(s);
        err = wal_record_encode(&record, s->bytes, sizeof(s->bytes), &len);
    }
    if (err && !s->error)
        s->error = err;
    s->crc = crc32_update(s->crc, s->bytes + s->len, len);
    s->count++;
    s->len += len;
}

static void put_trailer(struct snapshot *s, uint64_t first)
{
    uint8_t *trailer = s->bytes + s->len;

    if (sizeof(s->bytes) - s->len < SNAPSHOT_TRAILER_BYTES) {
        flush(s);
        trailer = s->bytes;
    }
    memcpy(trailer, MAGIC, sizeof(MAGIC));
    put_le(trailer + 4, 8, first);
    put_le(trailer + 12, 8, s->count);
    put_le(trailer + 20, 4, crc32_update(s->crc, trailer, 20));
    s->len += SNAPSHOT_TRAILER_BYTES;
}

/* Writes the map to the file at `path` and syncs it. */
static int write_snapshot(const struct kv_log *log, const char *path)
{
    struct snapshot *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int err = s->fd < 0 ? -errno : 0;
    if (!err) {
        kv_each(&log->kv, put_pair, s);
        put_trailer(s, log->segment);
        flush(s);
        err = s->error;
        /* Before it has its name: a crash behind the rename may otherwise leave
         * an empty or torn file where a whole snapshot stood. */
        if (!err)
            err = wal_sync_fd(s->fd);
        if (close(s->fd) < 0 && !err)
            err = -errno;
    }
    free(s);
    return err;
}

/* Closes the segment, and begins the next. */
static int rotate(struct kv_log *log)
{
    char path[PATH_BYTES];
    int err = wal_close(&log->writer);

    if (err)
        return poison(log, err);
    /* A crash here leaves the old snapshot and its segments, the new one among
     * them or not. Its name is durable before anything is appended to it. */
    err = wal_open(&log->writer, segment_in(log, log->segment + 1, path));
    if (err) {
        log->writer.fd = -1;
        return poison(log, err);
    }
    log->segment++;
    return 0;
}

/* Makes the directory if it is not there, and its name durable. */
static int make_dir(const char *dir)
{
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return -errno;
    /* Also where it was there: its maker may have been killed here, and a crash
     * would take the directory with all that is in it. */
    return wal_sync_dir(dir);
}

//< includes
int kv_log_open(struct kv_log *log, const char *dir)
{
//> kv_log_open
    char path[PATH_BYTES];
    uint64_t first = 0;

    if (strlen(dir) > KV_LOG_DIR_MAX_BYTES)
        return -ENAMETOOLONG;
    strcpy(log->dir, dir);
    log->error = 0;
    kv_init(&log->kv);

    int err = make_dir(dir);
    if (!err)
        err = recover(log, &first);
    /* This syncs the directory. Until then the snapshot's name may be lost, and
     * a crash behind the removals below would leave neither it nor them. */
    if (!err)
        err = wal_open(&log->writer, segment_in(log, log->segment, path));
    if (err) {
        kv_free(&log->kv);
        return err;
    }
    remove_leftovers(log, first);
    return 0;
//< kv_log_open
/* skeleton kv_log_open
    (void)log;
    (void)dir;
    return -ENOSYS;
*/
}

int kv_log_append(struct kv_log *log, const struct wal_record *record)
{
//> kv_log_append
    if (log->error)
        return log->error;

    int err = wal_append(&log->writer, record);
    if (err) {
        log->error = log->writer.error; /* 0 for a record without encoding */
        return err;
    }
    /* What the map lacks the next snapshot would lack, and its segment goes. */
    err = apply(&log->kv, record);
    return err ? poison(log, err) : 0;
//< kv_log_append
/* skeleton kv_log_append
    (void)log;
    (void)record;
    return -ENOSYS;
*/
}

int kv_log_checkpoint(struct kv_log *log)
{
//> kv_log_checkpoint
    char temp[PATH_BYTES], path[PATH_BYTES];

    if (log->error)
        return log->error;
    int err = rotate(log);
    if (err)
        return err;

    /* A crash here leaves a temporary file, which the next open removes. */
    err = write_snapshot(log, file_in(log, "snapshot.tmp", temp));
    /* One step: a crash here leaves the old snapshot or the new one, and the
     * segments of both. */
    if (!err && rename(temp, file_in(log, "snapshot", path)) < 0)
        err = -errno;
    if (err) {
        unlink(temp);
        return err;
    }
    /* A crash before this returns 0 may take the new name back. So no segment
     * goes before; and if it fails, none ever does. */
    err = wal_sync_dir(path);
    if (err)
        return poison(log, err);

    remove_leftovers(log, log->segment);
    return 0;
//< kv_log_checkpoint
/* skeleton kv_log_checkpoint
    (void)log;
    return -ENOSYS;
*/
}

int kv_log_close(struct kv_log *log)
{
//> kv_log_close
    int err = log->writer.fd < 0 ? 0 : wal_close(&log->writer);

    kv_free(&log->kv);
    return log->error ? log->error : err;
//< kv_log_close
/* skeleton kv_log_close
    (void)log;
    return -ENOSYS;
*/
}

#ifndef NO_SELF_TEST

#include <stdio.h>
#include <string.h>
//> self_test

static const char DIR_NAME[] = "checkpoint_dir";
static const char KEPT[] = "checkpoint.wal"; /* a segment, to bring it back */

/* Too large for a small stack. */
static struct kv_log self;

static int set(const char *key, const char *value)
{
    struct wal_record record = { .type = WAL_SET,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint16_t)strlen(key),
                                 .value = (const uint8_t *)value,
                                 .value_len = (uint16_t)strlen(value) };

    printf("SET %s=%s\n", key, value);
    return kv_log_append(&self, &record);
}

static int del(const char *key)
{
    struct wal_record record = { .type = WAL_DEL,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint16_t)strlen(key) };

    printf("DEL %s\n", key);
    return kv_log_append(&self, &record);
}

static const char *here(const char *name)
{
    static char paths[2][64];
    static int next;

    next = !next;
    snprintf(paths[next], sizeof(paths[next]), "%s/%.30s", DIR_NAME, name);
    return paths[next];
}

/* Calls visit(path, size) for every file, in the order of their names. */
static void each_file(void (*visit)(const char *path, long long size))
{
    struct dirent **entries = NULL;
    int count = scandir(DIR_NAME, &entries, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        const char *path = here(entries[i]->d_name);
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            visit(path, (long long)st.st_size);
        free(entries[i]);
    }
    free(entries);
}

static void clear(const char *path, long long size)
{
    (void)size;
    unlink(path);
}

static void list(const char *path, long long size)
{
    printf("  %s %lld bytes\n", strchr(path, '/') + 1, size);
}

static void show(const char *key)
{
    const struct kv_entry *entry = kv_get(&self.kv, key, strlen(key));

    if (entry)
        printf("  %s=%.*s\n", key, (int)entry->value_len,
               (const char *)entry->value);
    else
        printf("  %s is not there\n", key);
}

static int reopen(void)
{
    int err = kv_log_open(&self, DIR_NAME);

    if (err) {
        printf("open: %s\n",
               err == -EBADMSG ? "not what a crash leaves" : strerror(-err));
    } else {
        printf("open: %zu pairs, segment %" PRIu64 "\n", self.kv.count,
               self.segment);
        show("foo");
        show("name");
        show("count");
    }
    each_file(list);
    return err;
}

/* A snapshot of two pairs, then one record more. */
static int check_point(void)
{
    int err = kv_log_open(&self, DIR_NAME);

    if (!err)
        err = set("foo", "bar");
    if (!err)
        err = set("name", "alice");
    if (!err)
        err = set("count", "42");
    if (!err)
        err = del("name");
    each_file(list);
    if (!err && link(here("1.wal"), KEPT) < 0)
        err = -errno;
    if (!err)
        err = kv_log_checkpoint(&self);
    printf("checkpoint: %s\n", err ? strerror(-err) : "ok");
    each_file(list);
    if (!err)
        err = set("count", "43");
    return err ? err : kv_log_close(&self);
}
//< self_test

int main(void)
{
//> main
    each_file(clear);
    unlink(KEPT);
    int err = check_point();
    if (err) {
        printf("it does not work yet: %s\n", strerror(-err));
        return 1;
    }
    /* What a power loss may undo: the removal. What it may leave: a part. */
    if (rename(KEPT, here("1.wal")) < 0 ||
        link(here("snapshot"), here("snapshot.tmp")) < 0)
        return 1;
    printf("1.wal is back, snapshot.tmp left over\n");
    if (reopen() < 0 || kv_log_close(&self) < 0)
        return 1;
    if (truncate(here("snapshot"), 60) < 0)
        return 1;
    printf("snapshot torn to 60 bytes\n");
    return reopen() == -EBADMSG ? 0 : 1;
//< main
/* skeleton main
    static struct kv_log log;
    int err = kv_log_open(&log, "checkpoint_dir");

    printf("kv_log_open: %s\n", err ? strerror(-err) : "ok");
    return err ? 1 : 0;
*/
}

#endif
