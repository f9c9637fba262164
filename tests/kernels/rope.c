#include "tests/kernels/check.h"

static const size_t head_sizes[] = {2, 4, 6, 16, 20, 30, 32, 34, 64, 66, 96, 128};

static void angles(float *cosines, float *sines, size_t N, size_t D, size_t pos)
{
    for (size_t i = 0; i < N; i++)
        for (size_t d = 0; d < D / 2; d++) {
            double a = (double)(pos + i) * pow(1e6, -2.0 * (double)d / (double)D);
            cosines[i * (D / 2) + d] = (float)cos(a);
            sines[i * (D / 2) + d] = (float)sin(a);
        }
}

Test(rope, turns_pairs_half_a_head_apart_and_leaves_the_rest_of_the_row)
{
    FOR_EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(head_sizes); s++) {
            size_t D = head_sizes[s], heads = 2, N = 3, ld = heads * D + 3, half = D / 2;
            struct guarded x = guarded_new(N * ld, 1), want = guarded_new(N * ld, 0),
                           c = guarded_new(N * half, 3), sn = guarded_new(N * half, 2);
            check_fill(x.data, x.n, D, 2);
            memcpy(want.data, x.data, x.n * sizeof(float));
            angles(c.data, sn.data, N, D, 1000);
            for (size_t i = 0; i < N; i++)
                for (size_t h = 0; h < heads; h++)
                    for (size_t d = 0; d < half; d++) {
                        float *a = want.data + i * ld + h * D + d, p = a[0], q = a[half];
                        double co = c.data[i * half + d], si = sn.data[i * half + d];
                        a[0] = (float)(p * co - q * si);
                        a[half] = (float)(q * co + p * si);
                    }
            k->rope_forward(x.data, ld, c.data, sn.data, N, heads, D);
            EXPECT_CLOSE(x.data, want.data, x.n, 0, 5e-7, "%s D %zu", k->name, D);
            cr_assert(guarded_intact(&x));
            guarded_free(&x), guarded_free(&want), guarded_free(&c), guarded_free(&sn);
        }
}

Test(rope, with_the_angle_negated_turns_back)
{
    FOR_EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(head_sizes); s++) {
            size_t D = head_sizes[s], N = 5;
            float x[5 * 128], was[5 * 128], c[5 * 64], sn[5 * 64];
            check_fill(x, N * D, D, 2);
            memcpy(was, x, N * D * sizeof *x);
            angles(c, sn, N, D, 77);
            k->rope_forward(x, D, c, sn, N, 1, D);
            for (size_t i = 0; i < N * D / 2; i++) sn[i] = -sn[i];
            k->rope_forward(x, D, c, sn, N, 1, D);
            EXPECT_CLOSE(x, was, N * D, 0, 2e-6, "%s D %zu", k->name, D);
        }
}

Test(rope, a_nan_spoils_its_pair_only)
{
    FOR_EACH_TABLE (k) {
        float x[40], c[20], sn[20];
        check_fill(x, 40, 1, 1);
        angles(c, sn, 1, 40, 9);
        x[18] = NAN;
        k->rope_forward(x, 40, c, sn, 1, 1, 40);
        for (size_t i = 0; i < 40; i++)
            cr_assert(!isnan(x[i]) == !(i == 18 || i == 38), "%s element %zu", k->name, i);
    }
}
