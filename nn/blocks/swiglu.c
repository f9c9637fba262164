/* SwiGLU feed-forward: x += W_down . (silu(W_gate . h) * (W_up . h)) with h = rmsnorm(x). Gate and up share
 * one GEMM output [n, 2F]. */
#include "nn/blocks/block.h"
#include "nn/families/family.h"

struct swiglu {
    const float *norm;
    struct linear in, down; /* in: gate over up */
    size_t C, F;
    float eps;
};

static void swiglu_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                        const char *const *names)
{
    struct swiglu *s = self;
    s->C = c->info.hidden;
    s->F = c->info.feed_forward;
    s->eps = c->eps;
    s->norm = loader_tensor(l, prefix, names[SWIGLU_NORM], (const uint64_t[]){s->C, 0});
    bool bias = c->feed_forward_bias;
    loader_linear(l, &s->in, prefix, names + SWIGLU_GATE, bias ? names + SWIGLU_GATE_BIAS : NULL,
                  (const size_t[]){s->F, s->F}, 2, s->C);
    loader_linear(l, &s->down, prefix, names + SWIGLU_DOWN, bias ? names + SWIGLU_DOWN_BIAS : NULL, &s->C, 1,
                  s->F);
}

static size_t swiglu_width(const struct model_config *c)
{
    return 2 * c->info.feed_forward;
}

static size_t no_state(const struct model_config *c, size_t n)
{
    (void)c;
    (void)n;
    return 0;
}

struct job {
    const struct swiglu *s;
    const struct run *run;
};

static void gate_task(void *context, int i, int count)
{
    const struct job *j = context;
    size_t begin, end, ld = 2 * j->s->F;
    workers_slice(j->run->n, 1, i, count, &begin, &end);
    if (begin == end) return;
    float *gate = j->run->wide + begin * ld;
    j->run->kernels->swiglu_forward(gate, gate + j->s->F, ld, end - begin, j->s->F);
}

static void swiglu_forward(const void *self, void *state, const struct run *run)
{
    (void)state;
    const struct swiglu *s = self;
    struct job job = {s, run};
    run_norm(run, s->norm, s->C, s->eps);
    linear_forward(&s->in, run->kernels, run->workers, run->wide, 2 * s->F, run->norm, s->C, run->n, false);
    workers_run(run->workers, gate_task, &job);
    linear_forward(&s->down, run->kernels, run->workers, run->x, s->C, run->wide, 2 * s->F, run->n, true);
}

static double swiglu_flop(const struct model_config *c, size_t context)
{
    (void)context;
    return 6.0 * (double)c->info.hidden * (double)c->info.feed_forward;
}

static uint64_t swiglu_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, F = c->info.feed_forward;
    return C + 3 * C * F + (c->feed_forward_bias ? 2 * F + C : 0);
}

const struct sublayer_kind sublayer_swiglu = {
    .name = "swiglu",
    .self_size = sizeof(struct swiglu),
    .load = swiglu_load,
    .width = swiglu_width,
    .state_bytes = no_state,
    .state_touched = no_state,
    .forward = swiglu_forward,
    .flop = swiglu_flop,
    .parameters = swiglu_parameters,
};
