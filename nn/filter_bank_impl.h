/* What filter_bank.c (keeping, life) and filter_spectrum.c (making) share. */
#ifndef NN_FILTER_BANK_IMPL_H
#define NN_FILTER_BANK_IMPL_H

#include "nn/filter_impl.h"

#include <assert.h>

enum { SIZES = 11 /* transforms from FFT_MIN to FFT_MAX */ };
static_assert(FFT_MIN << (SIZES - 1) == FFT_MAX, "a plan for each size");

struct kept {
    float *spectra;
    uint64_t bytes, used; /* used: the bank's clock */
};

struct filter_bank {
    struct filter_shape shape;
    size_t blocks;
    const struct kernels *kernels;
    struct workers *workers;
    struct filter (*filters)[2]; /* [blocks] */
    struct kept (*kept)[SIZES];  /* [blocks] */
    struct {
        struct fft_plan plan;
        float *factors;
    } sizes[SIZES];
    float *features;
    size_t features_bytes, features_block, features_lags; /* what they are of; lags 0: of nothing */
    uint64_t clock;
    struct filter_bank_stats stats;
};

/* Lags of the kernels in a transform of N points. */
size_t filter_lags(const struct filter_bank *b, size_t N);
/* The hidden features of a block's filters, for so many lags, are there. Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_features(struct filter_bank *b, size_t block, size_t lags, struct thea_err *err);
void filter_features_free(struct filter_bank *b);
/* A group's spectrum from the features. scratch [filter_scratch_floats]. */
void filter_make_spectrum(const struct filter_use *use, float *spectrum, size_t group, float *scratch);
size_t filter_scratch_floats(const struct filter_bank *b, size_t N);

#endif
