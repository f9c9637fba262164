/* lanes: the channels that one SIMD register holds, one register (vec is sixteen floats on every CPU).
 * Include it after vec_avx512.h or vec_avx2.h, or alone: then it is what any compiler makes of four floats.
 */
#ifndef KERNELS_LANES_H
#define KERNELS_LANES_H

#include <stddef.h>

#if defined(KERNELS_VEC_AVX512_H)

enum { LANES = 16 };
typedef vec lanes;

#define lanes_load        vec_load
#define lanes_store       vec_store
#define lanes_load_first  vec_load_first
#define lanes_store_first vec_store_first
#define lanes_set         vec_set
#define lanes_add         vec_add
#define lanes_sub         vec_sub
#define lanes_mul         vec_mul
#define lanes_fma         vec_fma
#define lanes_fnma        vec_fnma

/* Stores past the caches, a line each: p is 64-byte aligned. They are in order for other threads only after
 * lanes_stream_end. */
enum { LANES_STREAM = 1 };
VEC void lanes_stream(float *p, lanes a)
{
    _mm512_stream_ps(p, a);
}
VEC void lanes_stream_end(void)
{
    _mm_sfence();
}

#elif defined(KERNELS_VEC_AVX2_H)

enum { LANES = 8 };
typedef __m256 lanes;

VEC lanes lanes_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VEC void lanes_store(float *p, lanes a)
{
    _mm256_storeu_ps(p, a);
}
VEC lanes lanes_load_first(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, vec_first(n, 0));
}
VEC void lanes_store_first(float *p, lanes a, size_t n)
{
    _mm256_maskstore_ps(p, vec_first(n, 0), a);
}
VEC lanes lanes_set(float x)
{
    return _mm256_set1_ps(x);
}
VEC lanes lanes_add(lanes a, lanes b)
{
    return _mm256_add_ps(a, b);
}
VEC lanes lanes_sub(lanes a, lanes b)
{
    return _mm256_sub_ps(a, b);
}
VEC lanes lanes_mul(lanes a, lanes b)
{
    return _mm256_mul_ps(a, b);
}
VEC lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VEC lanes lanes_fnma(lanes a, lanes b, lanes c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

#else

#include <string.h>

#define KERNEL(name) name
#define VEC          static inline __attribute__((always_inline))

enum { LANES = 4 };
typedef float lanes __attribute__((vector_size(16)));

VEC lanes lanes_load(const float *p)
{
    lanes a;
    memcpy(&a, p, sizeof a);
    return a;
}
VEC void lanes_store(float *p, lanes a)
{
    memcpy(p, &a, sizeof a);
}
/* The first n <= LANES floats; nothing else is touched. The other lanes are 0. */
VEC lanes lanes_load_first(const float *p, size_t n)
{
    lanes a = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i++) a[i] = p[i];
    return a;
}
VEC void lanes_store_first(float *p, lanes a, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = a[i];
}
VEC lanes lanes_set(float x)
{
    return (lanes){x, x, x, x};
}
VEC lanes lanes_add(lanes a, lanes b)
{
    return a + b;
}
VEC lanes lanes_sub(lanes a, lanes b)
{
    return a - b;
}
VEC lanes lanes_mul(lanes a, lanes b)
{
    return a * b;
}
VEC lanes lanes_fma(lanes a, lanes b, lanes c) /* a * b + c */
{
    return a * b + c;
}
VEC lanes lanes_fnma(lanes a, lanes b, lanes c) /* c - a * b */
{
    return c - a * b;
}

#endif

#if !defined(KERNELS_VEC_AVX512_H) /* a register is not a line */
enum { LANES_STREAM = 0 };
VEC void lanes_stream(float *p, lanes a)
{
    lanes_store(p, a);
}
VEC void lanes_stream_end(void) {}
#endif

#endif
