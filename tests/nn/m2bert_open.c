/* What opens as M2-BERT and what does not: sizes, settings that are another architecture, and weights. */
#include "tests/nn/m2bert.h"
#include "tests/support/m2bert_model.h"
#include "tests/support/run.h"

#include "nn/families/family.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sizes --- */

struct size {
    size_t context;
    uint64_t parameters;
};

/* Trainable parameters of the published checkpoints. */
ParameterizedTestParameters(m2bert_open, parameters_of_the_published_sizes_are_counted)
{
    static struct size sizes[] = {{128, 80235264}, {2048, 81940224}, {8192, 87396096}, {32768, 109219584}};
    return cr_make_param_array(struct size, sizes, sizeof sizes / sizeof *sizes, NULL);
}
ParameterizedTest(struct size *s, m2bert_open, parameters_of_the_published_sizes_are_counted)
{
    char text[256];
    struct thea_err err;
    struct model_config *c;
    snprintf(text, sizeof text,
             "{\"model_type\":\"m2_bert\",\"hidden_size\":768,\"num_hidden_layers\":12,\"vocab_size\":30528,"
             "\"intermediate_size\":3072,\"max_position_embeddings\":%zu}",
             s->context);
    cr_assert(model_config_parse(&c, text, strlen(text), "config.json", &err) == THEA_OK, "%s", err.message);
    cr_expect(c->info.parameters == s->parameters, "%llu", (unsigned long long)c->info.parameters);
    cr_expect(!c->info.causal && c->info.padding == MODEL_PAD_MAX && c->info.pad == 0);
    cr_expect(c->info.pooling == MODEL_POOL_POOLER && !c->info.normalize);
    free(c);
}

/* --- settings --- */

struct refused {
    char setting[64], key[40];
};

ParameterizedTestParameters(m2bert_open, refuses_settings_of_another_architecture_by_name)
{
    static struct refused all[] = {
        {"\"bidirectional\": false", "bidirectional"},
        {"\"residual_long_conv\": false", "residual_long_conv"},
        {"\"use_glu_mlp\": false", "use_glu_mlp"},
        {"\"use_monarch_mlp\": false", "use_monarch_mlp"},
        {"\"use_positional_encodings\": false", "use_positional_encodings"},
        {"\"monarch_mixer_sequence_mixing\": false", "monarch_mixer_sequence_mixing"},
        {"\"hyena_training_additions\": true", "hyena_training_additions"},
        {"\"hyena_training_additions\": 3", "hyena_training_additions"},
        {"\"hyena_w_mod\": 2", "hyena_w_mod"},
        {"\"hyena_filter_order\": 0", "hyena_filter_order"},
        {"\"hyena_emb_dim\": \"5\"", "hyena_emb_dim"},
        {"\"monarch_mlp_nblocks\": 3", "monarch_mlp_nblocks"},
        {"\"monarch_mlp_nblocks\": 10", "monarch_mlp_nblocks"},
        {"\"monarch_mlp_nblocks\": 100000", "monarch_mlp_nblocks"},
        {"\"long_conv_l_max\": 128", "long_conv_l_max"},
        {"\"pad_token_id\": 64", "pad_token_id"},
        {"\"max_position_embeddings\": 131072", "max_position_embeddings"},
    };
    return cr_make_param_array(struct refused, all, sizeof all / sizeof *all, NULL);
}
ParameterizedTest(struct refused *r, m2bert_open, refuses_settings_of_another_architecture_by_name)
{
    char text[400];
    struct thea_err err = {0};
    struct model_config *c = NULL;
    bool long_one = strstr(r->setting, "max_position") != NULL;
    snprintf(text, sizeof text,
             "{\"model_type\":\"m2_bert\",\"hidden_size\":32,\"num_hidden_layers\":2,\"vocab_size\":64,"
             "\"intermediate_size\":64,%s%s}",
             long_one ? "" : "\"max_position_embeddings\":64,", r->setting);
    cr_assert(model_config_parse(&c, text, strlen(text), "config.json", &err) == THEA_EDATA, "%s",
              r->setting);
    cr_expect(strstr(err.message, r->key) != NULL && strstr(err.message, "config.json") != NULL, "%s",
              err.message);
    cr_expect_null(c);
}

/* Wider ones do not fit the product's scratch. */
Test(m2bert_open, refuses_blocks_wider_than_the_gated_product_takes)
{
    static const char head[] = "{\"model_type\":\"m2_bert\",\"num_hidden_layers\":1,\"vocab_size\":64,"
                               "\"max_position_embeddings\":64,\"monarch_mlp_nblocks\":2,",
                      fits[] = "\"hidden_size\":8192,\"intermediate_size\":64}",
                      wide[] = "\"hidden_size\":8194,\"intermediate_size\":64}";
    char text[400];
    struct thea_err err = {0};
    struct model_config *c;
    snprintf(text, sizeof text, "%s%s", head, fits);
    cr_assert(model_config_parse(&c, text, strlen(text), "config.json", &err) == THEA_OK, "%s", err.message);
    free(c);
    snprintf(text, sizeof text, "%s%s", head, wide);
    cr_assert(model_config_parse(&c, text, strlen(text), "config.json", &err) == THEA_EDATA);
    cr_expect(strstr(err.message, "monarch_mlp_nblocks") != NULL && strstr(err.message, "8194") != NULL, "%s",
              err.message);
}

/* --- weights --- */

static const struct m2bert_model small = {.hidden = 16,
                                          .feed_forward = 16,
                                          .blocks = 2,
                                          .context = 12,
                                          .vocab = 8,
                                          .filter_width = 4,
                                          .filter_features = 5,
                                          .seed = 9,
                                          .prefix = "bert."};

struct part {
    struct workers *workers;
    struct model *model;
};

static thea_rc open_model(struct part *p, const struct m2bert_model *m, size_t first, size_t last,
                          struct thea_err *err)
{
    char *dir = run_temp_dir();
    m2bert_model_write(dir, m);
    cr_assert(workers_new(&p->workers, 1, err) == THEA_OK);
    thea_rc rc = model_open(&p->model, dir, first, last, p->workers, kernels_select(NULL), err);
    free(dir);
    return rc;
}

static void close_model(struct part *p)
{
    model_close(p->model);
    workers_free(p->workers);
}

static float *encode(const struct m2bert_model *m)
{
    static const int32_t tokens[] = {1, 3, 5, 7, 2, 0};
    struct part p;
    struct thea_err err;
    struct span span = {0, 6};
    float *x = m2_floats(6 * m->hidden);
    cr_assert(open_model(&p, m, 0, SIZE_MAX, &err) == THEA_OK, "%s", err.message);
    cr_assert(model_embed(p.model, x, tokens, NULL, 6, 0, &err) == THEA_OK, "%s", err.message);
    cr_assert(model_encode(p.model, x, 6, &span, 1, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    close_model(&p);
    return x;
}

Test(m2bert_open, names_may_have_prefixes_and_a_frequency_any_of_its_names)
{
    static const char *const prefixes[] = {"", "module.", "model.bert.", "module.model.bert."};
    struct m2bert_model m = small;
    float *want = encode(&m);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        m.prefix = prefixes[i];
        m.one_frequency = i % 2 == 0;
        float *x = encode(&m);
        cr_expect(memcmp(x, want, 6 * m.hidden * sizeof *x) == 0, "prefix '%s'", prefixes[i]);
        free(x);
    }
    free(want);
}

Test(m2bert_open, a_moved_tensor_moves_the_answer)
{
    struct m2bert_model m = small;
    float *want = encode(&m);
    m.moved = "encoder.layer.1.attention.filter_fn2.implicit_filter_rev.0.weight";
    m.step = 0.25;
    float *x = encode(&m);
    cr_expect(memcmp(x, want, 6 * m.hidden * sizeof *x) != 0);
    free(x);
    free(want);
}

Test(m2bert_open, refuses_frequencies_of_one_filter_that_differ)
{
    struct m2bert_model m = small;
    struct part p;
    struct thea_err err = {0};
    m.moved = "encoder.layer.1.attention.filter_fn2.implicit_filter_rev.3.freq";
    m.step = 0.25;
    cr_assert(open_model(&p, &m, 0, SIZE_MAX, &err) == THEA_EDATA);
    cr_expect(strstr(err.message, m.moved) != NULL, "%s", err.message);
    workers_free(p.workers);
    cr_assert(open_model(&p, &m, 0, 0, &err) == THEA_OK, "a part without that block: %s", err.message);
    close_model(&p);
}

/* --- buffers --- */

static bool opens(const struct m2bert_model *m, struct thea_err *err)
{
    struct part p;
    thea_rc rc = open_model(&p, m, 0, SIZE_MAX, err);
    cr_expect(rc == THEA_OK || rc == THEA_EDATA);
    close_model(&p);
    return rc == THEA_OK;
}

static void expect_another_answer(const struct m2bert_model *m, const float *was)
{
    float *x = encode(m);
    cr_expect(memcmp(x, was, 6 * m->hidden * sizeof *x) != 0, "%s by %g", m->moved, m->step);
    free(x);
}

/* As in the reference, which keeps t and deltas in its files and reads them from there. */
Test(m2bert_open, a_decay_is_the_files_even_where_it_leaves_the_formula)
{
    struct m2bert_model m = small;
    struct thea_err err = {0};
    float *want = encode(&m), first[12];
    m.moved = "encoder.layer.0.attention.filter_fn.modulation.deltas";
    m.step = 0.25;
    expect_another_answer(&m, want);
    m.moved = "encoder.layer.0.attention.filter_fn.pos_emb.t";
    m2bert_direction(first, m.moved, 12);
    m.step = first[0] > 0 ? 0x1p-6 : -0x1p-6; /* the first time is 0: one way leads below it */
    expect_another_answer(&m, want);
    m.step = -m.step;
    cr_expect(!opens(&m, &err));
    cr_expect(strstr(err.message, m.moved) != NULL && strstr(err.message, "at lag 0;") != NULL, "%s",
              err.message);
    free(want);
}

Test(m2bert_open, refuses_a_decay_that_is_none)
{
    static const char *const names[] = {"encoder.layer.1.attention.filter_fn.pos_emb.t",
                                        "encoder.layer.1.attention.filter_fn2.modulation.deltas"};
    static const double steps[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++) {
            struct m2bert_model m = small;
            struct thea_err err = {0};
            m.moved = names[i], m.step = steps[j];
            cr_expect(!opens(&m, &err), "%s, %g", names[i], steps[j]);
            cr_expect(strstr(err.message, names[i]) != NULL, "%s", err.message);
        }
}
