/*
 * A way to make a record durable, from many threads. Each has its own file.
 * SPDX-License-Identifier: MIT
 */
#ifndef COMMITS_H
#define COMMITS_H

enum { COMMIT_KEY_BYTES = 8, COMMIT_VALUE_BYTES = 14 };

/* Each ends the program where it fails. */
void commits_open(const char *path);
void commits_put(const char *key, const char *value); /* durable on return */
void commits_close(void);

#endif
