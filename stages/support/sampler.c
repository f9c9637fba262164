/* Sampling: see sampler.h. */
#include "stages/support/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014), figure 14's mixing function. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

double sampler_uniform(int64_t seed, uint64_t stream, uint64_t count)
{
    const uint64_t golden = 0x9E3779B97F4A7C15U;
    uint64_t key = mix(mix((uint64_t)seed + golden) + stream * golden + golden);
    return (double)(mix(key + (count + 1) * golden) >> 11) * 0x1p-53;
}

static thea_rc check(const float *logits, size_t n, struct thea_err *err)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (isnan(logits[i])) return thea_fail(err, THEA_EDOC, "the logit of token %zu is not a number", i);
        if (isinf(logits[i]) && logits[i] > 0)
            return thea_fail(err, THEA_EDOC, "the logit of token %zu is infinite", i);
        any = any || !isinf(logits[i]);
    }
    return any ? THEA_OK : thea_fail(err, THEA_EDOC, "no token is possible: all %zu logits are -infinity", n);
}

static float penalised(const struct sampler_options *o, float logit, const uint64_t *seen, size_t i)
{
    if (seen == NULL || o->repetition_penalty == 1.0 || (seen[i / 64] >> (i % 64) & 1) == 0) return logit;
    return (float)(logit > 0 ? (double)logit / o->repetition_penalty : (double)logit * o->repetition_penalty);
}

/* a before b: higher logit, then lower id. */
static bool before(const struct sampler_candidate *a, const struct sampler_candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int by_rank(const void *a, const void *b)
{
    return before(a, b) ? -1 : 1;
}

static int32_t highest(const struct sampler_options *o, const float *logits, size_t n, const uint64_t *seen)
{
    struct sampler_candidate best = {.logit = penalised(o, logits[0], seen, 0), .id = 0};
    for (size_t i = 1; i < n; i++) {
        struct sampler_candidate c = {.logit = penalised(o, logits[i], seen, i), .id = (int32_t)i};
        if (before(&c, &best)) best = c;
    }
    return best.id;
}

/* Heap with the last in rank at the root: sink heap[at] to its place. */
static void sift(struct sampler_candidate *heap, size_t n, size_t at)
{
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && before(&heap[child], &heap[child + 1])) child++;
        if (!before(&heap[at], &heap[child])) return;
        struct sampler_candidate c = heap[at];
        heap[at] = heap[child];
        heap[child] = c;
        at = child;
    }
}

/* The k first in rank, sorted; k = 0 means all. Returns how many. */
static size_t rank(struct sampler_candidate *out, const struct sampler_options *o, const float *logits,
                   size_t n, const uint64_t *seen)
{
    size_t k = o->top_k > 0 && (uint64_t)o->top_k < n ? (size_t)o->top_k : n;
    for (size_t i = 0; i < n; i++) {
        struct sampler_candidate c = {.logit = penalised(o, logits[i], seen, i), .id = (int32_t)i};
        if (i < k) out[i] = c;
        if (i + 1 == k) {
            for (size_t at = k / 2; at-- > 0;) sift(out, k, at);
        }
        if (i >= k && before(&c, &out[0])) {
            out[0] = c;
            sift(out, k, 0);
        }
    }
    qsort(out, k, sizeof *out, by_rank);
    return k;
}

/* p of the first n candidates: softmax at a temperature. */
static void softmax(struct sampler_candidate *c, size_t n, double temperature)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].p = exp(((double)c[i].logit - (double)c[0].logit) / temperature);
        sum += c[i].p;
    }
    for (size_t i = 0; i < n; i++) c[i].p /= sum;
}

/* How many of the first n are left by top-p, then min-p: at least 1. */
static size_t filter(const struct sampler_options *o, const struct sampler_candidate *c, size_t n)
{
    double sum = 0;
    size_t left = 0;
    while (left < n && (left == 0 || sum < o->top_p)) sum += c[left++].p;
    while (left > 1 && c[left - 1].p < o->min_p * c[0].p) left--;
    return left;
}

thea_rc sampler_choose(int32_t *id, const struct sampler_options *o, const float *logits, size_t n,
                       const uint64_t *seen, double uniform, struct sampler_candidate *scratch,
                       struct thea_err *err)
{
    assert(n > 0 && n <= INT32_MAX && uniform >= 0 && uniform < 1);
    thea_rc rc = check(logits, n, err);
    if (rc != THEA_OK) return rc;
    if (o->greedy || o->temperature == 0) {
        *id = highest(o, logits, n, seen);
        return THEA_OK;
    }
    size_t left = rank(scratch, o, logits, n, seen);
    softmax(scratch, left, o->temperature);
    left = filter(o, scratch, left);
    double sum = 0, reached = 0;
    for (size_t i = 0; i < left; i++) sum += scratch[i].p;
    size_t i = 0;
    while (i + 1 < left && (reached += scratch[i].p) <= uniform * sum) i++;
    *id = scratch[i].id;
    return THEA_OK;
}
