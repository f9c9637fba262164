/* Gated short convolution (LFM2): x += W_out . (g * conv(B * u)) with (B | g | u) = W_in . rmsnorm(x). The
 * last K-1 rows of B * u are carried. */
#include "nn/blocks/block.h"
#include "nn/families/family.h"

enum { COLUMN_GRAIN = 16 };

struct shortconv {
    const float *norm, *taps, *taps_bias;
    struct linear in, out;
    size_t C, K;
    float eps;
};

static void shortconv_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                           const char *const *names)
{
    struct shortconv *s = self;
    s->C = c->info.hidden;
    s->K = c->info.conv_taps;
    s->eps = c->eps;
    s->norm = loader_tensor(l, prefix, names[SHORTCONV_NORM], (const uint64_t[]){s->C, 0});
    s->taps = loader_tensor(l, prefix, names[SHORTCONV_CONV], (const uint64_t[]){s->C, 1, s->K, 0});
    if (c->conv_bias)
        s->taps_bias = loader_tensor(l, prefix, names[SHORTCONV_CONV_BIAS], (const uint64_t[]){s->C, 0});
    size_t wide = 3 * s->C;
    loader_linear(l, &s->in, prefix, names + SHORTCONV_IN, c->conv_bias ? names + SHORTCONV_IN_BIAS : NULL,
                  &wide, 1, s->C);
    loader_linear(l, &s->out, prefix, names + SHORTCONV_OUT, c->conv_bias ? names + SHORTCONV_OUT_BIAS : NULL,
                  &s->C, 1, s->C);
}

static size_t shortconv_width(const struct model_config *c)
{
    return 3 * c->info.hidden;
}

static size_t carry_bytes(const struct model_config *c, size_t context)
{
    (void)context;
    return (c->info.conv_taps - 1) * c->info.hidden * sizeof(float);
}

struct job {
    const struct shortconv *s;
    const struct run *run;
    float *carry;
};

static void columns_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct shortconv *s = j->s;
    const struct run *r = j->run;
    size_t begin, end;
    workers_slice(s->C, COLUMN_GRAIN, i, count, &begin, &end);
    if (begin == end) return;
    r->kernels->shortconv_forward(r->norm, s->C, r->wide, j->carry, s->taps, s->taps_bias, r->n, s->C, s->K,
                                  begin, end);
}

static void shortconv_forward(const void *self, void *state, const struct run *run)
{
    const struct shortconv *s = self;
    struct job job = {s, run, state};
    run_norm(run, s->norm, s->C, s->eps);
    linear_forward(&s->in, run->kernels, run->workers, run->wide, 3 * s->C, run->norm, s->C, run->n, false);
    workers_run(run->workers, columns_task,
                &job); /* its output takes the place of the normed rows, which are done with */
    linear_forward(&s->out, run->kernels, run->workers, run->x, s->C, run->norm, s->C, run->n, true);
}

static double shortconv_flop(const struct model_config *c, size_t context)
{
    (void)context;
    double C = (double)c->info.hidden;
    return 8 * C * C;
}

static uint64_t shortconv_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden;
    return C + 4 * C * C + C * c->info.conv_taps + (c->conv_bias ? 5 * C : 0);
}

const struct sublayer_kind sublayer_shortconv = {
    .name = "shortconv",
    .self_size = sizeof(struct shortconv),
    .load = shortconv_load,
    .width = shortconv_width,
    .state_bytes = carry_bytes,
    .state_touched = carry_bytes,
    .forward = shortconv_forward,
    .flop = shortconv_flop,
    .parameters = shortconv_parameters,
};
