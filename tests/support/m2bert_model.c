/* Random M2-BERT models: see m2bert_model.h. The values are those that training begins with, but for
 * frequencies and scales that make every path of the mixer count. */
#include "tests/support/m2bert_model.h"

#include "graph/buf.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct m2bert_model m2bert_published(size_t context)
{
    return (struct m2bert_model){.hidden = 768,
                                 .feed_forward = 3072,
                                 .blocks = 12,
                                 .context = context,
                                 .vocab = 30528,
                                 .filter_width = 128,
                                 .filter_features = 5,
                                 .seed = 1,
                                 .prefix = "bert."};
}

/* --- values --- */

static double next_random(uint64_t *state) /* [-1, 1) */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(*state >> 32) * 0x1p-31;
}

static uint64_t seed_of(const char *name, uint64_t seed)
{
    uint64_t h = 14695981039346656037u ^ seed; /* FNV-1a */
    for (; *name != '\0'; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

void m2bert_direction(float *out, const char *name, size_t n)
{
    uint64_t state = seed_of(name, 12345);
    for (size_t i = 0; i < n; i++) out[i] = (float)next_random(&state);
}

/* What a tensor holds: base + scale * random, or one of the formulas. */
typedef enum { UNIFORM, TIMES, FEATURES, DELTAS } filling;

struct tensor_plan {
    const char *name;
    size_t shape[3];
    filling filling;
    double base, scale;
};

static double feature(size_t i, size_t e, size_t features, size_t context)
{
    size_t bands = (features - 1) / 2;
    double w = 2 * M_PI * (double)i / (double)context,
           t = context > 1 ? (double)i / (double)(context - 1) : 0;
    if (e == 0) return t;
    size_t band = (e - 1) % (bands > 0 ? bands : 1);
    double f = bands > 1 ? 1e-4 + (double)band * ((double)bands - 1 - 1e-4) / (double)(bands - 1) : 1e-4;
    return e <= bands ? cos(f * w) : -sin(f * w);
}

static double value_at(const struct tensor_plan *t, size_t i, uint64_t *state)
{
    size_t rows = t->shape[1], columns = t->shape[2];
    switch (t->filling) {
    case TIMES: return rows > 1 ? (double)i / (double)(rows - 1) : 0;
    case FEATURES: /* trained: near the formula, not on it */
        return feature(i / columns, i % columns, columns, rows) + 0.01 * next_random(state);
    case DELTAS: {
        double least = log(0.01) / 1.5, most = log(0.01) / 0.3;
        return columns > 1 ? least + (most - least) * (double)i / (double)(columns - 1) : least;
    }
    default: return t->base + t->scale * next_random(state);
    }
}

/* --- the file --- */

struct writer {
    const struct m2bert_model *m;
    FILE *data;
    struct buf header;
    uint64_t at;
};

static void fail(const char *what)
{
    fprintf(stderr, "m2bert model: cannot write %s\n", what);
    abort();
}

static void put(struct writer *w, const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, w->data) != bytes) fail("the weights");
}

static size_t rank_of(const size_t shape[3])
{
    size_t rank = 0;
    while (rank < 3 && shape[rank] != 0) rank++;
    return rank;
}

static void announce(struct writer *w, const char *name, const char *dtype, const size_t shape[3],
                     size_t element)
{
    size_t n = 1;
    buf_printf(&w->header, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[", w->header.len > 1 ? "," : "",
               w->m->prefix, name, dtype);
    for (size_t i = 0; i < rank_of(shape); n *= shape[i++])
        buf_printf(&w->header, "%s%zu", i > 0 ? "," : "", shape[i]);
    buf_printf(&w->header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)w->at,
               (unsigned long long)(w->at + n * element));
    w->at += n * element;
}

/* `seed_name`: whose values they are, for tensors under several names. */
static void write_tensor(struct writer *w, const struct tensor_plan *t, const char *seed_name)
{
    size_t n = 1;
    for (size_t i = 0; i < rank_of(t->shape); i++) n *= t->shape[i];
    float *values = calloc(n, sizeof *values), *direction = calloc(n, sizeof *direction);
    uint64_t state = seed_of(seed_name, w->m->seed);
    if (values == NULL || direction == NULL) fail("the weights");
    bool moved =
        w->m->moved != NULL && (strcmp(w->m->moved, seed_name) == 0 || strcmp(w->m->moved, t->name) == 0);
    if (moved) m2bert_direction(direction, seed_name, n);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(value_at(t, i, &state) + (moved ? w->m->step * direction[i] : 0));
    announce(w, t->name, "F32", t->shape, sizeof *values);
    put(w, values, n * sizeof *values);
    free(values);
    free(direction);
}

static void write_all(struct writer *w, const char *prefix, const struct tensor_plan *plans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[160];
        struct tensor_plan t = plans[i];
        snprintf(name, sizeof name, "%s%s", prefix, t.name);
        t.name = name;
        write_tensor(w, &t, name);
    }
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void write_position_ids(struct writer *w)
{
    const size_t shape[3] = {1, w->m->context};
    announce(w, "embeddings.position_ids", "I64", shape, 8);
    for (size_t i = 0; i < w->m->context; i++) put(w, &(int64_t){(int64_t)i}, 8);
}

static void write_embeddings(struct writer *w)
{
    size_t C = w->m->hidden;
    const struct tensor_plan plans[] = {
        {"embeddings.word_embeddings.weight", {w->m->vocab, C}, UNIFORM, 0, 0.05},
        {"embeddings.position_embeddings.weight", {w->m->context, C}, UNIFORM, 0, 0.05},
        {"embeddings.token_type_embeddings.weight", {2, C}, UNIFORM, 0, 0.05},
        {"embeddings.LayerNorm.weight", {C}, UNIFORM, 1, 0.2},
        {"embeddings.LayerNorm.bias", {C}, UNIFORM, 0, 0.1},
        {"pooler.dense.weight", {C, C}, UNIFORM, 0, 1 / sqrt((double)C)},
        {"pooler.dense.bias", {C}, UNIFORM, 0, 0.1},
    };
    write_position_ids(w);
    write_all(w, "", plans, COUNT(plans));
}

static void write_network(struct writer *w, const char *prefix)
{
    size_t C = w->m->hidden, F = w->m->filter_width, E = w->m->filter_features;
    double inner = 1 / sqrt((double)F), outer = 1 / sqrt((double)F * (double)w->m->context);
    const struct tensor_plan plans[] = {
        {"0.weight", {F, E}, UNIFORM, 0, 0.2},       {"0.bias", {F}, UNIFORM, 0, 0.1},
        {"2.weight", {F, F}, UNIFORM, 0, inner / 4}, {"2.bias", {F}, UNIFORM, 0, 0.1},
        {"4.weight", {F, F}, UNIFORM, 0, inner / 4}, {"4.bias", {F}, UNIFORM, 0, 0.1},
        {"6.weight", {C, F}, UNIFORM, 0, 8 * outer},
    };
    write_all(w, prefix, plans, COUNT(plans));
}

/* The sines' frequency: one tensor under six names. */
static void write_frequencies(struct writer *w, const char *prefix)
{
    static const char *const names[] = {"implicit_filter.1.freq",     "implicit_filter.3.freq",
                                        "implicit_filter.5.freq",     "implicit_filter_rev.1.freq",
                                        "implicit_filter_rev.3.freq", "implicit_filter_rev.5.freq"};
    char first[160], name[160];
    snprintf(first, sizeof first, "%s%s", prefix, names[0]);
    for (size_t i = w->m->one_frequency ? COUNT(names) - 1 : 0; i < COUNT(names); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        write_tensor(w, &(struct tensor_plan){name, {1, w->m->filter_width}, UNIFORM, 3, 1}, first);
    }
}

static void write_filter(struct writer *w, const char *prefix)
{
    size_t C = w->m->hidden, L = w->m->context;
    const struct tensor_plan plans[] = {
        {"bias", {C}, UNIFORM, 0, 1},
        {"pos_emb.z", {1, L, w->m->filter_features}, FEATURES, 0, 0},
        {"pos_emb.t", {1, L, 1}, TIMES, 0, 0},
        {"modulation.deltas", {1, 1, C}, DELTAS, 0, 0},
    };
    char network[160];
    write_all(w, prefix, plans, COUNT(plans));
    write_frequencies(w, prefix);
    snprintf(network, sizeof network, "%simplicit_filter.", prefix);
    write_network(w, network);
    snprintf(network, sizeof network, "%simplicit_filter_rev.", prefix);
    write_network(w, network);
}

static void write_block(struct writer *w, size_t block)
{
    size_t C = w->m->hidden, F = w->m->feed_forward;
    double dense = 2 / sqrt((double)C), up = 2 / sqrt((double)C / 4), down = 1 / sqrt((double)F / 4);
    const struct tensor_plan plans[] = {
        {"attention.in_linear.weight", {3 * C, C}, UNIFORM, 0, dense},
        {"attention.in_linear.bias", {3 * C}, UNIFORM, 0, 0.1},
        {"attention.out_linear.weight", {C, C}, UNIFORM, 0, dense},
        {"attention.out_linear.bias", {C}, UNIFORM, 0, 0.1},
        {"attention.short_filter.weight", {3 * C, 1, 3}, UNIFORM, 0, 0.6},
        {"attention.short_filter.bias", {3 * C}, UNIFORM, 0, 0.1},
        {"mlp.gated_layers.weight", {4, F / 2, C / 4}, UNIFORM, 0, up},
        {"mlp.wo.weight", {4, C / 4, F / 4}, UNIFORM, 0, down},
        {"mlp.wo.bias", {C}, UNIFORM, 0, 0.1},
        {"mlp.layernorm.weight", {C}, UNIFORM, 1, 0.2},
        {"mlp.layernorm.bias", {C}, UNIFORM, 0, 0.1},
    };
    char prefix[96], filter[128];
    snprintf(prefix, sizeof prefix, "encoder.layer.%zu.", block);
    write_all(w, prefix, plans, COUNT(plans));
    snprintf(filter, sizeof filter, "%sattention.filter_fn.", prefix);
    write_filter(w, filter);
    snprintf(filter, sizeof filter, "%sattention.filter_fn2.", prefix);
    write_filter(w, filter);
}

/* --- the directory --- */

static FILE *create(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w+e");
    if (f == NULL) fail(path);
    return f;
}

static void write_config(const char *dir, const struct m2bert_model *m)
{
    FILE *f = create(dir, "config.json");
    fprintf(f,
            "{\"model_type\": \"m2_bert\", \"hidden_size\": %zu, \"intermediate_size\": %zu, "
            "\"num_hidden_layers\": %zu,\n \"max_position_embeddings\": %zu, \"long_conv_l_max\": %zu, "
            "\"vocab_size\": %zu, \"type_vocab_size\": 2,\n \"hyena_filter_order\": %zu, \"hyena_emb_dim\": "
            "%zu, \"monarch_mlp_nblocks\": 4, \"layer_norm_eps\": 1e-12, \"pad_token_id\": 0}\n",
            m->hidden, m->feed_forward, m->blocks, m->context, m->context, m->vocab, m->filter_width,
            m->filter_features);
    if (fclose(f) != 0) fail("config.json");
}

/* The header comes first in the file and is known last. */
static void join(const char *dir, struct writer *w)
{
    static char piece[1 << 20];
    FILE *f = create(dir, "model.safetensors");
    while (w->header.len % 8 != 0) buf_add_char(&w->header, ' ');
    unsigned char size[8];
    for (size_t i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)w->header.len >> (8 * i));
    if (fwrite(size, 1, 8, f) != 8 || fwrite(w->header.data, 1, w->header.len, f) != w->header.len)
        fail("model.safetensors");
    rewind(w->data);
    for (size_t n; (n = fread(piece, 1, sizeof piece, w->data)) > 0;)
        if (fwrite(piece, 1, n, f) != n) fail("model.safetensors");
    if (fclose(f) != 0) fail("model.safetensors");
}

static void remove_file(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

void m2bert_model_write(const char *dir, const struct m2bert_model *m)
{
    struct writer w = {.m = m, .data = create(dir, "data")};
    buf_add_char(&w.header, '{');
    write_embeddings(&w);
    for (size_t i = 0; i < m->blocks; i++) write_block(&w, i);
    buf_add_char(&w.header, '}');
    write_config(dir, m);
    join(dir, &w);
    fclose(w.data);
    remove_file(dir, "data");
    buf_fini(&w.header);
}

void m2bert_model_remove(const char *dir)
{
    remove_file(dir, "config.json");
    remove_file(dir, "model.safetensors");
    rmdir(dir);
}
