/* CRC-32, eight bytes a step: table[k][b] is the sum of byte b followed by k zero bytes. See crc32.h. */
#include "nn/weights/crc32.h"

#include <pthread.h>

enum { STEP = 8 };
static uint32_t table[STEP][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int i = 0; i < 8; i++) c = (c & 1) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1;
        table[0][b] = c;
    }
    for (int k = 1; k < STEP; k++)
        for (uint32_t b = 0; b < 256; b++)
            table[k][b] = table[0][table[k - 1][b] & 0xff] ^ (table[k - 1][b] >> 8);
}

uint32_t crc32_update(uint32_t crc, const void *bytes, size_t n)
{
    pthread_once(&once, make_table);
    const unsigned char *p = bytes;
    uint32_t c = ~crc;
    for (; n >= STEP; n -= STEP, p += STEP) {
        uint32_t low =
            c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        c = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
            table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; n > 0; n--, p++) c = table[0][(c ^ *p) & 0xff] ^ (c >> 8);
    return ~c;
}
