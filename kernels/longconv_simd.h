/* longconv over lanes: first column pass from the caller's rows, rows visited in pairs, last column pass into
 * the caller's rows. */
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
    return (rows * (N / rows + 1) + BATCH * rows) * POINT;
}

VEC lanes load_channels(const float *p, size_t channels)
{
    return channels == LANES ? lanes_load(p) : lanes_load_first(p, channels);
}
VEC void store_channels(float *p, lanes x, size_t channels)
{
    if (channels == LANES)
        lanes_store(p, x);
    else
        lanes_store_first(p, x, channels);
}

/* Two real sequences as one complex: position p, 0 from L on. */
VEC struct point input_point(const struct longconv_input *x, size_t p, size_t L, size_t channels)
{
    if (p >= L) return (struct point){lanes_set(0), lanes_set(0)};
    return (struct point){load_channels(x->a + p * x->lda, channels),
                          load_channels(x->b + p * x->ldb, channels)};
}

/* What columns_from_input reads and columns_to_output writes lies a step of `columns` positions further each
 * time. */
VEC void prefetch_position(const float *a, size_t lda, const float *b, size_t ldb, size_t p, size_t L)
{
    if (p >= L) return;
    prefetch(a + p * lda, 1);
    prefetch(b + p * ldb, 1);
}

/* The second half of the points is 0, so the third and fourth of a quad are. */
VEC struct quad quad_forward_half(struct point a, struct point b)
{
    return (struct quad){point_add(a, b), point_sub(a, b), point_sub_i(a, b), point_add_i(a, b)};
}

static void columns_from_input(float *x, const struct fft_plan *plan, size_t first,
                               const struct longconv_input *in, size_t L, size_t channels)
{
    size_t q = plan->rows / 4, stride = plan->columns;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < q; j++, w += 6) {
        struct triple t = triple_load(w);
        for (size_t c = 0; c < BATCH; c++) {
            size_t p = j * stride + first + c;
            prefetch_position(in->a, in->lda, in->b, in->ldb, p + 2 * stride, L);
            prefetch_position(in->a, in->lda, in->b, in->ldb, p + (q + 2) * stride, L);
            struct quad y = quad_forward_half(input_point(in, p, L, channels),
                                              input_point(in, p + q * stride, L, channels));
            quad_store(x + (c * plan->rows + j) * POINT, q * POINT, quad_turn(y, t));
        }
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

static void columns_from_kernels(float *x, const struct fft_plan *plan, size_t first,
                                 const struct longconv_kernel k[2], size_t n, size_t channels)
{
    size_t q = plan->rows / 4, N = plan->N;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < q; j++, w += 6) {
        struct triple t = triple_load(w);
        for (size_t c = 0; c < BATCH; c++) {
            size_t p = j * plan->columns + first + c;
            struct quad y = {kernel_point(k, p, N, n, channels), kernel_point(k, p + N / 4, N, n, channels),
                             kernel_point(k, p + N / 2, N, n, channels),
                             kernel_point(k, p + N / 4 * 3, N, n, channels)};
            quad_store(x + (c * plan->rows + j) * POINT, q * POINT, quad_turn(quad_forward(y), t));
        }
    }
}

VEC void output_point(const struct longconv_output *y, size_t p, size_t L, size_t channels, struct point z)
{
    if (p >= L) return;
    if (y->gate) {
        lanes gate = load_channels(y->gate + p * y->ldgate, channels);
        store_channels(y->a + p * y->lda, lanes_fma(z.re, gate, z.im), channels);
        return;
    }
    store_channels(y->a + p * y->lda, z.re, channels);
    store_channels(y->b + p * y->ldb, z.im, channels);
}

VEC void prefetch_output(const struct longconv_output *y, size_t p, size_t L)
{
    if (y->gate)
        prefetch_position(y->a, y->lda, y->gate, y->ldgate, p, L);
    else
        prefetch_position(y->a, y->lda, y->b, y->ldb, p, L);
}

/* The second half of the points is not wanted, so the third and fourth of a quad are not computed. */
static void columns_to_output(const struct longconv_output *y, const float *x, const struct fft_plan *plan,
                              size_t first, size_t L, size_t channels)
{
    size_t q = plan->rows / 4, stride = plan->columns;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < q; j++, w += 6) {
        struct triple t = triple_load(w);
        for (size_t c = 0; c < BATCH; c++) {
            struct quad z = quad_turn_back(quad_load(x + (c * plan->rows + j) * POINT, q * POINT), t);
            size_t p = j * stride + first + c;
            prefetch_output(y, p + 2 * stride, L);
            prefetch_output(y, p + (q + 2) * stride, L);
            output_point(y, p, L, channels, point_add(point_add(z.a, z.b), point_add(z.c, z.d)));
            output_point(y, p + q * stride, L, channels,
                         point_add_i(point_sub(z.a, z.b), point_sub(z.c, z.d)));
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

static void columns_to_gradient(const struct longconv_kernel_gradient d[2], const float *x,
                                const struct fft_plan *plan, size_t first, size_t n, size_t channels)
{
    size_t q = plan->rows / 4, N = plan->N;
    const float *w = plan->column_factors;
    for (size_t j = 0; j < q; j++, w += 6) {
        struct triple t = triple_load(w);
        for (size_t c = 0; c < BATCH; c++) {
            struct quad z = quad_load(x + (c * plan->rows + j) * POINT, q * POINT);
            z = quad_inverse(quad_turn_back(z, t));
            size_t p = j * plan->columns + first + c;
            gradient_point(d, p, N, n, channels, z.a);
            gradient_point(d, p + N / 4, N, n, channels, z.b);
            gradient_point(d, p + N / 2, N, n, channels, z.c);
            gradient_point(d, p + N / 4 * 3, N, n, channels, z.d);
        }
    }
}

static void transform_input(float *buffer, float *columns, const struct fft_plan *plan,
                            const struct longconv_input *in, size_t L, size_t channels)
{
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        columns_from_input(columns, plan, first, in, L, channels);
        columns_forward_inner(columns, plan->rows, plan->column_factors + plan->rows / 4 * 6);
        columns_forward_last(buffer, pitch_of(plan), columns, plan, first);
    }
}

static void transform_output(const struct longconv_output *y, float *buffer, float *columns,
                             const struct fft_plan *plan, size_t L, size_t channels)
{
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        columns_inverse_first(columns, buffer, pitch_of(plan), plan, first);
        columns_inverse_inner(columns, plan->rows, plan->column_factors + plan->rows / 4 * 6);
        columns_to_output(y, columns, plan, first, L, channels);
    }
}

static void make_spectrum(float *spectrum, const struct fft_plan *plan,
                          const struct longconv_kernel kernels[2], size_t n, size_t channels, float *scratch)
{
    float *columns = scratch + buffer_floats(plan);
    for (size_t first = 0; first < plan->columns; first += BATCH) {
        columns_from_kernels(columns, plan, first, kernels, n, channels);
        columns_forward_inner(columns, plan->rows, plan->column_factors + plan->rows / 4 * 6);
        columns_forward_last(scratch, pitch_of(plan), columns, plan, first);
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
        columns_inverse_first(columns, scratch, pitch_of(plan), plan, first);
        columns_inverse_inner(columns, plan->rows, plan->column_factors + plan->rows / 4 * 6);
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
