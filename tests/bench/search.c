/* Exact search of ROWS x DIMENSION, by as many threads as there are cores: GB/s of vectors over what this
 * machine's memory gives those threads when they only add up what they read, and the time that 1 M x 768
 * takes at that rate. The vectors are mapped from a file in the page cache, as those of an index are: "first"
 * is a mapping of its own, with its page faults (a command that searches once), "again" the same mapping.
 *
 * Times are CPU time over the number of threads.
 *
 * bench-search [rows [dimension [file]]]: 200000 x 768, in /tmp. */
#include "retrieval/search.h"
#include "retrieval/vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7, LIMIT = 10 };

struct bench {
    size_t rows, dimension;
    const float *values;
    const struct kernels *kernels;
    struct workers *workers;
    double sums[64];
};

static void must(thea_rc rc, const struct thea_err *err)
{
    if (rc == THEA_OK) return;
    fprintf(stderr, "bench-search: %s\n", thea_err_message(err));
    exit(1);
}

/* CPU time of the process, shared by its threads: what it takes where nobody else wants the cores. */
static double now(const struct bench *b)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + (double)t.tv_nsec * 1e-9) / workers_count(b->workers);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

/* --- what memory gives: each thread adds up its slice, 16 sums that do not wait for each other --- */

static double sum_of(const uint64_t *words, size_t n)
{
    uint64_t sums[16] = {0}, sum = 0;
    for (size_t i = 0; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++) sums[k] += words[i + k];
    for (size_t k = 0; k < 16; k++) sum += sums[k];
    return (double)sum;
}

static void read_slice(void *context, int worker, int workers)
{
    struct bench *b = context;
    size_t begin, end;
    workers_slice(b->rows * b->dimension / 2, 4096, worker, workers, &begin, &end);
    b->sums[worker] = sum_of((const uint64_t *)(const void *)b->values + begin, end - begin);
}

static double read_seconds(struct bench *b)
{
    double begin = now(b);
    workers_run(b->workers, read_slice, b);
    return now(b) - begin;
}

/* --- search --- */

static double search_seconds(struct bench *b, const float *query)
{
    struct search_rows rows = {b->values, b->rows, b->dimension, NULL};
    struct search_found *found = NULL;
    struct thea_err err = {0};
    size_t count;
    double begin = now(b);
    must(search_top(&found, &count, &rows, query, LIMIT, b->kernels, b->workers, &err), &err);
    double seconds = now(b) - begin;
    if (count < LIMIT) exit(1);
    free(found);
    return seconds;
}

static void fill(struct vectors *v, size_t rows)
{
    struct thea_err err = {0};
    uint64_t state = 1;
    float *row = malloc(v->dimension * sizeof *row);
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < v->dimension; c++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            row[c] = (float)(int32_t)(state >> 32) * 0x1p-36F;
        }
        must(vectors_put(v, i, row, &err), &err);
    }
    must(vectors_stamp(v, rows, &err), &err);
    free(row);
}

static double first_seconds(struct bench *b, const char *path, const float *query)
{
    struct vectors v = {.fd = -1};
    struct thea_err err = {0};
    double begin = now(b);
    must(vectors_open(&v, path, b->dimension, b->rows, false, &err), &err);
    must(vectors_map(&v, &b->values, b->rows, &err), &err);
    (void)search_seconds(b, query);
    double seconds = now(b) - begin;
    vectors_close(&v);
    return seconds;
}

static void print(const struct bench *b, const char *what, double seconds, double memory)
{
    double bytes = (double)(b->rows * b->dimension * sizeof(float)), rate = bytes / seconds / 1e9;
    printf("%-28s %8.1f ms  %6.2f GB/s  %.2f of memory's  1M x 768 in %.3f s\n", what, seconds * 1e3, rate,
           rate / memory, 1e6 * 768 * sizeof(float) / 1e9 / rate);
}

static void compare_all(struct bench *b, const char *path, const float *query)
{
    double reads[ROUNDS], searches[ROUNDS], firsts[ROUNDS];
    double bytes = (double)(b->rows * b->dimension * sizeof(float));
    const float *mapped = b->values;
    for (int i = 0; i < ROUNDS; i++) firsts[i] = first_seconds(b, path, query);
    b->values = mapped;
    (void)read_seconds(b);
    for (int i = 0; i < ROUNDS; i++) {
        reads[i] = read_seconds(b);
        searches[i] = search_seconds(b, query);
    }
    double memory = bytes / median(reads) / 1e9;
    print(b, "memory, added up", median(reads), memory);
    print(b, "search, again", median(searches), memory);
    print(b, "search, first (mapping it)", median(firsts), memory);
}

int main(int argc, char **argv)
{
    struct thea_err err = {0};
    struct vectors v = {.fd = -1};
    struct bench b = {.rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000,
                      .dimension = argc > 2 ? strtoull(argv[2], NULL, 10) : 768,
                      .kernels = kernels_select(NULL)};
    const char *path = argc > 3 ? argv[3] : "/tmp/thea-bench-search.npy";
    char name[128];
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    float *query = calloc(b.dimension + 1, sizeof *query);
    if (b.kernels == NULL || query == NULL || b.rows < LIMIT || b.dimension == 0) return 1;
    for (size_t i = 0; i < b.dimension; i++) query[i] = sinf((float)i);
    must(workers_new(&b.workers, threads > 64 ? 64 : (int)threads, &err), &err);
    must(vectors_create(&v, path, b.dimension, &err), &err);
    fill(&v, b.rows);
    must(vectors_map(&v, &b.values, b.rows, &err), &err);
    printf("%s, %s, %d threads, %zu x %zu\n", kernels_cpu_name(name, sizeof name), b.kernels->name,
           workers_count(b.workers), b.rows, b.dimension);
    compare_all(&b, path, query);
    vectors_close(&v);
    unlink(path);
    workers_free(b.workers);
    free(query);
    return 0;
}
