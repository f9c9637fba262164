/* softmax and log-sum-exp, plain: exponents in float, sums in double. */
#include "kernels/softmax.h"
#include <math.h>

static float row_max(const float *x, size_t n, float start)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] > start) start = x[i];
    return start;
}

/* A row that is all -inf so far has no finite maximum; subtracting 0 keeps its exponentials at 0 where -inf
 * would give NaN. */
static float finite_max(float m)
{
    return m == -INFINITY ? 0.0f : m;
}

void softmax_forward(float *x, size_t n, float temperature)
{
    float m = finite_max(row_max(x, n, -INFINITY)), inverse = 1.0f / temperature;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf((x[i] - m) * inverse);
        sum += x[i];
    }
    float scale = (float)(1.0 / sum);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

void logsumexp_update(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V)
{
    for (size_t i = 0; i < N; i++) {
        const float *l = logits + i * ld;
        float grown = row_max(l, V, max[i]), m = finite_max(grown);
        double s = (double)sum[i] * expf(max[i] - m);
        for (size_t v = 0; v < V; v++) s += expf(l[v] - m);
        max[i] = grown;
        sum[i] = (float)s;
    }
}
