/*
 * What a table of calls needs from the driver, and the driver from it.
 * SPDX-License-Identifier: MIT
 *
 * A driver is a program that calls a student's functions as a script on its
 * standard input says, a call a line:
 *
 *     1 wal_open 0 test.wal
 *     2 wal_append 0 1 x666f6f x626172
 *
 * and reports on a descriptor of its own with write(2), so that a trace shows
 * where each call began and when it had returned:
 *
 *     > 1 wal_open
 *     < 1 wal_open ret=0 offset=0
 *     > 2 wal_append
 *     ! 2 write short 5 @0x1543,0x1a20
 *     < 2 wal_append ret=0 offset=21
 *
 * A line of `!` is a fault that was injected, with the return addresses in the
 * program of the call that met it and of those around it; what a fault brings
 * another process to do stands below it. A line of `~`, as `~ 2 wal_append`, says
 * that the call left another working directory than it found. Bytes are written as x and hex digits.
 * The driver knows nothing of what is right: it says what happened, and the
 * grader judges.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>
#include <stdint.h>

struct call {
    const char *name;
    void (*run)(char **args);
};

/* Adds calls to those that a script may use; `calls` ends with a NULL name. Each
 * table does so in a function of its own, marked __attribute__((constructor)). */
void driver_add_calls(const struct call *calls);

/* Adds to the line that reports the call, as printf(3) does. */
void reply(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Adds ` name=x<hex>` to it. */
void reply_bytes(const char *name, const uint8_t *bytes, size_t len);

/* Writes a line of its own at once. */
void driver_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The bytes that an argument such as x666f6f stands for, in a block of exactly
 * that size, so that AddressSanitizer sees every step beyond it. The caller
 * frees it. */
uint8_t *bytes_of(const char *arg, size_t *len_out);

/* An argument that must be a number. */
long number_of(const char *arg);

/* The same for 64 bits without a sign. */
uint64_t u64_of(const char *arg);

/* Makes the call of these words (its name, its arguments, NULL) and reports it
 * under `number`. */
void driver_make_call(long number, char **words);

/* A copy of such words that outlives the line they stand in. */
char **driver_keep(char **words);

/* The number of the call that this thread makes; 0 in a thread that is not the
 * driver's. Then that of the call that began last in any. */
extern _Thread_local long driver_call;
extern _Atomic long driver_last_call;

enum { DRIVER_MARKS_FD = 200 }; /* out of the way of what a student opens */

/* Where reports go: write(2) to the marks, unless somebody changes it. */
extern void (*driver_sink)(const char *text, size_t len);

/* What is done with all of standard input: driver_run(), unless somebody changes
 * it in a constructor. */
extern void (*driver_input)(char *input);

/* While it is set, lines are shown to it first; it returns 1 for one that it keeps
 * for itself, which is then not made. */
extern int (*driver_take)(long number, char **words);
/* What a server does once, before its first child: libraries of the lesson's make
 * ready here what each child would else make ready for itself. Nothing of the
 * student's is called. */
extern void (*driver_warm_up)(void);

/* Makes the calls of a script, which it takes apart. */
void driver_run(char *script);

/* Stops the driver: the script, not the student, is wrong. */
void driver_fail(const char *what) __attribute__((noreturn));

#endif
