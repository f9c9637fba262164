/* gelu and geglu over vec. */
#include "kernels/gelu.h"
#include "kernels/vec_normal.h"

static const float inner_scale = 0x1.988454p-1f /* sqrt(2 / pi) */, inner_cubic = 0x1.6e4e26p-5f;

VEC vec tanh_weight(vec x) /* 1 / (1 + exp(-2 u)) */
{
    vec cubic = vec_fma(vec_mul(x, x), vec_set(inner_cubic), vec_set(1.0f));
    vec e = vec_exp(vec_mul(vec_mul(x, vec_set(-2 * inner_scale)), cubic));
    return vec_div(vec_set(1.0f), vec_add(vec_set(1.0f), e));
}

VEC vec bounded(vec x) /* where the slope has long settled, and nothing overflows */
{
    return vec_min(vec_set(40.0f), vec_max(vec_set(-40.0f), x));
}

VEC vec gelu_tanh(vec x)
{
    return vec_mul(vec_max(vec_set(-40.0f), x), tanh_weight(bounded(x)));
}

VEC vec gelu_tanh_slope(vec x)
{
    x = bounded(x);
    vec s = tanh_weight(x), squares = vec_mul(x, x);
    vec inner = vec_fma(squares, vec_set(6 * inner_scale * inner_cubic), vec_set(2 * inner_scale));
    return vec_fma(vec_mul(x, vec_mul(s, vec_sub(vec_set(1.0f), s))), inner, s);
}

VEC vec load_at(const float *x, size_t n)
{
    return n < 16 ? vec_load_first(x, n) : vec_load(x);
}

VEC void store_at(float *y, vec v, size_t n)
{
    if (n < 16)
        vec_store_first(y, v, n);
    else
        vec_store(y, v);
}

VEC vec gelu(vec x)
{
    vec_gelu(&x, 1);
    return x;
}

VEC void gelu_abreast(float *y, const float *x)
{
    vec v[VEC_ABREAST];
    EACH(VEC_ABREAST) v[i] = vec_load(x + 16 * i);
    vec_gelu(v, VEC_ABREAST);
    EACH(VEC_ABREAST) vec_store(y + 16 * i, v[i]);
}

/* Sixteen columns f… of each row; n of them are there. */
#define ROWS_AND_COLUMNS                                                                                     \
    for (size_t i = 0; i < N; i++)                                                                           \
        for (size_t f = 0, n = F; f < F; f += 16, n -= 16)

void KERNEL(gelu_forward)(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F)
{
    for (size_t i = 0; i < N; i++) {
        size_t f = 0;
        for (; f + 16 * VEC_ABREAST <= F; f += 16 * VEC_ABREAST)
            gelu_abreast(y + i * ldy + f, x + i * ldx + f);
        for (; f < F; f += 16) store_at(y + i * ldy + f, gelu(load_at(x + i * ldx + f, F - f)), F - f);
    }
}

void KERNEL(gelu_backward)(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                           size_t N, size_t F)
{
    vec y;
    ROWS_AND_COLUMNS
    {
        vec slope = vec_gelu_slope(&y, load_at(x + i * ldx + f, n));
        store_at(dx + i * lddx + f, vec_mul(load_at(dy + i * lddy + f, n), slope), n);
    }
}

void KERNEL(gelu_tanh_forward)(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F)
{
    ROWS_AND_COLUMNS store_at(y + i * ldy + f, gelu_tanh(load_at(x + i * ldx + f, n)), n);
}

void KERNEL(gelu_tanh_backward)(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x,
                                size_t ldx, size_t N, size_t F)
{
    ROWS_AND_COLUMNS
    {
        vec slope = gelu_tanh_slope(load_at(x + i * ldx + f, n));
        store_at(dx + i * lddx + f, vec_mul(load_at(dy + i * lddy + f, n), slope), n);
    }
}

void KERNEL(geglu_forward)(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N,
                           size_t F)
{
    ROWS_AND_COLUMNS
    {
        vec v = vec_mul(gelu(load_at(gate + i * ld + f, n)), load_at(lin + i * ld + f, n));
        store_at(y + i * ldy + f, v, n);
    }
}

void KERNEL(geglu_backward)(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy,
                            const float *gate, const float *lin, size_t ld, size_t N, size_t F)
{
    vec y;
    ROWS_AND_COLUMNS
    {
        vec d = load_at(dy + i * lddy + f, n), b = load_at(lin + i * ld + f, n);
        vec slope = vec_gelu_slope(&y, load_at(gate + i * ld + f, n));
        store_at(dgate + i * ldd + f, vec_mul(vec_mul(d, b), slope), n);
        store_at(dlin + i * ldd + f, vec_mul(d, y), n);
    }
}
