/*
 * streams_same SEED DIR: random calls of stdio on two files, one through streams.c
 * and one through libc alone. They must return the same and leave the same.
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 400, MOST = 20000, MODES = 6 };

FILE *__real_fopen(const char *path, const char *mode);
size_t __real_fread(void *to, size_t size, size_t count, FILE *file);
int __real_fileno(FILE *file);

typedef size_t reading(void *, size_t, size_t, FILE *);

static long call(FILE *f, int what, size_t len, long at, char *buf,
                 reading *read_it)
{
    switch (what) {
    case 0:
    case 1: return (long)read_it(buf, 1, len, f);
    case 2: return (long)fwrite(buf, 1, len, f);
    case 3: return fseek(f, at, SEEK_SET);
    case 4: return fseek(f, -at / 4, SEEK_CUR);
    case 5: return fseek(f, 0, SEEK_END);
    case 6: return fgetc(f);
    case 7: return fflush(f);
    case 8: return (long)read_it(buf, 24, len / 24, f);
    case 9: return setvbuf(f, NULL, len & 1 ? _IONBF : _IOFBF, 4096);
    default: return feof(f) + 2 * ferror(f);
    }
}

static const char *mode;

static void differ(const char *why, int i, int what)
{
    printf("%s: call %d, of kind %d: %s\n", mode, i, what, why);
    exit(1);
}

int main(int argc, char **argv)
{
    static const char *const modes[MODES] = { "w+", "r+", "r", "w", "a", "a+" };
    static char ours[MOST], theirs[MOST], path[2][4096];
    int before =
        -1; /* a direction changes behind a seek alone (C11 7.21.5.3) */

    if (argc != 3)
        return 2;
    srand((unsigned)atoi(argv[1]));
    mode = modes[rand() % MODES];
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof(path[i]), "%s/%d", argv[2], i);
        FILE *f = __real_fopen(path[i], "w");
        for (int b = 0; b < 50000; b++)
            fputc(b * 7 % 251, f);
        fclose(f);
    }
    FILE *a = fopen(path[0], mode), *b = __real_fopen(path[1], mode);
    if (fileno(a) < 0 || __real_fileno(a) >= 0)
        differ("not a stream of streams.c", 0, 0);
    for (int i = 0; i < CALLS; i++) {
        int what = i == 0 ? 9
                          : rand() % 9 + 2 * (rand() % 2 && rand() % 8 == 0);
        size_t len = (size_t)(rand() % (rand() % 3 ? 300 : MOST));
        long at = rand() % 60000;

        what = what == 9 && i > 0 ? 10 : what;
        if ((what < 2 || what == 6 || what == 8) && before == 2)
            what = 3;
        if (what == 2 && before != 2 && before != 3)
            what = 5;
        memset(ours, i, sizeof(ours));
        if (what == 2)
            for (size_t k = 0; k < len; k++)
                ours[k] = (char)rand();
        memcpy(theirs, ours, sizeof(ours));
        if (call(a, what, len, at, ours, fread) !=
            call(b, what, len, at, theirs, __real_fread))
            differ("another result", i, what);
        if (memcmp(ours, theirs, sizeof(ours)) != 0)
            differ("other bytes", i, what);
        if (ftell(a) != ftell(b))
            differ("another place", i, what);
        before = what == 2                ? 2
                 : what >= 3 && what <= 5 ? 3
                 : what < 9               ? 0
                                          : before;
    }
    return fclose(a) || fclose(b);
}
