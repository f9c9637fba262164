/* longconv over lanes: columns from the caller's rows, rows visited in pairs, columns back into the caller's
 * rows. */
#include "kernels/fft_simd.h"
#include "kernels/longconv.h"
#include "kernels/longconv_visit.h"

/* Rows of a buffer are one point further apart than they are long: columns do not fall on one cache set. */
static size_t pitch_of(const struct fft_plan *plan)
{
    return (plan->columns + 1) * POINT;
}
static size_t buffer_floats(const struct fft_plan *plan)
{
    return plan->rows * pitch_of(plan);
}

static size_t scratch_floats(size_t N)
{
    size_t rows = fft_rows(N);
    return (rows * (N / rows + 1) + 2 * BATCH * rows) * POINT;
}

/* The rows of the buffer at the columns from `first` on, half a batch after the other. */
VEC void ahead_add_rows(struct ahead *a, const float *buffer, const struct fft_plan *plan, size_t first)
{
    size_t half = BATCH / 2 * POINT;
    if (first >= plan->columns || plan->columns < FAR) return;
    for (size_t i = 0; i < 2; i++)
        ahead_add(
            a, (struct stream){buffer + first * POINT + i * half, plan->rows, pitch_of(plan), half / LINE});
}

/* From the stage; the second half of the points is 0. */
static void columns_from_input(float *x, const struct fft_plan *plan, const float *stage, struct ahead *ahead)
{
    size_t e = plan->rows / 8;
    for (size_t c = 0; c < BATCH; c++) {
        const float *w = plan->column_factors;
        for (size_t j = 0; j < e; j++, w += 14) {
            struct quad z = quad_load(stage + (j * BATCH + c) * POINT, e * BATCH * POINT);
            oct_store(x + (c * plan->rows + j) * POINT, e * POINT, oct_turn(oct_forward_half(z), w));
            ahead_step(ahead);
        }
        passes_forward(x + c * plan->rows * POINT, plan->rows, plan->rows / 8, w, ahead);
    }
}

/* Both kernels as one complex sequence of N points. */
VEC struct point kernel_point(const struct longconv_kernel k[2], size_t p, size_t N, size_t n,
                              size_t channels)
{
    size_t lag = p < N / 2 ? p : N - 1 - p;
    if (lag >= n) return (struct point){lanes_set(0), lanes_set(0)};
    const float *a = p < N / 2 ? k[0].fwd : k[0].rev, *b = p < N / 2 ? k[1].fwd : k[1].rev;
    struct point z = {load_channels(a + lag * k[0].ld, channels), load_channels(b + lag * k[1].ld, channels)};
    if (p == 0 && k[0].skip) z.re = lanes_add(z.re, load_channels(k[0].skip, channels));
    if (p == 0 && k[1].skip) z.im = lanes_add(z.im, load_channels(k[1].skip, channels));
    return z;
}

VEC struct quad kernel_points(const struct longconv_kernel k[2], size_t p, size_t N, size_t n,
                              size_t channels)
{
    return (struct quad){kernel_point(k, p, N, n, channels), kernel_point(k, p + N / 8, N, n, channels),
                         kernel_point(k, p + N / 4, N, n, channels),
                         kernel_point(k, p + N / 8 * 3, N, n, channels)};
}

static void columns_from_kernels(float *x, const struct fft_plan *plan, size_t first,
                                 const struct longconv_kernel k[2], size_t n, size_t channels)
{
    size_t e = plan->rows / 8, N = plan->N;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < e; j++, w += 14)
        for (size_t c = 0; c < BATCH; c++) {
            size_t p = j * plan->columns + first + c;
            struct oct z = {kernel_points(k, p, N, n, channels), kernel_points(k, p + N / 2, N, n, channels)};
            oct_store(x + (c * plan->rows + j) * POINT, e * POINT, oct_turn(oct_forward(z), w));
        }
}

/* To the stage; the second half of the points is not wanted. */
static void columns_to_output(float *stage, float *x, const struct fft_plan *plan, struct ahead *ahead)
{
    size_t e = plan->rows / 8;
    for (size_t c = 0; c < BATCH; c++) {
        const float *w = plan->column_factors;
        passes_inverse(x + c * plan->rows * POINT, plan->rows, plan->rows / 8, w + 14 * e, ahead);
        for (size_t j = 0; j < e; j++, w += 14) {
            struct oct z = oct_turn_back(oct_load(x + (c * plan->rows + j) * POINT, e * POINT), w);
            quad_store(stage + (j * BATCH + c) * POINT, e * BATCH * POINT, oct_inverse_half(z));
            ahead_step(ahead);
        }
    }
}

VEC void gradient_point(const struct longconv_kernel_gradient d[2], size_t p, size_t N, size_t n,
                        size_t channels, struct point z)
{
    size_t lag = p < N / 2 ? p : N - 1 - p;
    if (lag >= n) return;
    store_channels((p < N / 2 ? d[0].fwd : d[0].rev) + lag * d[0].ld, z.re, channels);
    store_channels((p < N / 2 ? d[1].fwd : d[1].rev) + lag * d[1].ld, z.im, channels);
}

VEC void gradient_points(const struct longconv_kernel_gradient d[2], size_t p, size_t N, size_t n,
                         size_t channels, struct quad z)
{
    gradient_point(d, p, N, n, channels, z.a);
    gradient_point(d, p + N / 8, N, n, channels, z.b);
    gradient_point(d, p + N / 4, N, n, channels, z.c);
    gradient_point(d, p + N / 8 * 3, N, n, channels, z.d);
}

static void columns_to_gradient(const struct longconv_kernel_gradient d[2], const float *x,
                                const struct fft_plan *plan, size_t first, size_t n, size_t channels)
{
    size_t e = plan->rows / 8, N = plan->N;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < e; j++, w += 14)
        for (size_t c = 0; c < BATCH; c++) {
            struct oct z = oct_turn_back(oct_load(x + (c * plan->rows + j) * POINT, e * POINT), w);
            size_t p = j * plan->columns + first + c;
            z = oct_inverse(z);
            gradient_points(d, p, N, n, channels, z.lo);
            gradient_points(d, p + N / 2, N, n, channels, z.hi);
        }
}

/* Two stages, behind the columns: one is in use while the other is carried. */
VEC float *stage_of(float *columns, const struct fft_plan *plan, size_t first)
{
    return columns + (BATCH * plan->rows + first / BATCH % 2 * (BATCH * plan->rows / 2)) * POINT;
}

VEC void carry_batch(struct carry *c, float *columns, const struct fft_plan *plan, size_t first)
{
    c->stage = stage_of(columns, plan, first);
    c->position = first;
    c->left = first < plan->columns ? plan->rows / 2 * BATCH : 0;
}

static void transform_input(float *buffer, float *columns, const struct fft_plan *plan,
                            const struct longconv_input *in, size_t L, size_t channels)
{
    struct carry carry = {.in = in, .L = L, .channels = channels, .columns = plan->columns};
    carry_batch(&carry, columns, plan, 0);
    carry_all(&carry);
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        struct ahead ahead = {.carry = carry};
        carry_batch(&ahead.carry, columns, plan, first + BATCH);
        ahead_add_rows(&ahead, buffer, plan, first + BATCH);
        columns_from_input(columns, plan, stage_of(columns, plan, first), &ahead);
        columns_forward_last(buffer, pitch_of(plan), columns, plan, first, &ahead);
        carry_all(&ahead.carry);
    }
}

static void transform_output(const struct longconv_output *y, float *buffer, float *columns,
                             const struct fft_plan *plan, size_t L, size_t channels)
{
    struct carry carry = {.out = y, .L = L, .channels = channels, .columns = plan->columns};
    carry.past = plan->columns >= FAR && may_pass(y, channels);
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        struct ahead ahead = {.carry = carry};
        ahead_add_rows(&ahead, buffer, plan, first + BATCH);
        columns_inverse_first(columns, buffer, pitch_of(plan), plan, first, &ahead);
        columns_to_output(stage_of(columns, plan, first), columns, plan, &ahead);
        carry_all(&ahead.carry);
        carry_batch(&carry, columns, plan, first);
    }
    carry_all(&carry);
    if (carry.past) lanes_stream_end();
}

static void make_spectrum(float *spectrum, const struct fft_plan *plan,
                          const struct longconv_kernel kernels[2], size_t n, size_t channels, float *scratch)
{
    float *columns = scratch + buffer_floats(plan);
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        struct ahead ahead = {.streams = 0};
        ahead_add_rows(&ahead, scratch, plan, first + BATCH);
        columns_from_kernels(columns, plan, first, kernels, n, channels);
        columns_forward_inner(columns, plan, &ahead);
        columns_forward_last(scratch, pitch_of(plan), columns, plan, first, &ahead);
    }
    visit_rows(MAKE,
               &(struct visit){.z = scratch, .gradient = spectrum, .plan = plan, .pitch = pitch_of(plan)});
}

static void forward(const struct longconv_output *y, const struct longconv_input *x, const float *spectrum,
                    const struct fft_plan *plan, size_t L, size_t channels, float *scratch)
{
    float *columns = scratch + buffer_floats(plan);
    transform_input(scratch, columns, plan, x, L, channels);
    visit_rows(MULTIPLY,
               &(struct visit){.w = scratch, .spectrum = spectrum, .plan = plan, .pitch = pitch_of(plan)});
    transform_output(y, scratch, columns, plan, L, channels);
}

static void backward(const struct longconv_output *dx, float *gradient, const struct longconv_input *dy,
                     const struct longconv_input *x, const float *spectrum, const struct fft_plan *plan,
                     size_t L, size_t channels, float *scratch)
{
    float *columns = scratch + buffer_floats(plan), *inputs = scratch + scratch_floats(plan->N);
    struct visit v = {.w = scratch, .spectrum = spectrum, .plan = plan, .pitch = pitch_of(plan)};
    transform_input(scratch, columns, plan, dy, L, channels);
    if (gradient) {
        transform_input(inputs, columns, plan, x, L, channels);
        v.z = inputs, v.gradient = gradient;
        visit_rows(MULTIPLY_CONJ_ACCUMULATE, &v);
    } else {
        visit_rows(MULTIPLY_CONJ, &v);
    }
    transform_output(dx, scratch, columns, plan, L, channels);
}

static void kernel_gradient(const struct longconv_kernel_gradient d[2], const float *gradient,
                            const struct fft_plan *plan, size_t n, size_t channels, float *scratch)
{
    float *columns = scratch + buffer_floats(plan);
    visit_rows(RECALL,
               &(struct visit){.w = scratch, .spectrum = gradient, .plan = plan, .pitch = pitch_of(plan)});
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        struct ahead ahead = {.streams = 0};
        ahead_add_rows(&ahead, scratch, plan, first + BATCH);
        columns_inverse_first(columns, scratch, pitch_of(plan), plan, first, &ahead);
        columns_inverse_inner(columns, plan, &ahead);
        columns_to_gradient(d, columns, plan, first, n, channels);
    }
}

const struct longconv_kernels KERNEL(longconv) = {
    .lanes = LANES,
    .spectrum_floats = spectrum_floats,
    .scratch_floats = scratch_floats,
    .spectrum = make_spectrum,
    .forward = forward,
    .backward = backward,
    .kernel_gradient = kernel_gradient,
};
