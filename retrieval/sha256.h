/* SHA-256 (FIPS 180-4), for fingerprints of models. */
#ifndef RETRIEVAL_SHA256_H
#define RETRIEVAL_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK = 64, SHA256_HEX = 2 * SHA256_BYTES + 1 };

struct sha256 {
    uint32_t state[8];
    uint64_t bytes; /* that were added */
    unsigned char block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *bytes, size_t n);
/* The digest as lower-case hexadecimal digits, and a NUL. h is spent. */
void sha256_hex(struct sha256 *h, char out[SHA256_HEX]);

#endif
