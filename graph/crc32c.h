/* CRC-32C (Castagnoli; RFC 3720, section 12.1), the checksum of journals and what they name: by the CPU's own
 * instruction where it has one. */
#ifndef GRAPH_CRC32C_H
#define GRAPH_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of `bytes` that follow those that gave `crc` (0: nothing before). */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
/* The same from a table, on any CPU: the oracle of the tests. */
uint32_t crc32c_plain(uint32_t crc, const void *bytes, size_t n);

#endif
