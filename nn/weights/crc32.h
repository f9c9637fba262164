/* CRC-32 of zip files (ISO 3309, reflected polynomial 0xedb88320). */
#ifndef NN_WEIGHTS_CRC32_H
#define NN_WEIGHTS_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The sum of n more bytes; begin with crc 0. */
uint32_t crc32_update(uint32_t crc, const void *bytes, size_t n);

#endif
