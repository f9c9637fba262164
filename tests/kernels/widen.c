#include "tests/kernels/check.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* binary16 by its definition. */
static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 31 ? (fraction ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return h & 0x8000 ? -v : v;
}

Test(widen, every_bf16_becomes_the_same_bits)
{
    uint16_t *src = malloc(65536 * sizeof *src);
    float *dst = malloc(65536 * sizeof *dst);
    for (size_t i = 0; i < 65536; i++) src[i] = (uint16_t)i;
    FOR_EACH_TABLE (k) {
        k->from_bf16(dst, src, 65536);
        for (size_t i = 0; i < 65536; i++)
            cr_assert_eq(bits_of(dst[i]), (uint32_t)i << 16, "%s %04zx", k->name, i);
    }
    free(src);
    free(dst);
}

Test(widen, every_f16_keeps_its_value_and_sign)
{
    uint16_t *src = malloc(65536 * sizeof *src);
    float *dst = malloc(65536 * sizeof *dst);
    for (size_t i = 0; i < 65536; i++) src[i] = (uint16_t)i;
    FOR_EACH_TABLE (k) {
        k->from_f16(dst, src, 65536);
        for (size_t i = 0; i < 65536; i++) {
            double want = half_value((uint16_t)i);
            cr_assert(check_close(dst[i], want, 0, 0), "%s %04zx: %g, expected %g", k->name, i,
                      (double)dst[i], want);
            cr_assert_eq(signbit(dst[i]) != 0, i >> 15, "%s %04zx", k->name, i);
        }
    }
    free(src);
    free(dst);
}

Test(widen, odd_lengths_at_odd_addresses_write_nothing_outside)
{
    uint16_t src[1100];
    for (size_t i = 0; i < COUNT(src); i++) src[i] = (uint16_t)(0x3c00 + i);
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 4; skew++) {
                size_t n = check_sizes[i];
                struct guarded dst = guarded_new(n, skew);
                k->from_f16(dst.data, src + skew, n);
                for (size_t j = 0; j < n; j++) cr_assert_eq(dst.data[j], (float)half_value(src[skew + j]));
                k->from_bf16(dst.data, src + skew, n);
                for (size_t j = 0; j < n; j++)
                    cr_assert_eq(bits_of(dst.data[j]), (uint32_t)src[skew + j] << 16);
                cr_assert(guarded_intact(&dst), "%s n %zu", k->name, n);
                guarded_free(&dst);
            }
}
