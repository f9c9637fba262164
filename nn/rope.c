/* Rotary position angles: see rope.h. */
#include "nn/rope.h"

#include <math.h>
#include <string.h>

static void read_llama3(struct rope *out, struct config *scaling)
{
    out->llama3 = true;
    out->factor = config_number(scaling, "factor", 0, 0);
    out->low = config_number(scaling, "low_freq_factor", 0, 0);
    out->high = config_number(scaling, "high_freq_factor", 0, 0);
    out->context = config_number(scaling, "original_max_position_embeddings", 0, 0);
    const struct {
        const char *key;
        double value;
    } needed[] = {{"factor", out->factor},
                  {"low_freq_factor", out->low},
                  {"high_freq_factor", out->high},
                  {"original_max_position_embeddings", out->context}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (needed[i].value == 0)
            config_fail(scaling, needed[i].key, "missing; llama3 rope scaling needs it");
    }
    if (out->high <= out->low)
        config_fail(scaling, "high_freq_factor", "%g must be more than low_freq_factor %g", out->high,
                    out->low);
}

static void read_scaling(struct rope *out, struct config *scaling)
{
    const struct json_node *type = config_get(scaling, "rope_type");
    if (type == NULL) type = config_get(scaling, "type");
    if (type == NULL) return;
    const char *name = json_text(type, NULL);
    if (name != NULL && strcmp(name, "llama3") == 0) {
        read_llama3(out, scaling);
    } else if (name == NULL || strcmp(name, "default") != 0) {
        config_fail(scaling, "rope_type", "'%s' is not supported; accepted: default, llama3",
                    name != NULL ? name : json_kind_name(json_kind(type)));
    }
}

void rope_read(struct rope *out, struct config *c, double default_theta)
{
    *out = (struct rope){0};
    const struct json_node *both = config_get(c, "rope_parameters"),
                           *scaling = both != NULL ? both : config_get(c, "rope_scaling");
    const char *key = both != NULL ? "rope_parameters" : "rope_scaling";
    if (scaling != NULL && json_kind(scaling) != JSON_MAP_) {
        config_fail(c, key, "expected an object, found %s", json_kind_name(json_kind(scaling)));
        return;
    }
    out->theta = config_number(c, "rope_theta", 0, default_theta);
    if (scaling == NULL) return;
    struct config inner = {scaling, c->path, c->err, c->rc};
    if (both != NULL) out->theta = config_number(&inner, "rope_theta", 0, out->theta);
    read_scaling(out, &inner);
    c->rc = inner.rc;
}

void rope_frequencies(float *inv, const struct rope *r, size_t head_size)
{
    for (size_t i = 0; i < head_size / 2; i++) {
        float power = (float)(2 * i) / (float)head_size;
        double f = (float)(1.0 / pow(r->theta, power));
        if (r->llama3) {
            double wavelength = 2 * M_PI / f;
            double s = fmin(fmax((r->context / wavelength - r->low) / (r->high - r->low), 0), 1);
            f *= s + (1 - s) / r->factor;
        }
        inv[i] = (float)f;
    }
}

void rope_table(float *cos, float *sin, const float *inv, size_t position, size_t n, size_t half)
{
    for (size_t t = 0; t < n; t++) {
        float p = (float)(position + t);
        for (size_t i = 0; i < half; i++) sincosf(p * inv[i], &sin[t * half + i], &cos[t * half + i]);
    }
}
