#include "tests/kernels/check.h"
#include "kernels/longconv.h"

/* Two sequences of C channels and their kernels, random. */
struct problem {
    size_t L, C, N, n; /* n: kernel lags */
    struct fft_plan plan;
    float *factors, *a, *b, *dy, *dyu, *k[4], *skip[2]; /* k: fwd, rev of each filter */
    struct longconv_kernel kernels[2];
    struct longconv_input x, d;
};

static float *random_floats(size_t n, uint64_t seed)
{
    float *x = malloc((n + 1) * sizeof *x);
    cr_assert_not_null(x);
    check_fill(x, n, seed, 1);
    return x;
}

static void problem_init(struct problem *p, size_t L, size_t C, size_t n)
{
    *p = (struct problem){.L = L, .C = C, .N = longconv_size(L), .n = n};
    p->factors = malloc(fft_plan_floats(p->N) * sizeof(float));
    fft_plan_init(&p->plan, p->N, p->factors);
    p->a = random_floats(L * C, 1), p->b = random_floats(L * C, 2);
    p->dy = random_floats(L * C, 3), p->dyu = random_floats(L * C, 4);
    for (size_t i = 0; i < 4; i++) p->k[i] = random_floats(n * C, 5 + i);
    for (size_t i = 0; i < 2; i++) p->skip[i] = random_floats(C, 9 + i);
    for (size_t i = 0; i < 2; i++)
        p->kernels[i] = (struct longconv_kernel){p->k[2 * i], p->k[2 * i + 1], C, p->skip[i]};
    p->x = (struct longconv_input){p->a, p->b, C, C};
    p->d = (struct longconv_input){p->dy, p->dyu, C, C};
}

static void problem_fini(struct problem *p)
{
    free(p->factors), free(p->a), free(p->b), free(p->dy), free(p->dyu);
    for (size_t i = 0; i < 4; i++) free(p->k[i]);
    for (size_t i = 0; i < 2; i++) free(p->skip[i]);
}

/* What a table needs beside the problem. */
struct room {
    const struct longconv_kernels *k;
    struct guarded spectrum, gradient, scratch;
};

static void room_init(struct room *r, const struct kernels *k, const struct problem *p)
{
    size_t spectrum = k->longconv->spectrum_floats(p->N), scratch = 2 * k->longconv->scratch_floats(p->N);
    *r = (struct room){k->longconv, guarded_new(spectrum, 0), guarded_new(spectrum, 0),
                       guarded_new(scratch, 0)};
    memset(r->gradient.data, 0, spectrum * sizeof(float));
    r->k->spectrum(r->spectrum.data, &p->plan, p->kernels, p->n, p->C, r->scratch.data);
}

static void room_fini(struct room *r)
{
    cr_assert(guarded_intact(&r->spectrum) && guarded_intact(&r->gradient) && guarded_intact(&r->scratch),
              "wrote outside its room");
    guarded_free(&r->spectrum), guarded_free(&r->gradient), guarded_free(&r->scratch);
}

/* Errors are relative to the largest value: a transform spreads them over all positions. */
static void expect_near(const float *got, size_t ld, const float *want, size_t L, size_t C, const char *what,
                        const char *table)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < L * C; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        double d = fabs((double)got[i / C * ld + i % C] - (double)want[i]);
        worst = isnan(d) ? INFINITY : fmax(worst, d);
    }
    cr_assert(worst <= 1e-6 * largest, "%s: %s of L %zu C %zu: off by %g of %g", table, what, L, C, worst,
              largest);
}

static void run_forward(float *y, float *yu, size_t ld, const struct room *r, const struct problem *p)
{
    struct longconv_output out = {y, yu, ld, ld, NULL, 0};
    r->k->forward(&out, &p->x, r->spectrum.data, &p->plan, p->L, p->C, r->scratch.data);
}

static void compare_forward(const struct kernels *k, const struct problem *p)
{
    size_t ld = p->C + 3;
    struct room r;
    room_init(&r, k, p);
    struct guarded y = guarded_new(p->L * ld, 1), yu = guarded_new(p->L * ld, 2);
    float *want = malloc(p->L * p->C * sizeof *want);
    run_forward(y.data, yu.data, ld, &r, p);
    longconv_direct_forward(want, p->C, p->a, p->C, &p->kernels[0], p->n, p->L, p->C);
    expect_near(y.data, ld, want, p->L, p->C, "filter 1", k->name);
    longconv_direct_forward(want, p->C, p->b, p->C, &p->kernels[1], p->n, p->L, p->C);
    expect_near(yu.data, ld, want, p->L, p->C, "filter 2", k->name);
    cr_assert(guarded_intact(&y) && guarded_intact(&yu), "%s: wrote outside the output", k->name);
    guarded_free(&y), guarded_free(&yu), free(want);
    room_fini(&r);
}

static const size_t lengths[] = {1, 2, 3, 5, 17, 31, 32, 33, 63, 64, 65, 101, 127, 128, 200, 256, 257, 509};

static void compare_gradients(const struct kernels *k, const struct problem *p, const struct room *r,
                              size_t filter)
{
    size_t n = p->L, C = p->C;
    float *got[4], *want[3], *skip = calloc(C, sizeof *skip);
    for (size_t i = 0; i < 4; i++) got[i] = malloc(n * C * sizeof(float));
    for (size_t i = 0; i < 3; i++) want[i] = calloc(n * C, sizeof(float));
    struct longconv_kernel_gradient dk[2] = {{got[0], got[1], C}, {got[2], got[3], C}},
                                    dw = {want[0], want[1], C};
    r->k->kernel_gradient(dk, r->gradient.data, &p->plan, n, C, r->scratch.data);
    longconv_direct_backward(want[2], C, &dw, skip, filter ? p->dyu : p->dy, C, filter ? p->b : p->a, C,
                             &p->kernels[filter], p->n, p->L, C);
    expect_near(dk[filter].fwd, C, want[0], n, C, "gradient of k_fwd", k->name);
    expect_near(dk[filter].rev, C, want[1], n - 1, C, "gradient of k_rev", k->name);
    expect_near(dk[filter].fwd, C, skip, 1, C, "gradient of D", k->name);
    for (size_t i = 0; i < 4; i++) free(got[i]);
    for (size_t i = 0; i < 3; i++) free(want[i]);
    free(skip);
}

static void compare_backward(const struct kernels *k, const struct problem *p)
{
    struct room r;
    room_init(&r, k, p);
    size_t values = p->L * p->C;
    float *dx = malloc(values * 4), *dxu = malloc(values * 4), *want = malloc(values * 4);
    struct longconv_output out = {dx, dxu, p->C, p->C, NULL, 0};
    r.k->backward(&out, r.gradient.data, &p->d, &p->x, r.spectrum.data, &p->plan, p->L, p->C, r.scratch.data);
    longconv_direct_backward(want, p->C, NULL, NULL, p->dy, p->C, p->a, p->C, &p->kernels[0], p->n, p->L,
                             p->C);
    expect_near(dx, p->C, want, p->L, p->C, "gradient of x", k->name);
    longconv_direct_backward(want, p->C, NULL, NULL, p->dyu, p->C, p->b, p->C, &p->kernels[1], p->n, p->L,
                             p->C);
    expect_near(dxu, p->C, want, p->L, p->C, "gradient of u", k->name);
    compare_gradients(k, p, &r, 0);
    compare_gradients(k, p, &r, 1);
    r.k->backward(&out, NULL, &p->d, NULL, r.spectrum.data, &p->plan, p->L, p->C, r.scratch.data);
    expect_near(dxu, p->C, want, p->L, p->C, "gradient of u, alone", k->name);
    free(dx), free(dxu), free(want);
    room_fini(&r);
}

Test(longconv, the_direct_sum_gives_the_numbers_worked_by_hand)
{
    const float x[] = {1, 2, 3, 4}, fwd[] = {1, 10, 100, 1000}, rev[] = {5, 7, 11, 13}, skip = 2;
    const float want[] = {78, 59, 149, 1242};
    struct longconv_kernel k = {fwd, rev, 1, &skip};
    float y[4];
    longconv_direct_forward(y, 1, x, 1, &k, 4, 4, 1);
    cr_assert(memcmp(y, want, sizeof y) == 0, "%g %g %g %g", (double)y[0], (double)y[1], (double)y[2],
              (double)y[3]);
}

Test(longconv, the_direct_gradients_agree_with_finite_differences)
{
    enum { L = 7, C = 2, VALUES = L * C };
    struct problem p;
    problem_init(&p, L, C, L);
    float dx[VALUES], dk[2][VALUES] = {{0}}, dskip[C] = {0}, y[VALUES];
    struct longconv_kernel_gradient g = {dk[0], dk[1], C};
    longconv_direct_backward(dx, C, &g, dskip, p.dy, C, p.a, C, &p.kernels[0], L, L, C);
    struct {
        float *value;
        const float *gradient;
        size_t count;
    } what[] = {{p.a, dx, VALUES}, {p.k[0], dk[0], VALUES}, {p.k[1], dk[1], VALUES}, {p.skip[0], dskip, C}};
    for (size_t w = 0; w < COUNT(what); w++)
        for (size_t i = 0; i < what[w].count; i++) { /* linear in each: any step is exact */
            double change = 0;
            for (int side = -1; side <= 1; side += 2) {
                float kept = what[w].value[i];
                what[w].value[i] = kept + (float)side;
                longconv_direct_forward(y, C, p.a, C, &p.kernels[0], L, L, C);
                for (size_t j = 0; j < VALUES; j++) change += side * 0.5 * (double)p.dy[j] * (double)y[j];
                what[w].value[i] = kept;
            }
            cr_assert(check_close(change, (double)what[w].gradient[i], 1e-5, 1e-5),
                      "%zu of %zu: %g, expected %g", i, w, (double)what[w].gradient[i], change);
        }
    problem_fini(&p);
}

Test(longconv, agrees_with_the_direct_sum_for_any_length_and_number_of_channels, .timeout = 120)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(lengths); i++)
            for (size_t channels = 1; channels <= k->longconv->lanes; channels += i % 3 + 1) {
                struct problem p;
                problem_init(&p, lengths[i], channels, lengths[i]);
                compare_forward(k, &p);
                problem_fini(&p);
            }
}

Test(longconv, backward_agrees_with_the_direct_sums_for_any_length, .timeout = 120)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(lengths); i++) {
            struct problem p;
            problem_init(&p, lengths[i], i % k->longconv->lanes + 1, lengths[i]);
            compare_backward(k, &p);
            problem_fini(&p);
        }
}

/* One output by the definition, with nothing shared with longconv.c. */
static double output_at(const struct problem *p, size_t filter, const float *x, size_t at)
{
    double y = (double)p->skip[filter][0] * (double)x[at];
    for (size_t s = 0; s < p->L; s++) {
        size_t lag = s <= at ? at - s : s - at - 1;
        if (lag < p->n) y += (double)p->k[2 * filter + (s > at)][lag] * (double)x[s];
    }
    return y;
}

Test(longconv, is_exact_at_lengths_of_every_transform_up_to_the_largest, .timeout = 120)
{
    FOR_EACH_TABLE (k)
        for (size_t L = 700; L <= LONGCONV_MAX;
             L = L * 2 > LONGCONV_MAX && L < LONGCONV_MAX ? LONGCONV_MAX : L * 2) {
            struct problem p;
            struct room r;
            problem_init(&p, L, 1, L);
            room_init(&r, k, &p);
            float *y = malloc(L * 4), *yu = malloc(L * 4);
            run_forward(y, yu, 1, &r, &p);
            double tolerance = 2e-6 * sqrt((double)L);
            for (size_t i = 0; i < 12; i++) {
                size_t at = i < 2 ? i * (L - 1) : i * 7919 % L;
                cr_assert(check_close((double)y[at], output_at(&p, 0, p.a, at), 0, tolerance),
                          "%s L %zu at %zu", k->name, L, at);
                cr_assert(check_close((double)yu[at], output_at(&p, 1, p.b, at), 0, tolerance),
                          "%s L %zu at %zu", k->name, L, at);
            }
            free(y), free(yu);
            room_fini(&r);
            problem_fini(&p);
        }
}

/* Rows that are whole cache lines may be stored otherwise than rows that are not. */
Test(longconv, the_same_bits_are_stored_wherever_the_rows_lie, .timeout = 120)
{
    FOR_EACH_TABLE (k) {
        enum { L = 20000 };
        size_t C = k->longconv->lanes, ld = (C + 15) / 16 * 16, bytes = L * ld * sizeof(float);
        struct problem p;
        struct room r;
        problem_init(&p, L, C, 100);
        room_init(&r, k, &p);
        float *y = aligned_alloc(64, bytes), *yu = aligned_alloc(64, bytes),
              *gated = aligned_alloc(64, bytes);
        float *z = malloc(L * (C + 1) * 4 + 4), *zu = malloc(L * (C + 1) * 4 + 4);
        struct longconv_output out = {gated, NULL, ld, 0, p.dy, C};
        r.k->forward(&out, &p.x, r.spectrum.data, &p.plan, L, C, r.scratch.data);
        run_forward(y, yu, ld, &r, &p);
        run_forward(z + 1, zu + 1, C + 1, &r, &p);
        for (size_t i = 0; i < L; i++) {
            const float *a = z + 1 + i * (C + 1), *b = zu + 1 + i * (C + 1);
            cr_assert(memcmp(y + i * ld, a, C * 4) == 0 && memcmp(yu + i * ld, b, C * 4) == 0,
                      "%s: position %zu", k->name, i);
            for (size_t c = 0; c < C; c++)
                cr_assert(check_close((double)gated[i * ld + c],
                                      (double)a[c] * (double)p.dy[i * C + c] + (double)b[c], 1e-5, 1e-5),
                          "%s: gated, position %zu", k->name, i);
        }
        free(y), free(yu), free(gated), free(z), free(zu);
        room_fini(&r);
        problem_fini(&p);
    }
}

Test(longconv, lags_that_a_kernel_does_not_have_are_zero)
{
    FOR_EACH_TABLE (k) {
        struct problem p;
        problem_init(&p, 60, 3, 11);
        compare_forward(k, &p);
        problem_fini(&p);
    }
}

Test(longconv, one_spectrum_serves_every_length_of_its_size)
{
    FOR_EACH_TABLE (k) {
        struct problem p;
        struct room r;
        problem_init(&p, 128, 2, 128);
        room_init(&r, k, &p);
        for (size_t L = 1; L <= 128; L += 9) {
            float y[256], yu[256], want[256];
            p.L = L;
            run_forward(y, yu, 2, &r, &p);
            longconv_direct_forward(want, 2, p.a, 2, &p.kernels[0], L, L, 2);
            for (size_t i = 0; i < 2 * L; i++)
                cr_assert(check_close((double)y[i], (double)want[i], 0, 2e-5), "%s L %zu", k->name, L);
        }
        room_fini(&r);
        problem_fini(&p);
    }
}

Test(longconv, with_a_gate_stores_the_gated_sum_alone_and_in_place_it_stores_the_same)
{
    enum { L = 45, C = 3, VALUES = L * C };
    FOR_EACH_TABLE (k) {
        struct problem p;
        struct room r;
        problem_init(&p, L, C, L);
        room_init(&r, k, &p);
        float y[VALUES], yu[VALUES], gated[VALUES];
        run_forward(y, yu, C, &r, &p);
        struct longconv_output out = {gated, NULL, C, 0, p.dy, C};
        r.k->forward(&out, &p.x, r.spectrum.data, &p.plan, L, C, r.scratch.data);
        for (size_t i = 0; i < VALUES; i++)
            cr_assert(
                check_close((double)gated[i], (double)y[i] * (double)p.dy[i] + (double)yu[i], 1e-6, 1e-6),
                "%s element %zu", k->name, i);
        run_forward(p.a, p.b, C, &r, &p);
        cr_assert(memcmp(p.a, y, sizeof y) == 0 && memcmp(p.b, yu, sizeof yu) == 0, "%s in place", k->name);
        room_fini(&r);
        problem_fini(&p);
    }
}

Test(longconv, a_nan_spoils_its_own_channel_only)
{
    enum { L = 20, C = 4, VALUES = L * C };
    FOR_EACH_TABLE (k) {
        struct problem p;
        struct room r;
        problem_init(&p, L, C, L);
        room_init(&r, k, &p);
        float y[VALUES], yu[VALUES], again[VALUES], againu[VALUES];
        run_forward(y, yu, C, &r, &p);
        p.a[5 * C + 2] = NAN;
        run_forward(again, againu, C, &r, &p);
        for (size_t i = 0; i < VALUES; i++)
            cr_assert(i % C == 2 ? isnan(again[i]) : again[i] == y[i], "%s element %zu", k->name, i);
        room_fini(&r);
        problem_fini(&p);
    }
}

Test(longconv, gradients_of_kernels_add_up_over_documents)
{
    enum { L = 40, C = 2 };
    FOR_EACH_TABLE (k) {
        struct problem p;
        struct room r;
        problem_init(&p, L, C, L);
        room_init(&r, k, &p);
        float dx[L * C], dxu[L * C], once[4][L * C], twice[4][L * C];
        struct longconv_output out = {dx, dxu, C, C, NULL, 0};
        float *both[] = {&once[0][0], &twice[0][0]};
        for (size_t i = 0; i < 2; i++) {
            struct longconv_kernel_gradient d[2] = {{both[i], both[i] + L * C, C},
                                                    {both[i] + 2 * L * C, both[i] + 3 * L * C, C}};
            r.k->backward(&out, r.gradient.data, &p.d, &p.x, r.spectrum.data, &p.plan, L, C, r.scratch.data);
            r.k->kernel_gradient(d, r.gradient.data, &p.plan, L, C, r.scratch.data);
        }
        for (size_t i = 0; i < 4 * L * C; i++)
            cr_assert(check_close(2 * (double)both[0][i], (double)both[1][i], 1e-5, 1e-5), "%s %zu", k->name,
                      i);
        room_fini(&r);
        problem_fini(&p);
    }
}

Test(longconv, the_transform_is_a_power_of_two_that_holds_twice_the_length)
{
    for (size_t L = 1; L <= LONGCONV_MAX; L += L / 5 + 1) {
        size_t N = longconv_size(L), rows = fft_rows(N);
        cr_assert(N >= 2 * L && N >= FFT_MIN && (N & (N - 1)) == 0 && (N == FFT_MIN || N < 4 * L),
                  "L %zu N %zu", L, N);
        cr_assert(rows >= 32 && N / rows >= 4, "N %zu rows %zu", N, rows);
    }
}
