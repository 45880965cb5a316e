/*
 * Empty: all of the log stands in wal_writer.c.
 * SPDX-License-Identifier: MIT
 */
#include "crc32.h"
