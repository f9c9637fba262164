/* bench-prefill: effective GFLOP/s of prefill over OpenBLAS sgemm on the same core, for a model of
 * LFM2-350M's shape with random weights.
 *
 *   bench-prefill [--tokens 2048] [--chunk 512] [--passes 3] [--dtype bf16|f32] [--blocks 16] [--write DIR]
 *
 * One thread, CPU time on both sides, a 2048^3 sgemm before every chunk, so that a busy machine disturbs both
 * alike. Work: 2 x matrix parameters x T + 4 x T^2/2 x d a block of attention; the head 2 C V a token.
 * Kernels are timed by wrapping their table; the wrappers are in the figures. */
#include "graph/buf.h"
#include "nn/families/family.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GEMM = 2048, SHAPES_MAX = 64, PASSES_MAX = 32 };

struct settings {
    const char *write; /* only make the model, in this new directory */
    size_t tokens, chunk, passes, blocks;
    bool f32;
};

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const struct thea_err *err)
{
    fprintf(stderr, "bench-prefill: %s\n", thea_err_message(err));
    exit(thea_exit_status(err->rc));
}

/* --- the model: a directory made on the spot --- */

static const char *const attention_layers = "2,5,8,10,12,14";

struct writer {
    FILE *data;
    struct buf header;
    uint64_t at, state;
    bool f32;
};

static double random_unit(struct writer *w) /* xorshift, -1 to 1 */
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return (double)(int64_t)w->state / 9223372036854775808.0;
}

/* One tensor of values uniform in [-scale, scale]; scale 0: all ones. */
static void write_tensor(struct writer *w, const char *name, size_t rows, size_t columns, double scale)
{
    size_t n = rows * columns, bytes = n * (w->f32 ? 4 : 2);
    char *data = malloc(bytes);
    if (data == NULL) abort();
    for (size_t i = 0; i < n; i++) {
        float v = scale == 0 ? 1.0f : (float)(scale * random_unit(w));
        uint32_t bits;
        memcpy(&bits, &v, 4);
        uint16_t high = (uint16_t)(bits >> 16);
        if (w->f32)
            memcpy(data + 4 * i, &v, 4);
        else
            memcpy(data + 2 * i, &high, 2);
    }
    bool taps = strstr(name, "conv.conv") != NULL;
    char shape[64];
    if (columns == 1)
        snprintf(shape, sizeof shape, "%zu", rows);
    else
        snprintf(shape, sizeof shape, taps ? "%zu,1,%zu" : "%zu,%zu", rows, columns);
    buf_printf(&w->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
               w->header.len > 1 ? "," : "", name, w->f32 ? "F32" : "BF16", shape, (unsigned long long)w->at,
               (unsigned long long)(w->at + bytes));
    w->at += bytes;
    if (fwrite(data, 1, bytes, w->data) != bytes) abort();
    free(data);
}

static void write_block(struct writer *w, const struct model_config *c, size_t i)
{
    size_t C = c->info.hidden, F = c->info.feed_forward, D = c->info.head_size, q = c->info.heads * D,
           kv = c->info.kv_heads * D;
    bool attends = c->blocks[i].mixer == &sublayer_attention;
    const struct {
        const char *name;
        size_t rows, columns;
        double fan;
    } tensors[] = {
        {"operator_norm", C, 1, 0},
        {"ffn_norm", C, 1, 0},
        {"feed_forward.w1", F, C, C},
        {"feed_forward.w3", F, C, C},
        {"feed_forward.w2", C, F, F},
        {attends ? "self_attn.q_proj" : "conv.in_proj", attends ? q : 3 * C, C, C},
        {attends ? "self_attn.out_proj" : "conv.out_proj", C, attends ? q : C, C},
        {attends ? "self_attn.k_proj" : "conv.conv", attends ? kv : C, attends ? C : c->info.conv_taps,
         attends ? C : 3},
        {attends ? "self_attn.v_proj" : NULL, kv, C, C},
        {"self_attn.q_layernorm", D, 1, 0},
        {"self_attn.k_layernorm", D, 1, 0},
    };
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors && tensors[t].name != NULL; t++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.%zu.%s.weight", i, tensors[t].name);
        write_tensor(w, name, tensors[t].rows, tensors[t].columns,
                     tensors[t].fan == 0 ? 0 : sqrt(3 / tensors[t].fan));
    }
}

/* Header and data are written apart, for the header's size is known last; then joined. */
static void write_weights(const char *dir, const struct model_config *c, bool f32)
{
    char path[256];
    snprintf(path, sizeof path, "%s/data", dir);
    struct writer w = {.data = fopen(path, "w+e"), .state = 88172645463325252u, .f32 = f32};
    if (w.data == NULL) abort();
    buf_add_char(&w.header, '{');
    write_tensor(&w, "model.embed_tokens.weight", c->info.vocab, c->info.hidden, 0.05);
    write_tensor(&w, "model.embedding_norm.weight", c->info.hidden, 1, 0);
    for (size_t i = 0; i < c->info.blocks; i++) write_block(&w, c, i);
    buf_add_char(&w.header, '}');
    while (w.header.len % 8 != 0) buf_add_char(&w.header, ' ');
    char out[256], copy[1 << 16];
    snprintf(out, sizeof out, "%s/model.safetensors", dir);
    FILE *f = fopen(out, "we");
    uint64_t n = w.header.len; /* little endian machines only: a bench */
    if (f == NULL || fwrite(&n, 8, 1, f) != 1 || fwrite(w.header.data, 1, n, f) != n) abort();
    rewind(w.data);
    for (size_t got; (got = fread(copy, 1, sizeof copy, w.data)) > 0;) {
        if (fwrite(copy, 1, got, f) != got) abort();
    }
    if (fclose(f) != 0) abort();
    fclose(w.data);
    unlink(path);
    buf_fini(&w.header);
}

static void make_model(const char *dir, const struct settings *s)
{
    char path[256], indices[64] = "";
    for (const char *p = attention_layers; *p != '\0'; p += strcspn(p, ",") + (strchr(p, ',') != NULL)) {
        size_t n = strlen(indices);
        if ((size_t)atoi(p) < s->blocks)
            snprintf(indices + n, sizeof indices - n, "%s%d", n > 0 ? "," : "", atoi(p));
    }
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "we");
    if (f == NULL) abort();
    fprintf(f,
            "{\"model_type\":\"lfm2\",\"hidden_size\":1024,\"num_hidden_layers\":%zu,\"num_attention_heads\":"
            "16,\"num_key_value_heads\":8,"
            "\"vocab_size\":65536,\"block_ff_dim\":6656,\"full_attn_idxs\":[%s],\"max_position_embeddings\":"
            "128000,\"torch_dtype\":\"%s\"}",
            s->blocks, indices, s->f32 ? "float32" : "bfloat16");
    fclose(f);
    struct model_config *c;
    struct thea_err err;
    if (model_config_read(&c, dir, &err) != THEA_OK) die(&err);
    write_weights(dir, c, s->f32);
    free(c);
}

static void remove_model(const char *dir)
{
    char path[256];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}

/* --- kernels, timed --- */

enum { RMSNORM, ROPE, HEADNORM, APPEND, ATTENTION, SHORTCONV, SWIGLU, LOGSUMEXP, OPS };
static const char *const op_names[OPS] = {"rmsnorm",   "rope",      "headnorm", "attention append",
                                          "attention", "shortconv", "swiglu",   "logsumexp"};
static double op_seconds[OPS];
static struct {
    size_t N, K;
    double seconds, flop;
} shapes[SHAPES_MAX];
static const struct kernels *real;

#define TIMED(op, call)                                                                                      \
    do {                                                                                                     \
        double begin_ = cpu_now();                                                                           \
        call;                                                                                                \
        op_seconds[op] += cpu_now() - begin_;                                                                \
    } while (0)

static void timed_rmsnorm(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C,
                          float eps)
{
    TIMED(RMSNORM, real->rmsnorm_forward(y, rstd, x, w, N, C, eps));
}
static void timed_rope(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads,
                       size_t D)
{
    TIMED(ROPE, real->rope_forward(x, ldx, cos, sin, N, heads, D));
}
static void timed_headnorm(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D, float eps)
{
    TIMED(HEADNORM, real->headnorm_forward(x, ldx, w, N, heads, D, eps));
}
static void timed_append(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                         size_t n, size_t g0, size_t g1)
{
    TIMED(APPEND, real->attention_append(c, k, v, ld, pos, n, g0, g1));
}
static void timed_attention(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                            size_t pos, size_t n, size_t H, size_t g0, size_t g1, float scale, float *scratch)
{
    TIMED(ATTENTION, real->attention_forward(o, ldo, q, ldq, c, pos, n, H, g0, g1, scale, scratch));
}
static void timed_shortconv(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                            const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1)
{
    TIMED(SHORTCONV, real->shortconv_forward(y, ldy, bgu, carry, w, bias, N, C, K, c0, c1));
}
static void timed_swiglu(float *a, const float *b, size_t ld, size_t N, size_t F)
{
    TIMED(SWIGLU, real->swiglu_forward(a, b, ld, N, F));
}
static void timed_logsumexp(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V)
{
    TIMED(LOGSUMEXP, real->logsumexp_update(max, sum, logits, ld, N, V));
}
static void timed_matmul(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                         size_t M, size_t N, size_t K, float beta)
{
    double begin = cpu_now();
    real->matmul(y, ldy, x, ldx, w, ldw, M, N, K, beta);
    double seconds = cpu_now() - begin;
    size_t i = 0;
    while (i < SHAPES_MAX - 1 && shapes[i].flop > 0 && (shapes[i].N != N || shapes[i].K != K)) i++;
    shapes[i].N = N;
    shapes[i].K = K;
    shapes[i].seconds += seconds;
    shapes[i].flop += 2.0 * (double)M * (double)N * (double)K;
}

static struct kernels wrap(const struct kernels *k)
{
    struct kernels t = *k;
    real = k;
    t.rmsnorm_forward = timed_rmsnorm;
    t.rope_forward = timed_rope;
    t.headnorm_forward = timed_headnorm;
    t.attention_append = timed_append;
    t.attention_forward = timed_attention;
    t.shortconv_forward = timed_shortconv;
    t.swiglu_forward = timed_swiglu;
    t.logsumexp_update = timed_logsumexp;
    t.matmul = timed_matmul;
    return t;
}

/* --- measuring --- */

struct pass {
    double body, head, sgemm;
}; /* seconds; sgemm: GFLOP/s, mean of the ones in between */

struct bench {
    struct settings s;
    struct model *model;
    float *x, *a, *b, *c;
    int32_t *tokens, *targets;
    float *nll;
};

static double sgemm(struct bench *b)
{
    double begin = cpu_now();
    real->matmul(b->c, GEMM, b->a, GEMM, b->b, GEMM, GEMM, GEMM, GEMM, 0); /* one call of the library */
    return 2e-9 * GEMM * GEMM * GEMM / (cpu_now() - begin);
}

static struct pass run_pass(struct bench *b)
{
    struct pass p = {0};
    struct model_state *state;
    struct thea_err err;
    size_t chunks = 0;
    if (model_state_new(&state, b->model, &err) != THEA_OK) die(&err);
    for (size_t at = 0; at < b->s.tokens; at += b->s.chunk, chunks++) {
        size_t n = b->s.tokens - at < b->s.chunk ? b->s.tokens - at : b->s.chunk;
        p.sgemm += sgemm(b);
        double begin = cpu_now();
        if (model_embed(b->model, b->x, b->tokens + at, NULL, n, at, &err) != THEA_OK) die(&err);
        if (model_forward(b->model, state, b->x, n, NULL, NULL, &err) != THEA_OK) die(&err);
        double middle = cpu_now();
        model_final(b->model, b->x, b->x, n);
        if (model_nll(b->model, b->nll, b->x, b->targets + at, n, &err) != THEA_OK) die(&err);
        p.body += middle - begin;
        p.head += cpu_now() - middle;
    }
    p.sgemm = (p.sgemm + sgemm(b)) / (double)(chunks + 1);
    model_state_free(state);
    return p;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void print_ratio(const char *what, const struct pass *p, size_t n, double body_gflop,
                        double head_gflop, bool with_head)
{
    double ratio[PASSES_MAX], rate[PASSES_MAX];
    for (size_t i = 0; i < n; i++) {
        double seconds = p[i].body + (with_head ? p[i].head : 0);
        rate[i] = (body_gflop + (with_head ? head_gflop : 0)) / seconds;
        ratio[i] = rate[i] / p[i].sgemm;
    }
    double middle = median(ratio, n), gflops = median(rate, n);
    printf("%-14s %6.1f GFLOP/s  ratio to sgemm %.3f  (%.3f to %.3f in %zu passes)\n", what, gflops, middle,
           ratio[0], ratio[n - 1], n);
}

static void print_table(double reference)
{
    double total = 0;
    for (size_t i = 0; i < SHAPES_MAX; i++) total += shapes[i].seconds;
    for (int i = 0; i < OPS; i++) total += op_seconds[i];
    printf("\n%-24s %9s %7s %9s %7s\n", "kernel", "seconds", "share", "GFLOP/s", "ratio");
    for (size_t i = 0; i < SHAPES_MAX && shapes[i].flop > 0; i++) {
        double rate = shapes[i].flop * 1e-9 / shapes[i].seconds;
        printf("matmul N %5zu K %5zu     %9.3f %6.1f%% %9.1f %7.3f\n", shapes[i].N, shapes[i].K,
               shapes[i].seconds, 100 * shapes[i].seconds / total, rate, rate / reference);
    }
    for (int i = 0; i < OPS; i++)
        printf("%-24s %9.3f %6.1f%%\n", op_names[i], op_seconds[i], 100 * op_seconds[i] / total);
}

static double attention_gflop(const struct model_info *info, size_t tokens)
{
    double T = (double)tokens;
    return 1e-9 * 4 * T * T / 2 * (double)(info->heads * info->head_size) * (double)info->attention_blocks;
}

static double matrix_gflop(const struct model_info *info, size_t tokens)
{
    double C = (double)info->hidden, kv = (double)(info->kv_heads * info->head_size),
           q = (double)(info->heads * info->head_size);
    double attention = C * (2 * q + 2 * kv), conv = 4 * C * C, ffn = 3 * C * (double)info->feed_forward;
    double parameters = (double)info->attention_blocks * attention +
                        (double)(info->blocks - info->attention_blocks) * conv + (double)info->blocks * ffn;
    return 2e-9 * parameters * (double)tokens;
}

static void fill(struct bench *b)
{
    size_t C = model_info(b->model)->hidden, V = model_info(b->model)->vocab;
    b->x = aligned_alloc(64, b->s.chunk * C * sizeof(float));
    b->a = aligned_alloc(64, sizeof(float) * GEMM * GEMM);
    b->b = aligned_alloc(64, sizeof(float) * GEMM * GEMM);
    b->c = aligned_alloc(64, sizeof(float) * GEMM * GEMM);
    b->nll = calloc(b->s.chunk, sizeof *b->nll);
    b->tokens = calloc(b->s.tokens, sizeof *b->tokens);
    b->targets = calloc(b->s.tokens, sizeof *b->targets);
    for (size_t i = 0; i < (size_t)GEMM * GEMM; i++) b->a[i] = b->b[i] = (float)(i % 17) - 8;
    for (size_t i = 0; i < b->s.tokens; i++) {
        b->tokens[i] = (int32_t)(i * 7919 % V);
        b->targets[i] = (int32_t)(i * 104729 % V);
    }
}

static void measure(struct bench *b)
{
    struct pass passes[PASSES_MAX];
    const struct model_info *info = model_info(b->model);
    size_t T = b->s.tokens;
    double body = matrix_gflop(info, T) + attention_gflop(info, T),
           head = 2e-9 * (double)info->hidden * (double)info->vocab * (double)T, reference[PASSES_MAX];
    (void)sgemm(b);
    (void)run_pass(b); /* pages and clocks */
    memset(op_seconds, 0, sizeof op_seconds);
    memset(shapes, 0, sizeof shapes);
    for (size_t i = 0; i < b->s.passes; i++) {
        passes[i] = run_pass(b);
        reference[i] = passes[i].sgemm;
    }
    double middle = median(reference, b->s.passes);
    printf("sgemm 2048     %6.1f GFLOP/s\n", middle);
    print_ratio("without head", passes, b->s.passes, body, head, false);
    print_ratio("with head", passes, b->s.passes, body, head, true);
    print_table(middle);
}

static size_t number(const char *text, size_t max)
{
    long v = atol(text);
    if (v < 1 || (size_t)v > max) {
        fprintf(stderr, "bench-prefill: '%s': expected 1 to %zu\n", text, max);
        exit(64);
    }
    return (size_t)v;
}

static struct settings parse(int argc, char **argv)
{
    struct settings s = {.tokens = 2048, .chunk = 512, .passes = 3, .blocks = 16};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--tokens") == 0)
            s.tokens = number(argv[i + 1], 128000);
        else if (strcmp(argv[i], "--chunk") == 0)
            s.chunk = number(argv[i + 1], 65536);
        else if (strcmp(argv[i], "--passes") == 0)
            s.passes = number(argv[i + 1], PASSES_MAX);
        else if (strcmp(argv[i], "--blocks") == 0)
            s.blocks = number(argv[i + 1], 16);
        else if (strcmp(argv[i], "--write") == 0)
            s.write = argv[i + 1];
        else if (strcmp(argv[i], "--dtype") == 0)
            s.f32 = strcmp(argv[i + 1], "f32") == 0;
    }
    return s;
}

int main(int argc, char **argv)
{
    struct bench b = {.s = parse(argc, argv)};
    struct thea_err err;
    char cpu[128], dir[] = "/tmp/thea-bench-XXXXXX";
    if (b.s.write != NULL) {
        if (mkdir(b.s.write, 0755) != 0) return 73;
        make_model(b.s.write, &b.s);
        return 0;
    }
    const struct kernels *kernels = kernels_select(NULL);
    if (kernels == NULL || mkdtemp(dir) == NULL) return 71;
    make_model(dir, &b.s);
    struct kernels timed = wrap(kernels);
    struct workers *workers;
    if (workers_new(&workers, 1, &err) != THEA_OK ||
        model_open(&b.model, dir, 0, SIZE_MAX, workers, &timed, &err) != THEA_OK) {
        remove_model(dir);
        die(&err);
    }
    remove_model(dir); /* it stays mapped */
    printf("%s, kernels %s, OpenBLAS %s\nLFM2-350M shape, %zu blocks, %s weights, %zu tokens in chunks of "
           "%zu, one thread, CPU time\n",
           kernels_cpu_name(cpu, sizeof cpu), kernels->name, kernels_blas_config(), b.s.blocks,
           b.s.f32 ? "f32" : "bf16", b.s.tokens, b.s.chunk);
    fill(&b);
    measure(&b);
    model_close(b.model);
    workers_free(workers);
    free(b.x), free(b.a), free(b.b), free(b.c), free(b.nll), free(b.tokens), free(b.targets);
    return 0;
}
