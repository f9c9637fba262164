/* bench-minilm: batches of documents through an encoder of MiniLM-L6's shape (random weights), from tokens to
 * hidden states, over one 2048^3 sgemm on the same core.
 *
 *   bench-minilm [--tokens 128] [--documents 32] [--threads 2]
 *
 * One thread, CPU time on both sides, in pairs. Work: 2 x matrix parameters a token, and 4 n C a token and
 * block of attention over n tokens. Then each part's share of the time and its rate over sgemm, by wrapping
 * the table of kernels; what is left is called rest. With --threads, how much faster so many are, by the
 * clock on the wall, in turn. */
#include "graph/buf.h"
#include "nn/model.h"
#include "tests/bench/paired.h"

#include <string.h>
#include <unistd.h>

enum { C = 384, F = 1536, BLOCKS = 6, HEADS = 12, VOCAB = 30522, CONTEXT = 512, CUBE = 2048, PASSES = 5 };

static void die(const struct thea_err *err)
{
    fprintf(stderr, "bench-minilm: %s\n", thea_err_message(err));
    exit(thea_exit_status(err->rc));
}

/* --- the model: a directory made on the spot --- */

struct writer {
    struct buf header, data;
    uint64_t state;
};

static float random_value(struct writer *w, double scale)
{
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (float)(scale * (double)(int32_t)(w->state >> 32) * 0x1p-31);
}

/* Uniform in base + [-scale, scale]; columns 0: a vector. */
static void write_tensor(struct writer *w, const char *name, size_t rows, size_t columns, float base,
                         double scale)
{
    size_t begin = w->data.len, n = rows * (columns > 0 ? columns : 1);
    for (size_t i = 0; i < n; i++) {
        float v = base + random_value(w, scale);
        buf_add(&w->data, &v, sizeof v);
    }
    buf_printf(&w->header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu", begin > 0 ? "," : "{", name, rows);
    if (columns > 0) buf_printf(&w->header, ",%zu", columns);
    buf_printf(&w->header, "],\"data_offsets\":[%zu,%zu]}", begin, w->data.len);
}

static void write_linear(struct writer *w, const char *prefix, const char *name, size_t rows, size_t columns)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    write_tensor(w, full, rows, columns, 0, sqrt(3 / (double)columns));
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    write_tensor(w, full, rows, 0, 0, 0.1);
}

static void write_norm(struct writer *w, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    write_tensor(w, full, C, 0, 1, 0.1);
    snprintf(full, sizeof full, "%s%s.bias", prefix, name);
    write_tensor(w, full, C, 0, 0, 0.1);
}

static void write_tensors(struct writer *w)
{
    write_tensor(w, "embeddings.word_embeddings.weight", VOCAB, C, 0, 0.05);
    write_tensor(w, "embeddings.position_embeddings.weight", CONTEXT, C, 0, 0.05);
    write_tensor(w, "embeddings.token_type_embeddings.weight", 2, C, 0, 0.05);
    write_norm(w, "embeddings.", "LayerNorm");
    for (int i = 0; i < BLOCKS; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "encoder.layer.%d.", i);
        write_linear(w, prefix, "attention.self.query", C, C);
        write_linear(w, prefix, "attention.self.key", C, C);
        write_linear(w, prefix, "attention.self.value", C, C);
        write_linear(w, prefix, "attention.output.dense", C, C);
        write_norm(w, prefix, "attention.output.LayerNorm");
        write_linear(w, prefix, "intermediate.dense", F, C);
        write_linear(w, prefix, "output.dense", C, F);
        write_norm(w, prefix, "output.LayerNorm");
    }
}

static void write_file(const char *dir, const char *name, const void *head, size_t head_bytes,
                       const struct buf *text, const struct buf *data)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    bool written = f != NULL && fwrite(head, 1, head_bytes, f) == head_bytes &&
                   fwrite(text->data, 1, text->len, f) == text->len &&
                   (data == NULL || fwrite(data->data, 1, data->len, f) == data->len);
    if (f == NULL || fclose(f) != 0 || !written) {
        perror(path);
        exit(1);
    }
}

static void write_model(const char *dir)
{
    struct writer w = {.state = 1};
    struct buf config = {0};
    buf_printf(
        &config,
        "{\"model_type\":\"bert\",\"hidden_size\":%d,\"num_hidden_layers\":%d,\"num_attention_heads\":%d,"
        "\"intermediate_size\":%d,\"vocab_size\":%d,\"max_position_embeddings\":%d,"
        "\"type_vocab_size\":2,\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12}",
        C, BLOCKS, HEADS, F, VOCAB, CONTEXT);
    write_tensors(&w);
    buf_add_char(&w.header, '}');
    while (w.header.len % 8 != 0) buf_add_char(&w.header, ' ');
    uint64_t length = w.header.len; /* little endian machines only: a bench */
    write_file(dir, "config.json", "", 0, &config, NULL);
    write_file(dir, "model.safetensors", &length, sizeof length, &w.header, &w.data);
    buf_fini(&config), buf_fini(&w.header), buf_fini(&w.data);
}

static void remove_model(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir), unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir), unlink(path);
    rmdir(dir);
}

/* --- kernels, timed --- */

typedef enum { QKV, ATTENTION_OUT, UP, DOWN, ATTENTION, LAYOUT, NORMS, EMBEDDING, OPS } op;
static const char *const op_names[] = {"product q, k, v",
                                       "product of attention's output",
                                       "product up, gelu",
                                       "product down",
                                       "attention",
                                       "keys and values laid out",
                                       "layernorm (+ residual)",
                                       "embedding (without its layernorm)"};
static double op_seconds[OPS];
static const struct kernels *real;
static bool timing; /* its clock costs half a percent */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* FLOP a token and block. */
static double op_work(op o, size_t tokens)
{
    switch (o) {
    case QKV: return 6.0 * C * C;
    case ATTENTION_OUT: return 2.0 * C * C;
    case UP:
    case DOWN: return 2.0 * C * F;
    case ATTENTION: return 4.0 * C * (double)tokens;
    default: return 0;
    }
}

static op product(const struct gemm_weights *w)
{
    return w->N == 3 * C ? QKV : w->N == F ? UP : w->K == F ? DOWN : ATTENTION_OUT;
}

#define TIMED(op, call)                                                                                      \
    do {                                                                                                     \
        double begin_ = timing ? now() : 0;                                                                  \
        call;                                                                                                \
        if (timing) op_seconds[op] += now() - begin_;                                                        \
    } while (0)

static void timed_gemm(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w,
                       size_t M, size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch)
{
    TIMED(product(w), real->gemm(y, ldy, x, ldx, w, M, n0, n1, epilogue, scratch));
}

static void timed_attention(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                            size_t keys, size_t n, size_t H, size_t g0, size_t g1, float scale,
                            float *scratch)
{
    TIMED(ATTENTION, real->attention_full_forward(o, ldo, q, ldq, c, keys, n, H, g0, g1, scale, scratch));
}

static void timed_append(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                         size_t n, size_t g0, size_t g1)
{
    TIMED(LAYOUT, real->attention_append(c, k, v, ld, pos, n, g0, g1));
}

static void timed_layernorm(float *y, float *mean, float *rstd, const float *x, const float *r,
                            const float *w, const float *b, size_t rows, size_t columns, float eps)
{
    TIMED(NORMS, real->layernorm_forward(y, mean, rstd, x, r, w, b, rows, columns, eps));
}

/* --- the passes --- */

struct bench {
    const struct kernels *kernels;
    struct model *model;
    struct model *shared; /* by many threads, or NULL */
    size_t tokens, documents, threads;
    int32_t *ids;
    struct span *spans;
    float *x, *a, *b, *c; /* hidden states; sgemm's matrices */
};

static void embed(struct bench *b)
{
    struct thea_err err;
    double begin = now(), norms = op_seconds[NORMS];
    for (size_t i = 0; i < b->documents; i++)
        if (model_embed(b->model, b->x + i * b->tokens * C, b->ids + i * b->tokens, NULL, b->tokens, 0,
                        &err) != THEA_OK)
            die(&err);
    op_seconds[EMBEDDING] += now() - begin - (op_seconds[NORMS] - norms);
}

static void encode(void *context)
{
    struct bench *b = context;
    struct thea_err err;
    embed(b);
    if (model_encode(b->model, b->x, b->documents * b->tokens, b->spans, b->documents, NULL, NULL, &err) !=
        THEA_OK)
        die(&err);
}

static void multiply(void *context)
{
    struct bench *b = context;
    b->kernels->matmul(b->c, CUBE, b->a, CUBE, b->b, CUBE, CUBE, CUBE, CUBE, 0);
}

static double work(const struct bench *b)
{
    double a_token = 0;
    for (int o = 0; o < OPS; o++) a_token += BLOCKS * op_work((op)o, b->tokens);
    return a_token * (double)(b->tokens * b->documents);
}

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (x == NULL) exit(1);
    for (size_t i = 0; i < n; i++) x[i] = (float)((i * 2654435761u) >> 16 & 1023) * 0x1p-10f - 0.5f;
    return x;
}

static void inputs_init(struct bench *b)
{
    size_t rows = b->documents * b->tokens;
    b->x = numbers(rows * C);
    b->a = numbers((size_t)CUBE * CUBE), b->b = numbers((size_t)CUBE * CUBE),
    b->c = numbers((size_t)CUBE * CUBE);
    b->ids = calloc(rows, sizeof *b->ids);
    b->spans = calloc(b->documents, sizeof *b->spans);
    if (b->ids == NULL || b->spans == NULL) exit(1);
    for (size_t i = 0; i < rows; i++) b->ids[i] = (int32_t)(i * 2654435761u % VOCAB);
    for (size_t i = 0; i < b->documents; i++) b->spans[i] = (struct span){i * b->tokens, b->tokens};
}

static void print_op(const struct bench *b, op o, double total, double sgemm)
{
    double rate =
        op_work(o, b->tokens) * BLOCKS * PASSES * (double)(b->tokens * b->documents) / op_seconds[o];
    printf("# %5.1f %%  %s", 100 * op_seconds[o] / total, op_names[o]);
    if (rate > 0) printf(": %.0f GFLOP/s, %.2f", rate / 1e9, rate / sgemm);
    putchar('\n');
}

static void print_shares(struct bench *b, double sgemm)
{
    memset(op_seconds, 0, sizeof op_seconds);
    timing = true;
    double begin = now(), rest;
    for (int i = 0; i < PASSES; i++) encode(b);
    double total = rest = now() - begin;
    timing = false;
    for (int o = 0; o < OPS; rest -= op_seconds[o], o++) print_op(b, (op)o, total, sgemm);
    printf("# %5.1f %%  rest\n", 100 * rest / total);
    printf("# %.0f documents a minute\n", 60 * PASSES * (double)b->documents / total);
}

static double wall_seconds(struct bench *b)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < PASSES; i++) encode(b);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

static void print_speedup(struct bench *b)
{
    struct bench many = *b;
    double ratios[PAIRS];
    many.model = b->shared;
    wall_seconds(&many);
    for (int i = 0; i < PAIRS; i++) ratios[i] = wall_seconds(b) / wall_seconds(&many);
    printf("# %zu threads: %.2f times as fast as one\n", b->threads, paired_median(ratios, PAIRS));
}

static void bench(struct bench *b)
{
    struct job job = {encode, b, work(b)}, reference = {multiply, b, 2.0 * CUBE * CUBE * CUBE};
    char shape[64];
    snprintf(shape, sizeof shape, "%zu x %zu tokens", b->documents, b->tokens);
    paired_header();
    struct paired result = paired_measure(&job, &reference);
    paired_print("minilm", shape, &result, "GFLOP/s", "sgemm 2048^3");
    print_shares(b, result.reference);
    if (b->shared != NULL) print_speedup(b);
}

static void read_options(struct bench *b, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        size_t *to = strcmp(argv[i], "--tokens") == 0      ? &b->tokens
                     : strcmp(argv[i], "--documents") == 0 ? &b->documents
                     : strcmp(argv[i], "--threads") == 0   ? &b->threads
                                                           : NULL;
        if (to == NULL || i + 1 == argc || (*to = strtoul(argv[i + 1], NULL, 10)) == 0) {
            fputs("usage: bench-minilm [--tokens 128] [--documents 32] [--threads 2]\n", stderr);
            exit(64);
        }
    }
}

static struct kernels timed_kernels(void)
{
    struct kernels timed = *real;
    timed.gemm = timed_gemm;
    timed.attention_full_forward = timed_attention;
    timed.attention_append = timed_append;
    timed.layernorm_forward = timed_layernorm;
    return timed;
}

static void open_models(struct bench *b, struct workers **one, struct workers **many,
                        const struct kernels *timed)
{
    struct thea_err err;
    char dir[] = "/tmp/bench-minilm.XXXXXX";
    if (mkdtemp(dir) == NULL) exit(1);
    write_model(dir);
    thea_rc rc = workers_new(one, 1, &err);
    if (rc == THEA_OK) rc = model_open(&b->model, dir, 0, SIZE_MAX, *one, timed, &err);
    if (rc == THEA_OK && b->threads > 0) rc = workers_new(many, (int)b->threads, &err);
    if (rc == THEA_OK && b->threads > 0) rc = model_open(&b->shared, dir, 0, SIZE_MAX, *many, real, &err);
    remove_model(dir);
    if (rc != THEA_OK) die(&err);
    if (b->documents * b->tokens > model_batch_rows(b->model)) {
        fprintf(stderr, "bench-minilm: at most %zu tokens in all\n", model_batch_rows(b->model));
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.tokens = 128, .documents = 32};
    struct workers *one, *many = NULL;
    char cpu[64];
    read_options(&b, argc, argv);
    real = b.kernels = kernels_select(NULL);
    if (real == NULL) return 1;
    struct kernels timed = timed_kernels();
    open_models(&b, &one, &many, &timed);
    printf("# %s; kernels %s; %s\n", kernels_cpu_name(cpu, sizeof cpu), real->name, kernels_blas_config());
    inputs_init(&b);
    bench(&b);
    model_close(b.model), model_close(b.shared);
    workers_free(one), workers_free(many);
    free(b.x), free(b.a), free(b.b), free(b.c), free(b.ids), free(b.spans);
    return 0;
}
