/*
 * append SIZE PAIRS DIR: wal_append() beside write and fsync of as many bytes.
 * SPDX-License-Identifier: MIT
 *
 * Prints the median seconds of each: the record's, then the raw pair's. They
 * take turns, each first in every other round, so that what else the machine does
 * falls on both.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <unistd.h>

#include "bench.h"
#include "wal_writer.h"

enum { KEY_BYTES = 8, AROUND_VALUE_BYTES = 11 + 12 + 2 + 1 };

static struct wal_writer writer;
static struct wal_record record;
static uint8_t bytes[WAL_RECORD_MAX_BYTES];
static size_t size;
static int raw_fd;

static double append_one(void)
{
    double began = now();

    must(wal_append(&writer, &record), "wal_append");
    return now() - began;
}

static double write_one(void)
{
    double began = now();

    must(write(raw_fd, bytes, size) != (ssize_t)size, "write");
    must(fsync(raw_fd), "fsync");
    return now() - began;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    must(argc != 4 || chdir(argv[3]) < 0, "append SIZE PAIRS DIR");
    size = strtoul(argv[1], NULL, 10);
    size_t pairs = strtoul(argv[2], NULL, 10);
    must(size < AROUND_VALUE_BYTES || size > 65535 || pairs == 0,
         "SIZE, PAIRS");
    double *appended = calloc(pairs, sizeof(*appended));
    double *raw = calloc(pairs, sizeof(*raw));
    must(!appended || !raw, "memory");

    memset(bytes, 'x', size);
    record = (struct wal_record){ .type = WAL_SET,
                                  .key = (const uint8_t *)"benchkey",
                                  .key_len = KEY_BYTES,
                                  .value = bytes,
                                  .value_len =
                                      (uint16_t)(size - AROUND_VALUE_BYTES) };
    must(wal_open(&writer, "append.wal"), "wal_open");
    raw_fd = open("raw.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    must(raw_fd < 0, "raw.log");
    for (size_t i = 0; i < pairs; i++) {
        if (i % 2)
            raw[i] = write_one();
        appended[i] = append_one();
        if (i % 2 == 0)
            raw[i] = write_one();
    }
    must(writer.offset != pairs * size, "the sizes differ");
    printf("%.9f %.9f\n", median(appended, pairs), median(raw, pairs));
    must(wal_close(&writer), "wal_close");
    return 0;
}
