/* layers, called through its table: cuts, positions, ports, loops, and everything that it must refuse. Values
 * are compared with nn/model.h called directly, which tests/nn compares with the reference. */
#include "graph/json.h"
#include "nn/model.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDENS THEA_SOURCE_DIR "/tests/goldens/"
#define TINY    GOLDENS "lfm2-tiny"
#define STORIES GOLDENS "stories260k"
#define MINI    THEA_SOURCE_DIR "/models/thea-mini"

extern const struct stage_ops layers_ops;

static struct thea_err err;

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct harness *open_layers(const char *const *args, const char *const *in, const char *const *out)
{
    struct harness *h;
    cr_assert(harness_open_ports(&h, &layers_ops, args, in, out, &err) == THEA_OK, "%s", err.message);
    return h;
}

static struct harness *open_scorer(const char *dir, const char *chunk, const char *out)
{
    return open_layers(ARGS("--model", dir, "--chunk", chunk), ARGS("tokens"), ARGS(out));
}

static thea_rc feed(struct harness *h, const char *port, frame_kind kind, uint64_t position,
                    const struct tensor *t, size_t count)
{
    struct frame f = {.kind = kind,
                      .stream = 1,
                      .position = position,
                      .port = port,
                      .tensors = (struct tensor *)(uintptr_t)t,
                      .tensor_count = count};
    return harness_feed(h, port, &f, &err);
}

static void feed_tokens(struct harness *h, const char *port, const int32_t *tokens, size_t begin, size_t n)
{
    struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens + begin, n);
    cr_assert(feed(h, port, FRAME_DATA, begin, &t, 1) == THEA_OK, "%s", err.message);
}

static void feed_end(struct harness *h, const char *port)
{
    cr_assert(feed(h, port, FRAME_END, 0, NULL, 0) == THEA_OK, "%s", err.message);
}

static void feed_document(struct harness *h, const int32_t *tokens, size_t count, size_t piece)
{
    for (size_t at = 0; at < count; at += piece)
        feed_tokens(h, "tokens", tokens, at, count - at < piece ? count - at : piece);
    feed_end(h, "tokens");
}

/* Every frame of a part's port into the next part. */
static void pass_on(struct harness *from, const char *port, struct harness *to, size_t *seen)
{
    for (; *seen < harness_count(from, port); (*seen)++) {
        struct frame f = *harness_frame(from, port, *seen);
        cr_assert(harness_feed(to, "residual", &f, &err) == THEA_OK, "%s", err.message);
    }
}

static int32_t *some_tokens(size_t n, size_t vocab)
{
    int32_t *tokens = calloc(n, sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)((i * 37 + i * i % 11 + 3) % vocab);
    return tokens;
}

/* The values of a port's tensor, joined over its frames, each frame at the position where the one before
 * ended. */
static size_t join_port(const struct harness *h, const char *port, const char *name, void **out,
                        size_t element, uint64_t first)
{
    size_t n = 0;
    char *all = NULL;
    uint64_t next = first;
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        if (f->kind == FRAME_END) continue;
        const struct tensor *t = frame_tensor(f, name);
        cr_assert_not_null(t, "frame %zu of %s has no %s", i, port, name);
        if (strcmp(port, name) == 0) {
            cr_assert_eq(f->position, next, "frame %zu of %s", i, port);
            next += t->shape[0];
        }
        all = realloc(all, n * element + t->size_bytes + 1);
        memcpy(all + n * element, t->data, t->size_bytes);
        n += t->size_bytes / element;
    }
    *out = all;
    return n;
}

struct reference {
    struct workers *workers;
    struct model *model;
    struct model_state *state;
    float *hidden; /* [blocks + 1, n, C] */
    float *final, *nll, *logits;
    size_t n, C, V, blocks;
};

static void keep_hidden(void *context, size_t block, const float *x, size_t n)
{
    struct reference *r = context;
    memcpy(r->hidden + (block + 1) * n * r->C, x, n * r->C * sizeof *x);
}

static void compute(struct reference *r, const char *dir, const int32_t *tokens, size_t n)
{
    cr_assert(workers_new(&r->workers, 1, &err) == THEA_OK);
    cr_assert(model_open(&r->model, dir, 0, SIZE_MAX, r->workers, kernels_select(NULL), &err) == THEA_OK,
              "%s", err.message);
    cr_assert(model_state_new(&r->state, r->model, &err) == THEA_OK);
    const struct model_info *info = model_info(r->model);
    r->n = n, r->C = info->hidden, r->V = info->vocab, r->blocks = info->blocks;
    r->hidden = calloc((r->blocks + 1) * n * r->C, sizeof(float));
    r->final = calloc(n * r->C, sizeof(float));
    r->nll = calloc(n, sizeof(float));
    r->logits = calloc(n * r->V, sizeof(float));
    cr_assert(model_embed(r->model, r->final, tokens, NULL, n, 0, &err) == THEA_OK);
    memcpy(r->hidden, r->final, n * r->C * sizeof(float));
    cr_assert(model_forward(r->model, r->state, r->final, n, keep_hidden, r, &err) == THEA_OK);
    model_final(r->model, r->final, r->final, n);
    model_logits(r->model, r->logits, r->final, n);
    cr_assert(model_nll(r->model, r->nll, r->final, tokens + 1, n - 1, &err) == THEA_OK);
}

static void reference_free(struct reference *r)
{
    model_state_free(r->state);
    model_close(r->model);
    workers_free(r->workers);
    free(r->hidden);
    free(r->final);
    free(r->nll);
    free(r->logits);
}

static void expect_close(const char *what, const float *a, const float *b, size_t n)
{
    double worst = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        worst = isnan(d) || d > worst ? d : worst;
        size += fabs((double)b[i]);
    }
    cr_expect(n > 0 && worst <= 2e-5 * (1 + size / (double)n), "%s is off by %g", what, worst);
}

Test(layers, scores_are_the_models_whatever_the_chunk_and_the_pieces)
{
    enum { N = 150 };
    int32_t *tokens = some_tokens(N, 300);
    struct reference r;
    compute(&r, TINY, tokens, N);
    const char *const chunks[] = {"1", "7", "64", "150", "4096"};
    for (size_t i = 0; i < 5; i++) {
        struct harness *h = open_scorer(TINY, chunks[i], "nll");
        feed_document(h, tokens, N, 13);
        void *nll, *ids;
        cr_assert_eq(join_port(h, "nll", "nll", &nll, sizeof(float), 1), N - 1);
        expect_close(chunks[i], nll, r.nll, N - 1);
        cr_assert_eq(join_port(h, "nll", "tokens", &ids, sizeof(int32_t), 0), N);
        cr_expect(memcmp(ids, tokens, N * sizeof *tokens) == 0);
        cr_expect(harness_frame(h, "nll", harness_count(h, "nll") - 1)->kind == FRAME_END);
        free(nll);
        free(ids);
        harness_close(h);
    }
    reference_free(&r);
    free(tokens);
}

Test(layers, the_bits_do_not_depend_on_the_pieces_in_which_tokens_arrive)
{
    enum { N = 100 };
    int32_t *tokens = some_tokens(N, 300);
    void *first = NULL;
    const size_t pieces[] = {1, 9, 40, 100};
    for (size_t i = 0; i < 4; i++) {
        struct harness *h = open_scorer(TINY, "32", "nll");
        feed_document(h, tokens, N, pieces[i]);
        void *nll;
        cr_assert_eq(join_port(h, "nll", "nll", &nll, sizeof(float), 1), N - 1);
        cr_expect_eq(harness_count(h, "nll"), 5, "chunks at 0, 32, 64, 96, and the end");
        if (first != NULL)
            cr_expect(memcmp(first, nll, (N - 1) * sizeof(float)) == 0, "pieces of %zu", pieces[i]);
        if (first == NULL)
            first = nll;
        else
            free(nll);
        harness_close(h);
    }
    free(first);
    free(tokens);
}

Test(layers, parts_in_a_row_give_what_one_gives)
{
    enum { N = 90 };
    int32_t *tokens = some_tokens(N, 300);
    struct reference r;
    compute(&r, TINY, tokens, N);
    struct harness *a = open_layers(ARGS("--model", TINY, "--blocks", "0-1", "--chunk", "16"), ARGS("tokens"),
                                    ARGS("residual"));
    struct harness *b = open_layers(ARGS("--model", TINY, "--blocks", "2", "--chunk", "16"), ARGS("residual"),
                                    ARGS("residual"));
    struct harness *c = open_layers(ARGS("--model", TINY, "--blocks", "3-", "--chunk", "5"), ARGS("residual"),
                                    ARGS("nll", "final"));
    feed_document(a, tokens, N, 33);
    size_t seen[2] = {0};
    pass_on(a, "residual", b, &seen[0]);
    pass_on(b, "residual", c, &seen[1]);
    void *nll, *final, *ids;
    cr_assert_eq(join_port(c, "nll", "nll", &nll, sizeof(float), 1), N - 1);
    cr_assert_eq(join_port(c, "final", "final", &final, sizeof(float), 0), N * r.C);
    cr_assert_eq(join_port(c, "final", "tokens", &ids, sizeof(int32_t), 0), N);
    expect_close("nll", nll, r.nll, N - 1);
    expect_close("final", final, r.final, N * r.C);
    cr_expect(memcmp(ids, tokens, N * sizeof *tokens) == 0);
    free(nll), free(final), free(ids);
    harness_close(a), harness_close(b), harness_close(c);
    reference_free(&r);
    free(tokens);
}

Test(layers, hidden_states_are_numbered_as_in_the_whole_model)
{
    enum { N = 40 };
    int32_t *tokens = some_tokens(N, 300);
    struct reference r;
    compute(&r, TINY, tokens, N);
    struct harness *a =
        open_layers(ARGS("--model", TINY, "--blocks", "0-3"), ARGS("tokens"), ARGS("residual", "hidden"));
    struct harness *b =
        open_layers(ARGS("--model", TINY, "--blocks", "4-5"), ARGS("residual"), ARGS("hidden"));
    feed_document(a, tokens, N, N);
    size_t seen = 0;
    pass_on(a, "residual", b, &seen);
    for (size_t i = 0; i <= r.blocks; i++) {
        char name[32];
        snprintf(name, sizeof name, "hidden.%zu", i);
        const struct tensor *t = frame_tensor(harness_frame(i <= 4 ? a : b, "hidden", 0), name);
        cr_assert_not_null(t, "%s", name);
        expect_close(name, t->data, r.hidden + i * N * r.C, N * r.C);
        cr_expect_null(frame_tensor(harness_frame(i <= 4 ? b : a, "hidden", 0), name), "%s twice", name);
    }
    harness_close(a), harness_close(b);
    reference_free(&r);
    free(tokens);
}

Test(layers, logits_go_out_in_frames_below_64_mib)
{
    enum { N = 4300, V = 4096 };
    int32_t *tokens = some_tokens(N, V);
    struct harness *h = open_scorer(MINI, "65536", "logits");
    feed_document(h, tokens, N, N);
    size_t rows = 0;
    cr_assert_eq(harness_count(h, "logits"), 3);
    for (size_t i = 0; i < 2; i++) {
        const struct frame *f = harness_frame(h, "logits", i);
        cr_expect(frame_tensor_bytes(f) < 64 << 20);
        cr_expect_eq(f->position, rows);
        rows += frame_tensor(f, "logits")->shape[0];
    }
    cr_expect_eq(rows, N);
    harness_close(h);
    free(tokens);
}

Test(layers, next_is_the_last_positions_logits_at_the_end)
{
    enum { N = 50 };
    int32_t *tokens = some_tokens(N, 300);
    struct reference r;
    compute(&r, TINY, tokens, N);
    struct harness *h = open_scorer(TINY, "16", "next");
    feed_document(h, tokens, N, N);
    cr_assert_eq(harness_count(h, "next"), 2);
    const struct frame *f = harness_frame(h, "next", 0);
    cr_expect_eq(f->position, N - 1);
    expect_close("next", frame_tensor(f, "next")->data, r.logits + (N - 1) * r.V, r.V);
    harness_close(h);
    reference_free(&r);
    free(tokens);
}

Test(layers, one_token_has_no_likelihood_and_an_empty_document_only_its_end)
{
    const int32_t token = 5;
    struct harness *h = open_scorer(TINY, "16", "nll");
    feed_document(h, &token, 1, 1);
    cr_assert_eq(harness_count(h, "nll"), 2);
    cr_expect_eq(frame_tensor(harness_frame(h, "nll", 0), "nll")->shape[0], 0);
    harness_close(h);
    h = open_scorer(TINY, "16", "nll");
    feed_end(h, "tokens");
    cr_assert_eq(harness_count(h, "nll"), 1);
    cr_expect(harness_frame(h, "nll", 0)->kind == FRAME_END);
    harness_close(h);
}

static int32_t best(const struct frame *f)
{
    const struct tensor *t = frame_tensor(f, "next");
    const float *x = t->data;
    size_t at = 0;
    for (size_t i = 1; i < t->shape[1]; i++) at = x[i] > x[at] ? i : at;
    return (int32_t)at;
}

/* Generate by hand what `sample` would: each `next` answered by a token on feedback, then the end. */
static void generate(struct harness *head, struct harness *tail, const struct json_node *prompt,
                     const struct json_node *ids)
{
    int32_t tokens[64];
    size_t given = json_count(prompt), seen = 0, answers = 0;
    for (size_t i = 0; i < given; i++) tokens[i] = (int32_t)json_int(json_item(prompt, i));
    feed_document(head, tokens, given, 3);
    struct harness *last = tail != NULL ? tail : head;
    for (size_t i = 0; i < json_count(ids); i++) {
        if (tail != NULL) pass_on(head, "residual", tail, &seen);
        cr_assert_eq(harness_count(last, "next"), ++answers, "after token %zu", i);
        int32_t token = best(harness_frame(last, "next", answers - 1));
        cr_assert_eq(token, json_int(json_item(ids, i)), "token %zu", i);
        struct tensor t = tensor_1d("tokens", TENSOR_I32, &token, 1);
        cr_assert(feed(head, "feedback", FRAME_DATA, 0, &t, 1) == THEA_OK, "%s", err.message);
    }
    feed_end(head, "feedback");
    if (tail != NULL) pass_on(head, "residual", tail, &seen);
    cr_assert_eq(harness_count(last, "next"), answers + 2,
                 "the last token's answer, then the end and no more");
    cr_expect(harness_frame(last, "next", answers + 1)->kind == FRAME_END);
}

Test(layers, a_loop_over_feedback_gives_the_references_greedy_tokens)
{
    struct json_node *greedy = NULL;
    cr_assert(json_read_file(&greedy, STORIES "/greedy.json", 1 << 20, &err) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < json_count(greedy); i++) {
        const struct json_node *g = json_item(greedy, i), *prompt = json_member(g, "prompt_ids"),
                               *ids = json_member(g, "ids");
        struct harness *one =
            open_layers(ARGS("--model", STORIES, "--chunk", "4"), ARGS("tokens", "feedback"), ARGS("next"));
        generate(one, NULL, prompt, ids);
        harness_close(one);
        struct harness *head = open_layers(ARGS("--model", STORIES, "--blocks", "0-1", "--chunk", "4"),
                                           ARGS("tokens", "feedback"), ARGS("residual"));
        struct harness *tail =
            open_layers(ARGS("--model", STORIES, "--blocks", "2-"), ARGS("residual"), ARGS("next"));
        generate(head, tail, prompt, ids);
        harness_close(head), harness_close(tail);
    }
    json_free(greedy);
}

static void expect_open_error(const char *const *args, const char *const *in, const char *const *out,
                              thea_rc rc, const char *part)
{
    struct harness *h = NULL;
    cr_expect(harness_open_ports(&h, &layers_ops, args, in, out, &err) == rc, "%d: %s", err.rc, err.message);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
}

Test(layers, a_part_refuses_inputs_and_outputs_that_are_anothers)
{
    expect_open_error(ARGS("--model", TINY, "--blocks", "3-"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "blocks 3- need residual: put `thea layers --blocks 0-2` before it");
    expect_open_error(ARGS("--model", TINY), ARGS("residual"), ARGS("nll"), THEA_EUSAGE, "they need tokens");
    expect_open_error(ARGS("--model", TINY, "--blocks", "0-2"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "nll comes from the part with the last block, 5");
    expect_open_error(ARGS("--model", TINY), ARGS("tokens"), ARGS("residual"), THEA_EUSAGE,
                      "nothing takes their residual");
    expect_open_error(ARGS("--model", TINY, "--blocks", "3-"), ARGS("residual", "feedback"), ARGS("next"),
                      THEA_EUSAGE, "feedback goes to the part with block 0");
}

Test(layers, options_that_do_not_hold_are_told)
{
    expect_open_error(ARGS("--model", TINY, "--blocks", "4-9"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "has 6 blocks, 0-5");
    expect_open_error(ARGS("--model", TINY, "--blocks", "6-"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "has 6 blocks, 0-5");
    expect_open_error(ARGS("--model", "/nowhere"), ARGS("tokens"), ARGS("nll"), THEA_ENOINPUT,
                      "no model at '/nowhere'");
    expect_open_error(ARGS("--model", TINY, "--chunk", "0"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "chunk");
    expect_open_error(ARGS("--model", TINY, "--chunk", "65537"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "chunk");
    expect_open_error(ARGS("--model", TINY, "--dtype", "bf16"), ARGS("tokens"), ARGS("nll"), THEA_EUSAGE,
                      "f32");
}

static void expect_document_error(struct harness *h, const char *port, const char *part)
{
    size_t n = harness_count(h, port);
    cr_assert(n > 0);
    const struct frame *f = harness_frame(h, port, n - 1);
    cr_assert(f->kind == FRAME_ERROR, "kind %d", f->kind);
    cr_expect_not_null(strstr(frame_attr_text(f, "error", ""), part), "no '%s' in: %s", part,
                       frame_attr_text(f, "error", ""));
}

Test(layers, a_token_outside_the_vocabulary_ends_its_document_alone)
{
    int32_t *tokens = some_tokens(8, 300);
    const int32_t bad[] = {1, 2, -7, 3};
    struct harness *h = open_scorer(TINY, "16", "nll");
    feed_document(h, bad, 4, 4);
    expect_document_error(h, "nll", "token -7 is not in the vocabulary");
    size_t before = harness_count(h, "nll");
    struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens, 8);
    struct frame good = {.kind = FRAME_DATA, .stream = 2, .port = "tokens", .tensors = &t, .tensor_count = 1};
    struct frame end = {.kind = FRAME_END, .stream = 2, .port = "tokens"};
    cr_assert(harness_feed(h, "tokens", &good, &err) == THEA_OK &&
                  harness_feed(h, "tokens", &end, &err) == THEA_OK,
              "%s", err.message);
    cr_expect_eq(harness_count(h, "nll"), before + 2);
    cr_expect(harness_frame(h, "nll", before + 1)->kind == FRAME_END);
    harness_close(h);
    free(tokens);
}

Test(layers, a_document_longer_than_the_context_is_told_as_one)
{
    int32_t *tokens = some_tokens(4200, 280);
    struct harness *h = open_scorer(GOLDENS "llama-rope3", "512", "nll"); /* 4096 positions */
    feed_document(h, tokens, 4200, 1000);
    expect_document_error(h, "nll", "4096 positions");
    harness_close(h);
    free(tokens);
}

Test(layers, an_empty_prompt_has_nothing_to_continue)
{
    struct harness *h = open_layers(ARGS("--model", STORIES), ARGS("tokens", "feedback"), ARGS("next"));
    feed_end(h, "tokens");
    expect_document_error(h, "next", "empty prompt");
    harness_close(h);
}

Test(layers, frames_that_do_not_fit_are_damage)
{
    int32_t *tokens = some_tokens(8, 300);
    float *x = calloc(8 * 64, sizeof *x);
    struct tensor ids = tensor_1d("tokens", TENSOR_I32, tokens, 8),
                  rows = tensor_2d("residual", TENSOR_F32, x, 8, 64);
    struct harness *h = open_scorer(TINY, "16", "nll");
    cr_expect(feed(h, "tokens", FRAME_DATA, 4, &ids, 1) == THEA_EFRAME);
    cr_expect_not_null(strstr(err.message, "position 4 came where 0 was next"), "%s", err.message);
    harness_close(h);
    const char *const *tail = ARGS("--model", TINY, "--blocks", "3-");
    h = open_layers(tail, ARGS("residual"), ARGS("nll"));
    cr_expect(feed(h, "residual", FRAME_DATA, 0, &rows, 1) == THEA_EFRAME);
    cr_expect_not_null(strstr(err.message, "nll needs the document's tokens"), "%s", err.message);
    harness_close(h);
    h = open_layers(tail, ARGS("residual"), ARGS("nll"));
    ids.shape[0] = 7, ids.size_bytes = 28;
    struct tensor both[] = {rows, ids};
    cr_expect(feed(h, "residual", FRAME_DATA, 0, both, 2) == THEA_EFRAME);
    cr_expect_not_null(strstr(err.message, "expected i32 [8]"), "%s", err.message);
    harness_close(h);
    h = open_layers(tail, ARGS("residual"), ARGS("nll"));
    struct tensor narrow = tensor_2d("residual", TENSOR_F32, x, 8, 63);
    cr_expect(feed(h, "residual", FRAME_DATA, 0, &narrow, 1) == THEA_EFRAME, "%s", err.message);
    harness_close(h);
    free(tokens);
    free(x);
}
