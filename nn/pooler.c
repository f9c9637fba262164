/* The pooler of an encoder: see pooler.h. */
#include "nn/pooler.h"

#include "nn/families/family.h"
#include "nn/model_weights.h"

#include <math.h>
#include <stdlib.h>

struct pooler {
    struct model_config *config;
    struct weights *weights;
    struct loader loader;
    struct linear dense; /* [C, C] */
};

static thea_rc fail_none(const struct model_config *c, const char *dir, struct thea_err *err)
{
    return thea_fail(err, THEA_EUSAGE,
                     "pooling 'pooler': %s is a %s model, which has no pooler\n  accepted   mean, last, cls",
                     dir, c->info.model_type);
}

thea_rc pooler_check(const char *dir, struct thea_err *err)
{
    struct model_config *c;
    thea_rc rc = model_config_read(&c, dir, err);
    if (rc == THEA_OK && c->pooler_name == NULL) rc = fail_none(c, dir, err);
    free(c);
    return rc;
}

thea_rc pooler_open(struct pooler **out, const char *dir, const struct kernels *kernels, struct thea_err *err)
{
    *out = NULL;
    struct pooler *p = calloc(1, sizeof *p);
    if (p == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    thea_rc rc = model_config_read(&p->config, dir, err);
    if (rc == THEA_OK && p->config->pooler_name == NULL) rc = fail_none(p->config, dir, err);
    if (rc == THEA_OK) rc = model_weights_open(&p->weights, p->config, dir, err);
    if (rc == THEA_OK) rc = loader_init(&p->loader, p->weights, kernels, err);
    if (rc == THEA_OK) {
        size_t C = p->config->info.hidden;
        loader_linear(&p->loader, &p->dense, "", &p->config->pooler_name, &p->config->pooler_bias_name, &C, 1,
                      C);
        rc = loader_check(&p->loader, dir, err);
    }
    if (rc != THEA_OK) {
        pooler_close(p);
        return rc;
    }
    *out = p;
    return THEA_OK;
}

void pooler_close(struct pooler *p)
{
    if (p == NULL) return;
    loader_fini(&p->loader);
    weights_close(p->weights);
    free(p->config);
    free(p);
}

size_t pooler_width(const struct pooler *p)
{
    return p->dense.out;
}

void pooler_forward(const struct pooler *p, float *y, const float *h)
{
    size_t C = p->dense.in;
    for (size_t i = 0; i < C; i++) {
        const float *w = p->dense.part[0].w + i * C;
        double sum = (double)p->dense.bias[i];
        for (size_t j = 0; j < C; j++) sum += (double)w[j] * (double)h[j];
        y[i] = (float)tanh(sum);
    }
}

/* z = W h + b: its gradient is dy (1 - y^2). y is used one number at a time, so that no room is needed. */
void pooler_backward(const struct pooler *p, float *dh, const float *dy, const float *y, const float *h,
                     struct gradients *g)
{
    size_t C = p->dense.in;
    float *dw = gradients_of(g, "", p->config->pooler_name, C * C),
          *db = gradients_of(g, "", p->config->pooler_bias_name, C);
    for (size_t j = 0; j < C; j++) dh[j] = 0;
    for (size_t i = 0; i < C; i++) {
        const float *w = p->dense.part[0].w + i * C;
        float dz = dy[i] * (1 - y[i] * y[i]);
        for (size_t j = 0; j < C; j++) dh[j] += dz * w[j];
        for (size_t j = 0; dw != NULL && j < C; j++) dw[i * C + j] += dz * h[j];
        if (db != NULL) db[i] += dz;
    }
}
