/*
 * CRC-32/IEEE: the checksum that tells a whole record from a torn one.
 * SPDX-License-Identifier: MIT
 *
 * Reflected polynomial 0xEDB88320, initial value and final xor 0xFFFFFFFF: the
 * CRC of Ethernet, gzip and PNG (ISO 3309; RFC 1952, section 8). Check value:
 * the nine bytes "123456789" give 0xCBF43926. CRC-32C, with another polynomial,
 * gives 0xE3069283 and is not what the log stores.
 */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continues a checksum over `len` more bytes at `data` and returns it. `crc` is
 * 0 for the first piece and the last return value for every later one, so a
 * message gives the same checksum however it is cut:
 *
 *     crc32_update(crc32_update(0, "1234", 4), "56789", 5) == 0xCBF43926
 *
 * With `len` 0 it returns `crc`, and `data` may be NULL. It cannot fail.
 */
uint32_t crc32_update(uint32_t crc, const void *data, size_t len);

#endif
