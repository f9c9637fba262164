/* The family bert: what its config may say and what is refused, names with a prefix, every activation forward
 * and backward. */
#include "graph/buf.h"
#include "nn/families/family.h"
#include "nn/gradients.h"
#include "nn/pooler.h"
#include "tests/nn/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TINY THEA_SOURCE_DIR "/tests/goldens/bert-tiny"

static struct thea_err err;
static char dir[] = "/tmp/thea-bert-XXXXXX";

static void make(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static void sweep(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(bert, .init = make, .fini = sweep);

static char *in_dir(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* bert-tiny's config with `more` in front of its members. */
static void put_config(const char *more)
{
    FILE *f = fopen(in_dir("config.json"), "w");
    fprintf(
        f,
        "{%s\"model_type\": \"bert\", \"hidden_size\": 48, \"intermediate_size\": 96, \"vocab_size\": 800,\n"
        "\"num_hidden_layers\": 3, \"max_position_embeddings\": 64, \"type_vocab_size\": 2}",
        more);
    fclose(f);
}

#define HEADS "\"num_attention_heads\": 4, "

static void link_weights(void)
{
    cr_assert_eq(symlink(TINY "/model.safetensors", in_dir("model.safetensors")), 0);
}

/* --- configs --- */

Test(bert, knows_its_architecture)
{
    struct model_info info;
    cr_assert(model_read_info(&info, TINY, &err) == THEA_OK, "%s", err.message);
    cr_expect(!info.causal && info.blocks == 3 && info.heads == 4 && info.head_size == 12 &&
              info.context == 64);
    cr_expect(info.pad == 0 && info.padding == MODEL_PAD_NONE && info.pooling == MODEL_POOL_MEAN &&
              info.normalize);
    cr_expect_eq(info.max_length, 64);
    cr_expect_eq(info.kv_bytes_per_token + info.state_bytes, 0, "nothing is kept of a document");
    /* tables and LayerNorm, three blocks, pooler */
    cr_expect_eq(info.parameters,
                 (800 + 64 + 2 + 2) * 48 + 3 * (4 * 49 * 48 + 2 * 48 + 48 * 96 * 2 + 96 + 3 * 48) + 49 * 48);
}

static void refuse(const char *more, const char *part)
{
    struct model_info info;
    put_config(more);
    cr_expect(model_read_info(&info, dir, &err) == THEA_EDATA, "%s", more);
    cr_expect(strstr(err.message, part) != NULL, "no '%s' in: %s", part, err.message);
}

Test(bert, refuses_what_it_would_compute_wrongly)
{
    refuse(HEADS "\"hidden_act\": \"swish\", ", "hidden_act: 'swish' is not supported; accepted: gelu,");
    refuse(HEADS "\"hidden_act\": 3, ", "hidden_act");
    refuse(HEADS "\"position_embedding_type\": \"relative_key\", ", "accepted: absolute");
    refuse(HEADS "\"is_decoder\": true, ", "is_decoder");
    refuse(HEADS "\"pad_token_id\": 800, ", "pad_token_id: token 800 is not in the vocabulary of 800");
    refuse(HEADS "\"layer_norm_eps\": -1, ", "layer_norm_eps");
    refuse("\"num_attention_heads\": 5, ", "num_attention_heads: 5 does not divide hidden_size 48");
    refuse("\"num_attention_heads\": 5, \"head_dim\": 8, ",
           "num_attention_heads: 5 does not divide hidden_size 48");
    refuse("\"num_attention_heads\": 0, ", "num_attention_heads");
    refuse("\"num_attention_heads\": 100, ", "num_attention_heads: 100 does not divide hidden_size 48");
}

/* --- weights --- */

/* bert-tiny's file with each name's front changed: "embeddings." to `prefix`"embeddings." and so on. */
static void put_weights(const char *prefix, const char *extra)
{
    static const char *const fronts[] = {"\"embeddings.", "\"encoder.", "\"pooler."};
    FILE *from = fopen(TINY "/model.safetensors", "r"), *to = fopen(in_dir("model.safetensors"), "w");
    uint64_t length;
    struct buf header = {0};
    cr_assert_eq(fread(&length, sizeof length, 1, from), 1);
    char *text = calloc(1, length + 1);
    cr_assert_eq(fread(text, 1, length, from), length);
    for (const char *at = text; *at != '\0';) {
        bool front = false;
        for (size_t i = 0; i < 3; i++) front = front || strncmp(at, fronts[i], strlen(fronts[i])) == 0;
        buf_add_char(&header, *at++);
        if (front) buf_add_text(&header, prefix);
    }
    while (header.data[header.len - 1] != '}') header.len--;
    header.len--;
    buf_printf(&header, "%s}", extra);
    while (header.len % 8 != 0) buf_add_char(&header, ' ');
    length = header.len;
    fwrite(&length, sizeof length, 1, to);
    fwrite(header.data, 1, header.len, to);
    for (int c; (c = getc(from)) != EOF;) putc(c, to);
    fclose(from);
    fclose(to);
    free(text);
    buf_fini(&header);
}

static thea_rc open_whole(void)
{
    struct workers *w;
    struct model *m = NULL;
    cr_assert(workers_new(&w, 1, &err) == THEA_OK);
    thea_rc rc = model_open(&m, dir, 0, SIZE_MAX, w, kernels_select(NULL), &err);
    model_close(m);
    workers_free(w);
    return rc;
}

Test(bert, takes_names_with_the_prefixes_of_models_around_it)
{
    static const char *const prefixes[] = {"", "bert.", "module.bert.", "model.bert."};
    put_config(HEADS);
    for (size_t i = 0; i < 4; i++) {
        struct pooler *p;
        put_weights(prefixes[i], "");
        cr_expect(open_whole() == THEA_OK, "%s: %s", prefixes[i], err.message);
        cr_expect(pooler_open(&p, dir, kernels_select(NULL), &err) == THEA_OK, "%s: %s", prefixes[i],
                  err.message);
        pooler_close(p);
    }
}

Test(bert, passes_over_heads_of_other_tasks_and_refuses_what_nobody_knows)
{
    put_config(HEADS);
    put_weights("bert.",
                ", \"cls.predictions.bias\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]}");
    cr_expect(open_whole() == THEA_OK, "%s", err.message);
    put_weights("", ", \"encoder.layer.1.adapter.weight\": {\"dtype\": \"F32\", \"shape\": [0], "
                    "\"data_offsets\": [0, 0]}");
    cr_expect(open_whole() == THEA_EDATA);
    cr_expect_not_null(strstr(err.message, "encoder.layer.1.adapter.weight"), "%s", err.message);
    put_weights("roberta.", "");
    cr_expect(open_whole() == THEA_EDATA);
    cr_expect_not_null(strstr(err.message, "missing      embeddings.word_embeddings.weight"), "%s",
                       err.message);
}

/* --- activations: gradients by finite differences --- */

enum { N = 7, C = 48 };

static double loss(struct model *m, const float *x, const float *along)
{
    static const struct span spans[] = {{0, 4}, {4, 3}};
    float y[N * C];
    double sum = 0;
    memcpy(y, x, sizeof y);
    cr_assert(model_encode(m, y, N, spans, 2, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < N * C; i++) sum += (double)y[i] * (double)along[i];
    return sum;
}

/* The derivative along a direction, of all inputs at once: a sum that rounding does not drown. */
static void expect_slope(struct model *m, const float *x, const float *d, const float *along, unsigned seed)
{
    const double step = 1e-3;
    float up[N * C], down[N * C];
    double slope = 0, size = 0;
    for (size_t i = 0; i < N * C; i++) {
        double way = sin((double)(seed * 7919 + i * i));
        up[i] = (float)((double)x[i] + step * way);
        down[i] = (float)((double)x[i] - step * way);
        slope += (double)d[i] * ((double)up[i] - (double)down[i]);
        size += fabs((double)d[i] * ((double)up[i] - (double)down[i]));
    }
    double difference = loss(m, up, along) - loss(m, down, along);
    cr_expect(fabs(difference - slope) <= 5e-3 * size, "slope %g, difference %g (seed %u)", slope, difference,
              seed);
}

static void check_activation(const char *name)
{
    static const struct span spans[] = {{0, 4}, {4, 3}};
    struct opened o;
    struct gradients *g;
    char more[128];
    float x[N * C], d[N * C], along[N * C];
    snprintf(more, sizeof more, HEADS "\"hidden_act\": \"%s\", ", name);
    put_config(more);
    opened_init(&o, dir, 0, SIZE_MAX, 1);
    for (size_t i = 0; i < N * C; i++) {
        x[i] = cosf((float)(3 * i));
        d[i] = along[i] = sinf((float)(i * i % 101));
    }
    cr_assert(gradients_new(&g, &err) == THEA_OK);
    cr_assert(model_backward(o.model, x, d, N, spans, 2, g, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    for (unsigned seed = 1; seed <= 8; seed++) expect_slope(o.model, x, d, along, seed);
    gradients_free(g);
    opened_fini(&o);
}

Test(bert, goes_backward_through_every_activation_as_finite_differences_do)
{
    static const char *const names[] = {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"};
    link_weights();
    for (size_t i = 0; i < 4; i++) check_activation(names[i]);
}

Test(bert, computes_each_activation_by_its_own_formula)
{
    static const char *const names[] = {"gelu", "gelu_new", "relu"};
    double losses[3];
    float x[N * C], along[N * C];
    link_weights();
    for (size_t i = 0; i < N * C; i++) {
        x[i] = cosf((float)(3 * i));
        along[i] = sinf((float)i);
    }
    for (size_t i = 0; i < 3; i++) {
        struct opened o;
        char more[128];
        snprintf(more, sizeof more, HEADS "\"hidden_act\": \"%s\", ", names[i]);
        put_config(more);
        opened_init(&o, dir, 0, SIZE_MAX, 1);
        losses[i] = loss(o.model, x, along);
        opened_fini(&o);
    }
    cr_expect(fabs(losses[0] - losses[1]) > 1e-6 && fabs(losses[0] - losses[1]) < 1e-1 * fabs(losses[0]),
              "the approximation is near and not the same: %g, %g", losses[0], losses[1]);
    cr_expect(fabs(losses[0] - losses[2]) > 1e-3, "%g, %g", losses[0], losses[2]);
}
