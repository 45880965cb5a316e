/*
 * kv: a shell on your log. Given; `make kv` builds it with your files.
 * SPDX-License-Identifier: MIT
 *
 *     kv DIR
 *
 * Opens the log in DIR (checkpoint.h) and answers each line of its input, if it
 * is not empty, with one line:
 *
 *   set KEY VALUE   ok            it is durable; VALUE goes to the end of line
 *   del KEY         ok            it is durable, also where KEY was not there
 *   get KEY         KEY=VALUE     or: KEY is not there
 *   list            N pairs: ...  in the order of their keys
 *   checkpoint      ok            the next open need not replay what is older
 *   crash                         dies at once of SIGKILL, without an answer
 *   quit                          ends, as the end of the input does
 *
 * What cannot be done is said on standard error, with the number of its line,
 * and takes the place of the answer. A line that the end of the input cuts
 * short is not obeyed: whoever wrote it may have had more to say.
 *
 * Exit status: 0; 1 if something was refused or failed; 2 for wrong use, or a
 * log that cannot be opened.
 */
#define _DEFAULT_SOURCE /* flock() */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"

struct shell {
    struct kv_log log;
    unsigned long line; /* of the input, from 1 on */
    int refused;        /* lines that could not be obeyed */
};

static const char *why(int err)
{
    if (err == -ENOSYS)
        return "a function of the log is not written yet: make w10-l01 to make "
               "w10-l05 say which";
    if (err == -EBADMSG)
        return "it is damaged, and no crash did that";
    return strerror(-err);
}

/* Says why a line was not obeyed. */
static void refuse(struct shell *sh, const char *message)
{
    fprintf(stderr, "kv: line %lu: %s\n", sh->line, message);
    sh->refused++;
}

/* The answer to what has to be durable: `ok`, and not before it is. */
static void answer(struct shell *sh, int err)
{
    if (err)
        refuse(sh, why(err));
    else
        puts("ok");
}

/* Control characters as \xNN, so that an answer stays one line. */
static void put_bytes(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < ' ' || bytes[i] == 0x7F)
            printf("\\x%02x", bytes[i]);
        else
            putchar(bytes[i]);
    }
}

static void put_pair(const struct kv_entry *entry)
{
    put_bytes(entry->key, entry->key_len);
    putchar('=');
    put_bytes(entry->value, entry->value_len);
}

/* --- the commands: KEY and VALUE are NULL where the line has none --- */

static void append(struct shell *sh, uint8_t type, const char *key,
                   const char *value)
{
    size_t key_len = strlen(key), value_len = value ? strlen(value) : 0;

    if (key_len > WAL_KEY_MAX_BYTES || value_len > WAL_VALUE_MAX_BYTES) {
        refuse(sh, "a key or a value has at most 65535 bytes");
        return;
    }
    struct wal_record record = { .type = type,
                                 .key = (const uint8_t *)key,
                                 .key_len = (uint16_t)key_len,
                                 .value = (const uint8_t *)value,
                                 .value_len = (uint16_t)value_len };
    answer(sh, kv_log_append(&sh->log, &record));
}

static void set(struct shell *sh, const char *key, const char *value)
{
    append(sh, WAL_SET, key, value);
}

static void del(struct shell *sh, const char *key, const char *value)
{
    append(sh, WAL_DEL, key, value);
}

static void get(struct shell *sh, const char *key, const char *value)
{
    const struct kv_entry *entry = kv_get(&sh->log.kv, key, strlen(key));

    (void)value;
    if (entry) {
        put_pair(entry);
    } else {
        put_bytes((const uint8_t *)key, strlen(key));
        fputs(" is not there", stdout);
    }
    putchar('\n');
}

struct listing {
    size_t count;
    const struct kv_entry **entries;
};

static void note(void *arg, const struct kv_entry *entry)
{
    struct listing *all = arg;

    all->entries[all->count++] = entry;
}

static int by_key(const void *left, const void *right)
{
    const struct kv_entry *a = *(const struct kv_entry *const *)left;
    const struct kv_entry *b = *(const struct kv_entry *const *)right;
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, len);

    return order ? order
                 : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static void list(struct shell *sh, const char *key, const char *value)
{
    size_t count = sh->log.kv.count;
    struct listing all = { 0, malloc((count + 1) * sizeof(*all.entries)) };

    (void)key;
    (void)value;
    if (!all.entries) {
        refuse(sh, strerror(ENOMEM));
        return;
    }
    kv_each(&sh->log.kv, note, &all);
    qsort(all.entries, count, sizeof(*all.entries), by_key);
    printf("%zu %s%s", count, count == 1 ? "pair" : "pairs", count ? ":" : "");
    for (size_t i = 0; i < count; i++) {
        putchar(' ');
        put_pair(all.entries[i]);
    }
    putchar('\n');
    free(all.entries);
}

static void checkpoint(struct shell *sh, const char *key, const char *value)
{
    (void)key;
    (void)value;
    answer(sh, kv_log_checkpoint(&sh->log));
}

static void crash(struct shell *sh, const char *key, const char *value)
{
    (void)sh;
    (void)key;
    (void)value;
    raise(SIGKILL);
}

static const struct command {
    const char *name;
    int words; /* that follow it */
    void (*obey)(struct shell *sh, const char *key, const char *value);
    const char *usage;
} COMMANDS[] = {
    { "set", 2, set, "set KEY VALUE" },
    { "get", 1, get, "get KEY" },
    { "del", 1, del, "del KEY" },
    { "list", 0, list, "list" },
    { "checkpoint", 0, checkpoint, "checkpoint" },
    { "crash", 0, crash, "crash" },
    { "quit", 0, NULL, "quit" },
};

enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

static void put_usage(FILE *out)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "%s%s", i ? ", " : "", COMMANDS[i].usage);
    putc('\n', out);
}

/* --- lines --- */

/* Cuts off the first word of *rest, or returns NULL where there is none. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    char *end = word + strcspn(word, " \t");

    if (*word == '\0')
        return NULL;
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

/* Obeys one line; returns 0 where that was the last. */
static int obey(struct shell *sh, char *line)
{
    const struct command *command = COMMANDS;
    char *rest = line, *name = next_word(&rest), *key = NULL, *value = NULL;

    if (!name)
        return 1;
    while (strcmp(command->name, name) != 0) {
        if (++command == COMMANDS + COMMAND_COUNT) {
            refuse(sh, "no such command; there are:");
            put_usage(stderr);
            return 1;
        }
    }
    if (command->words > 0)
        key = next_word(&rest);
    if (command->words > 1 && *rest) {
        value = rest;
        rest += strlen(rest);
    }
    if ((command->words > 0 && !key) || (command->words > 1 && !value) ||
        next_word(&rest)) {
        fprintf(stderr, "kv: line %lu: usage: %s\n", sh->line, command->usage);
        sh->refused++;
        return 1;
    }
    if (!command->obey)
        return 0;
    command->obey(sh, key, value);
    return 1;
}

static void talk(struct shell *sh, int on_terminal)
{
    char *line = NULL;
    size_t room = 0;
    int more = 1;

    while (more) {
        if (on_terminal) {
            fputs("kv> ", stdout);
            fflush(stdout);
        }
        ssize_t len = getline(&line, &room, stdin);
        if (len < 0)
            break;
        sh->line++;
        if (line[len - 1] != '\n') {
            refuse(sh, "the input ends in the middle of this line");
            break;
        }
        line[len - 1] = '\0';
        if (strlen(line) == (size_t)len - 1)
            more = obey(sh, line);
        else
            refuse(sh, "a NUL stands in this line");
    }
    if (on_terminal && more)
        putchar('\n');
    free(line);
}

/* Makes sure that nobody else has the log open, until this process ends. */
static int lock(const char *dir, int *made_out)
{
    /* kv_log_open() makes its name durable. */
    *made_out = mkdir(dir, 0755) == 0;
    if (!*made_out && errno != EEXIST)
        return -errno;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    return 0;
}

int main(int argc, char **argv)
{
    static struct shell sh; /* too large for a small stack */
    int on_terminal = isatty(STDIN_FILENO), made;

    if (argc != 2) {
        fprintf(stderr, "usage: kv DIR\n");
        return 2;
    }
    char *dir = argv[1];
    for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
        dir[len - 1] = '\0';
    int err = lock(dir, &made);
    if (err == -EWOULDBLOCK) {
        fprintf(stderr, "kv: %s: another kv has it open\n", dir);
        return 2;
    }
    if (!err)
        err = kv_log_open(&sh.log, dir);
    if (err) {
        fprintf(stderr, "kv: %s: %s\n", dir, why(err));
        if (made)
            rmdir(dir); /* where nothing stands in it */
        return 2;
    }
    /* Whoever reads the answers gets each as soon as it is true. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (on_terminal) {
        printf("%s: %zu pairs, segment %" PRIu64 "\n", dir, sh.log.kv.count,
               sh.log.segment);
        put_usage(stdout);
    }
    talk(&sh, on_terminal);
    err = kv_log_close(&sh.log);
    if (err)
        fprintf(stderr, "kv: %s: %s\n", dir, why(err));
    return err || sh.refused || ferror(stdout) ? 1 : 0;
}
