/* CRC-32C: see crc32c.h. The polynomial is 0x1EDC6F41, bits reflected. */
#include "graph/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82F63B78) /* reflected */

typedef uint32_t (*crc32c_function)(uint32_t crc, const void *bytes, size_t n);

static uint32_t table[256];
static crc32c_function best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint64_t sum = ~crc;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    uint32_t rest = (uint32_t)sum;
    for (; n > 0; n--, at++) rest = __builtin_ia32_crc32qi(rest, *at);
    return ~rest;
}
#endif

static void choose(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c & 1) != 0 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[i] = c;
    }
    best = crc32c_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) best = crc32c_sse42;
#endif
}

uint32_t crc32c_plain(uint32_t crc, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    pthread_once(&once, choose);
    crc = ~crc;
    for (; n > 0; n--, at++) crc = crc >> 8 ^ table[(crc ^ *at) & 0xFF];
    return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
    pthread_once(&once, choose);
    return best(crc, bytes, n);
}
