/* One token from one row of logits. Pure: no state but what is passed in.
 *
 * In this order, as in the ecosystem: repetition penalty; greedy choice, or temperature; top-k; top-p; min-p;
 * a draw. Each filter sees the probabilities as the one before left them, made to sum to 1 again. Equal
 * logits are ordered by id, so every result is defined. */
#ifndef STAGES_SUPPORT_SAMPLER_H
#define STAGES_SUPPORT_SAMPLER_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>

struct sampler_options {
    bool greedy;               /* the highest logit; the filters do not matter */
    double temperature;        /* 0: greedy */
    int64_t top_k;             /* 0: all */
    double top_p;              /* 1: all */
    double min_p;              /* 0: all */
    double repetition_penalty; /* 1: none; logits of ids seen are divided by it if positive, else multiplied
                                  (CTRL, arXiv 1909.05858, 4.1) */
};

struct sampler_candidate {
    float logit;
    int32_t id;
    double p;
};

/* *id: the choice. seen: one bit an id (NULL: none seen). scratch [n]. uniform: a draw from [0, 1).
 * Errors: THEA_EDOC: a logit is NaN or +infinity, or all are -infinity. */
THEA_CHECK thea_rc sampler_choose(int32_t *id, const struct sampler_options *o, const float *logits, size_t n,
                                  const uint64_t *seen, double uniform, struct sampler_candidate *scratch,
                                  struct thea_err *err);

/* The draw number `count` of a stream: the same whatever else runs, and after a restart. Uniform in [0, 1),
 * 53 bits; splitmix64 of the key. */
double sampler_uniform(int64_t seed, uint64_t stream, uint64_t count);

#endif
