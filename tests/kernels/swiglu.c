#include "tests/kernels/check.h"

static double silu(double a)
{
    return a / (1 + exp(-a));
}

Test(swiglu, agrees_with_the_formula_for_every_width_and_alignment)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 4; skew++) {
                size_t F = check_sizes[i], N = 3,
                       ld = 2 * F + 1; /* a and b side by side, as one product leaves them */
                struct guarded ab = guarded_new(N * ld, skew), want = guarded_new(N * ld, 0);
                check_fill(ab.data, ab.n, F, 20);
                memcpy(want.data, ab.data, ab.n * sizeof(float));
                for (size_t r = 0; r < N; r++)
                    for (size_t f = 0; f < F; f++)
                        want.data[r * ld + f] =
                            (float)(silu(want.data[r * ld + f]) * want.data[r * ld + F + f]);
                k->swiglu_forward(ab.data, ab.data + F, ld, N, F);
                EXPECT_CLOSE(ab.data, want.data, ab.n, 1e-6, 0, "%s F %zu", k->name, F);
                cr_assert(guarded_intact(&ab));
                guarded_free(&ab), guarded_free(&want);
            }
}

Test(swiglu, of_large_small_and_special_gates)
{
    static const float gates[] = {0,     -0.0f,  1e-30f, -1e-30f, 20,     -20,      80,   -80,
                                  87.5f, -87.5f, 88.8f,  -88.8f,  -95,    100,      -100, -103.9f,
                                  -105,  1e4f,   -1e4f,  3e38f,   -3e38f, INFINITY, NAN};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(gates); i++)
            for (size_t at = 0; at < 19; at += 9) { /* in a whole vector and in the rest of a row */
                float a[19] = {0}, b[19];
                for (size_t f = 0; f < 19; f++) b[f] = 1;
                a[at] = gates[i];
                k->swiglu_forward(a, b, 19, 1, 19);
                double want = isinf(gates[i]) ? (double)gates[i] : silu(gates[i]);
                cr_assert(check_close(a[at], want, 1e-6, 1e-36), "%s: silu(%g) is %g, expected %g", k->name,
                          (double)gates[i], (double)a[at], want);
                for (size_t f = 0; f < 19; f++)
                    cr_assert(f == at || a[f] == 0, "%s: element %zu", k->name, f);
            }
}
