/* The head: final norm, logits, and the log-likelihood of tokens without ever holding all logits. */
#ifndef NN_HEAD_H
#define NN_HEAD_H

#include "nn/linear.h"
#include "nn/weights/loader.h"

struct model_config;

struct head {
    const float *norm;
    struct linear logits; /* [V, C] */
    size_t C, V;
    float eps;
    const struct kernels *kernels;
    struct workers *workers;
    float *memory; /* a worker's tile of logits, then running max, sum, target: HEAD_ROWS each */
    size_t worker_floats;
};

/* What is wrong with the weights is collected in l. Errors: THEA_EOS. */
THEA_CHECK thea_rc head_load(struct head *h, struct loader *l, const struct model_config *c,
                             struct workers *workers, struct thea_err *err);
void head_free(struct head *h);
void head_norm(const struct head *h, float *y, const float *x, size_t n);
void head_nll(const struct head *h, float *nll, const float *final, const int32_t *targets, size_t n);

#endif
