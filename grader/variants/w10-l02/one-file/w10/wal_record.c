/*
 * Empty: all of the log stands in wal_writer.c.
 * SPDX-License-Identifier: MIT
 */
#include "wal_record.h"
