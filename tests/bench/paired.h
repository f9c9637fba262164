/* Measure two things against each other on a machine that does other work too: CPU time of this thread, A B A
 * B …, the median of the ratios. Pairs whose reference is off its median by more than 8 % are left out:
 * something disturbed them. */
#ifndef TESTS_BENCH_PAIRED_H
#define TESTS_BENCH_PAIRED_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct job {
    void (*run)(void *context);
    void *context;
    double work; /* FLOP or bytes of one run */
};

struct paired {
    double rate, reference, ratio, low,
        high;  /* work per second of each (medians), job over reference: median, least and greatest */
    int pairs; /* that counted */
};

enum { PAIRS = 11 };

static double paired_seconds(const struct job *j, long repeats)
{
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (long i = 0; i < repeats; i++) j->run(j->context);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    return ((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9) / (double)repeats;
}

/* So many runs that they take 20 ms at least; the first of them warms up. */
static long paired_repeats(const struct job *j)
{
    long repeats = 1;
    paired_seconds(j, 1);
    while (paired_seconds(j, repeats) * (double)repeats < 0.02 && repeats < 1 << 24) repeats *= 2;
    return repeats;
}

static int paired_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double paired_median(const double *values, int n)
{
    double sorted[PAIRS];
    for (int i = 0; i < n; i++) sorted[i] = values[i];
    qsort(sorted, (size_t)n, sizeof *sorted, paired_compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static struct paired paired_measure(const struct job *job, const struct job *reference)
{
    double job_rates[PAIRS], reference_rates[PAIRS], ratios[PAIRS];
    long job_repeats = paired_repeats(job), reference_repeats = paired_repeats(reference);
    for (int i = 0; i < PAIRS; i++) {
        reference_rates[i] = reference->work / paired_seconds(reference, reference_repeats);
        job_rates[i] = job->work / paired_seconds(job, job_repeats);
    }
    struct paired p = {
        paired_median(job_rates, PAIRS), paired_median(reference_rates, PAIRS), 0, INFINITY, 0, 0};
    for (int i = 0; i < PAIRS; i++) {
        if (fabs(reference_rates[i] / p.reference - 1) > 0.08) continue;
        double ratio = ratios[p.pairs++] = job_rates[i] / reference_rates[i];
        if (ratio < p.low) p.low = ratio;
        if (ratio > p.high) p.high = ratio;
    }
    p.ratio = paired_median(ratios, p.pairs);
    return p;
}

/* One row: op, shape, rate in 1e9 units/s, its unit, the ratio and what it is to, its spread, the pairs that
 * counted. */
static inline void paired_print(const char *op, const char *shape, const struct paired *p, const char *unit,
                                const char *to)
{
    printf("%s\t%s\t%.2f\t%s\t%.3f\t%s\t%.3f-%.3f\t%d\n", op, shape, p->rate / 1e9, unit, p->ratio, to,
           p->low, p->high, p->pairs);
    fflush(stdout);
}

static inline void paired_header(void)
{
    puts("op\tshape\trate\tunit\tratio\tto\tspread\tpairs");
}

#endif
