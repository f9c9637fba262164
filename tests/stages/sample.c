/* sample: the filters one by one, draws that can be repeated, and every way a document ends. */
#include "stages/support/sampler.h"
#include "tests/stages/helpers.h"
#include "text/tokenizer.h"

#include <math.h>

extern const struct stage_ops sample_ops;

static const char mini[] = THEA_SOURCE_DIR "/models/thea-mini";

/* --- the sampler alone --- */

static const struct sampler_options all = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

static int32_t choose(const struct sampler_options *o, const float *logits, size_t n, const uint64_t *seen,
                      double uniform)
{
    struct sampler_candidate room[64];
    struct thea_err err = {0};
    int32_t id = -1;
    cr_assert_eq(sampler_choose(&id, o, logits, n, seen, uniform, room, &err), THEA_OK, "%s", err.message);
    return id;
}

/* Which ids can be drawn at all: a bit each. */
static unsigned possible(const struct sampler_options *o, const float *logits, size_t n, const uint64_t *seen)
{
    unsigned ids = 0;
    for (int i = 0; i < 10000; i++) ids |= 1U << choose(o, logits, n, seen, i / 10000.0);
    return ids;
}

Test(sampler, greedy_takes_the_highest_and_of_equal_ones_the_first)
{
    struct sampler_options o = all;
    o.greedy = true;
    cr_assert_eq(choose(&o, (const float[]){1, 3, 2}, 3, NULL, 0.99), 1);
    cr_assert_eq(choose(&o, (const float[]){1, 3, 3, 3}, 4, NULL, 0.99), 1);
    cr_assert_eq(choose(&o, (const float[]){-INFINITY, -5, -INFINITY}, 3, NULL, 0), 1);
}

Test(sampler, temperature_0_is_greedy)
{
    struct sampler_options o = all;
    o.temperature = 0;
    cr_assert_eq(choose(&o, (const float[]){1, 3, 2.999F}, 3, NULL, 0.9999), 1);
}

Test(sampler, top_k_1_is_greedy_at_any_temperature)
{
    struct sampler_options o = all;
    o.temperature = 50;
    o.top_k = 1;
    cr_assert_eq(possible(&o, (const float[]){1, 3, 3, 2}, 4, NULL), 1U << 1,
                 "the lower id of two equal ones");
}

Test(sampler, top_k_keeps_exactly_k_ties_by_id)
{
    struct sampler_options o = all;
    o.top_k = 3;
    cr_assert_eq(possible(&o, (const float[]){2, 5, 2, 4, 2}, 5, NULL), 1U << 1 | 1U << 3 | 1U << 0);
    o.top_k = 99;
    cr_assert_eq(possible(&o, (const float[]){2, 5, 2, 4, 2}, 5, NULL), 31U);
}

Test(sampler, top_k_finds_the_same_as_sorting_all)
{
    float logits[64];
    for (size_t i = 0; i < 64; i++) logits[i] = (float)sampler_uniform(3, 5, i);
    for (int64_t k = 1; k <= 64; k++) {
        struct sampler_options o = all;
        o.top_k = k;
        int32_t last = choose(&o, logits, 64, NULL, 0.99999999);
        size_t higher = 0;
        for (size_t i = 0; i < 64; i++) higher += logits[i] > logits[last];
        cr_assert_eq(higher, (size_t)k - 1, "k = %d", (int)k);
    }
}

Test(sampler, top_p_keeps_the_fewest_that_reach_it)
{
    struct sampler_options o = all;
    float logits[] = {logf(0.5F), logf(0.3F), logf(0.15F), logf(0.05F)};
    o.top_p = 0.79;
    cr_assert_eq(possible(&o, logits, 4, NULL), 3U);
    o.top_p = 0.81;
    cr_assert_eq(possible(&o, logits, 4, NULL), 7U);
    o.top_p = 0;
    cr_assert_eq(possible(&o, logits, 4, NULL), 1U, "one is always left");
}

Test(sampler, min_p_is_a_share_of_the_highest)
{
    struct sampler_options o = all;
    float logits[] = {logf(0.5F), logf(0.3F), logf(0.15F), logf(0.05F)};
    o.min_p = 0.35;
    cr_assert_eq(possible(&o, logits, 4, NULL), 3U);
    o.min_p = 1;
    cr_assert_eq(possible(&o, logits, 4, NULL), 1U);
}

Test(sampler, filters_see_what_the_one_before_left)
{
    struct sampler_options o = all;
    float logits[] = {logf(0.4F), logf(0.3F), logf(0.2F), logf(0.1F)};
    o.top_k = 2; /* leaves 4/7 and 3/7 */
    o.top_p = 0.5;
    cr_assert_eq(possible(&o, logits, 4, NULL), 1U, "0.5 of all four would take two");
}

Test(sampler, the_penalty_divides_positive_and_multiplies_negative_logits_of_ids_seen)
{
    struct sampler_options o = all;
    o.greedy = true;
    o.repetition_penalty = 2;
    uint64_t seen = 1U << 0;
    cr_assert_eq(choose(&o, (const float[]){3, 2}, 2, &seen, 0), 1, "3 / 2 < 2");
    cr_assert_eq(choose(&o, (const float[]){-1, -1.5F}, 2, &seen, 0), 1, "-1 * 2 < -1.5");
    cr_assert_eq(choose(&o, (const float[]){5, 2}, 2, &seen, 0), 0, "5 / 2 > 2");
    o.repetition_penalty = 1;
    cr_assert_eq(choose(&o, (const float[]){3, 2}, 2, &seen, 0), 0);
}

Test(sampler, draws_follow_the_probabilities)
{
    enum { DRAWS = 20000 };
    float logits[] = {logf(0.5F), logf(0.25F), logf(0.125F), logf(0.125F)};
    static const double p[] = {0.5, 0.25, 0.125, 0.125};
    int counts[4] = {0};
    double chi = 0;
    for (uint64_t i = 0; i < DRAWS; i++) counts[choose(&all, logits, 4, NULL, sampler_uniform(11, 4, i))]++;
    for (int i = 0; i < 4; i++)
        chi += (counts[i] - p[i] * DRAWS) * (counts[i] - p[i] * DRAWS) / (p[i] * DRAWS);
    cr_assert_lt(chi, 16.27, "chi-square %.2f of 3 degrees: less likely than 0.001", chi);
    cr_assert_gt(chi, 0.0001, "too good to be true");
}

Test(sampler, temperature_flattens)
{
    struct sampler_options o = all;
    o.temperature = 2; /* p of {0.8, 0.2} becomes {2/3, 1/3} */
    float logits[] = {logf(0.8F), logf(0.2F)};
    cr_assert_eq(choose(&o, logits, 2, NULL, 0.66), 0);
    cr_assert_eq(choose(&o, logits, 2, NULL, 0.67), 1);
}

Test(sampler, uniforms_are_in_range_and_differ_by_seed_stream_and_count)
{
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        double u = sampler_uniform(0, 0, i);
        cr_assert(u >= 0 && u < 1);
        sum += u;
    }
    cr_assert_float_eq(sum / 10000, 0.5, 0.02);
    cr_assert_neq(sampler_uniform(0, 0, 0), sampler_uniform(1, 0, 0));
    cr_assert_neq(sampler_uniform(0, 0, 0), sampler_uniform(0, 1, 0));
    cr_assert_neq(sampler_uniform(0, 0, 0), sampler_uniform(0, 0, 1));
    cr_assert_neq(sampler_uniform(0, 1, 0), sampler_uniform(0, 0, 1), "a stream is not another one shifted");
}

Test(sampler, bad_logits_are_refused)
{
    static const struct {
        float logits[3];
        const char *part;
    } bad[] = {{{1, NAN, 2}, "token 1 is not a number"},
               {{1, 2, INFINITY}, "token 2 is infinite"},
               {{-INFINITY, -INFINITY, -INFINITY}, "no token is possible"}};
    for (size_t i = 0; i < 3; i++) {
        for (int greedy = 0; greedy < 2; greedy++) {
            struct sampler_candidate room[3];
            struct sampler_options o = all;
            struct thea_err err = {0};
            int32_t id;
            o.greedy = greedy;
            cr_assert_eq(sampler_choose(&id, &o, bad[i].logits, 3, NULL, 0.5, room, &err), THEA_EDOC);
            cr_assert_not_null(strstr(err.message, bad[i].part), "%s", err.message);
        }
    }
}

/* --- the stage --- */

static struct harness *open_sample(const char *const *args)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &sample_ops, args, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static void feed_logits(struct harness *h, uint64_t stream, uint64_t position, const float *logits,
                        size_t vocab, const int32_t *ids, size_t n)
{
    struct tensor t[] = {tensor_2d("next", TENSOR_F32, logits, 1, vocab),
                         tensor_1d("tokens", TENSOR_I32, ids, n)};
    feed_tensors(h, "next", stream, position == 0 ? "p" : NULL, position, t, n > 0 ? 2 : 1);
}

static int32_t token_at(const struct harness *h, size_t i)
{
    const struct frame *f = harness_frame(h, "token", i);
    cr_assert_not_null(f, "no frame %zu", i);
    const struct tensor *t = frame_tensor(f, "tokens");
    cr_assert(t != NULL && t->shape[0] == 1, "frame %zu (%s) has no token", i, frame_kind_name(f->kind));
    return ((const int32_t *)t->data)[0];
}

static const char *finish_reason(const struct harness *h)
{
    size_t n = harness_count(h, "token");
    const char *reason = "none";
    if (harness_frame(h, "token", n - 1)->kind != FRAME_END) return "not ended";
    for (size_t i = n - (n > 1 ? 2 : 1); i < n; i++)
        reason = frame_attr_text(harness_frame(h, "token", i), "finish_reason", reason);
    return reason;
}

Test(sample, a_token_goes_out_with_the_position_after_the_last)
{
    struct harness *h = open_sample(ARGS("--greedy"));
    feed_logits(h, 1, 41, (const float[]){0, 5, 1}, 3, (const int32_t[]){0, 2}, 2);
    cr_assert_eq(token_at(h, 0), 1);
    cr_assert_eq(harness_frame(h, "token", 0)->position, 42);
    cr_assert_eq(frame_attr_int(harness_frame(h, "token", 0), "prompt_tokens", 0), 2);
    harness_close(h);
}

Test(sample, max_tokens_ends_the_document_by_length)
{
    struct harness *h = open_sample(ARGS("--greedy", "--max-tokens", "2"));
    for (uint64_t i = 0; i < 4; i++) feed_logits(h, 1, i, (const float[]){0, 5, 1}, 3, NULL, 0);
    cr_assert_eq(harness_count(h, "token"), 3, "two tokens and the end, though more came back");
    cr_assert_str_eq(finish_reason(h), "length");
    harness_close(h);
}

Test(sample, the_models_end_token_ends_the_document_and_is_not_sent)
{
    float *logits = calloc(4096, sizeof *logits);
    struct harness *h = open_sample(ARGS("--greedy", "--model", mini));
    logits[7] = 3;
    feed_logits(h, 1, 0, logits, 4096, NULL, 0);
    logits[2] = 9; /* thea-mini's <|eos|> */
    feed_logits(h, 1, 1, logits, 4096, NULL, 0);
    cr_assert_eq(harness_count(h, "token"), 2);
    cr_assert_str_eq(finish_reason(h), "stop");
    free(logits);
    harness_close(h);
}

Test(sample, a_stop_string_ends_the_document_even_over_several_tokens)
{
    struct thea_err err = {0};
    struct tokenizer *tokenizer = NULL;
    struct token_list list = {0};
    cr_assert_eq(tokenizer_open(&tokenizer, mini, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(tokenizer_encode(tokenizer, "one two three four", 18, false, &list, &err), THEA_OK);
    cr_assert_gt(list.count, 3);
    struct harness *h =
        open_sample(ARGS("--greedy", "--model", mini, "--stop", "nowhere", "--stop", "o thr"));
    float *logits = calloc(4096, sizeof *logits);
    size_t fed = 0;
    for (; fed < list.count && strcmp(fed > 0 ? finish_reason(h) : "", "stop") != 0; fed++) {
        logits[list.ids[fed]] = 5;
        feed_logits(h, 1, fed, logits, 4096, NULL, 0);
        logits[list.ids[fed]] = 0;
    }
    cr_assert_str_eq(finish_reason(h), "stop");
    cr_assert(list.ends[fed - 1] >= 11 && list.ends[fed - 2] < 11,
              "stopped after byte %d, 'o thr' ends at 11", (int)list.ends[fed - 1]);
    free(logits);
    token_list_fini(&list);
    tokenizer_close(tokenizer);
    harness_close(h);
}

Test(sample, the_penalty_knows_the_prompt_and_what_was_sampled)
{
    struct harness *h = open_sample(ARGS("--greedy", "--repetition-penalty", "10"));
    static const float logits[] = {1, 4, 3, 2};
    feed_logits(h, 1, 0, logits, 4, (const int32_t[]){1}, 1);
    cr_assert_eq(token_at(h, 0), 2, "1 was in the prompt");
    feed_logits(h, 1, 1, logits, 4, NULL, 0);
    cr_assert_eq(token_at(h, 1), 3, "2 was sampled");
    harness_close(h);
}

/* A model directory of our own: thea-mini's config with this generation_config.json. */
static void make_model(const char *generation_config)
{
    size_t size = 0;
    char *config = get_file(THEA_SOURCE_DIR "/models/thea-mini/config.json", &size);
    mkdir("model", 0755);
    put_file("model/config.json", config, size);
    put_text_file("model/generation_config.json", generation_config);
    free(config);
}

static void expect_token(const char *const *args, int32_t expected)
{
    float *logits = calloc(4096, sizeof *logits);
    struct harness *h = open_sample(args);
    logits[5] = 9;
    logits[6] = 8;
    feed_logits(h, 1, 0, logits, 4096, (const int32_t[]){5}, 1);
    if (expected >= 0)
        cr_assert_eq(token_at(h, 0), expected);
    else
        cr_assert_eq(harness_frame(h, "token", 0)->kind, FRAME_END);
    free(logits);
    harness_close(h);
}

Test(sample, the_models_generation_config_goes_before_the_defaults_and_after_the_options,
     .init = scratch_make, .fini = scratch_remove)
{
    make_model("{\"do_sample\": false, \"repetition_penalty\": 1.5}");
    expect_token(ARGS("--model", "./model"), 6);
    expect_token(ARGS("--model", "./model", "--repetition-penalty", "1"), 5);
    make_model("{\"top_k\": 1, \"temperature\": 99, \"repetition_penalty\": -3}");
    expect_token(ARGS("--model", "./model"), 5);
}

Test(sample, a_model_may_have_several_end_tokens, .init = scratch_make, .fini = scratch_remove)
{
    make_model("{\"do_sample\": false, \"eos_token_id\": [4, 5]}");
    expect_token(ARGS("--model", "./model"), -1);
}

Test(sample, a_broken_generation_config_is_an_error, .init = scratch_make, .fini = scratch_remove)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    make_model("{\"do_sample\": ");
    cr_assert_eq(harness_open(&h, &sample_ops, ARGS("--model", "./model"), NULL, &err), THEA_EDATA);
    cr_assert_not_null(strstr(err.message, "generation_config.json"), "%s", err.message);
}

static void sample_many(int32_t *out, size_t n, const char *seed, uint64_t stream, bool with_others)
{
    float logits[50];
    struct harness *h =
        open_sample(ARGS("--seed", seed, "--temperature", "1.5", "--top-k", "0", "--top-p", "1"));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 50; k++) logits[k] = (float)((k * 7 + (int)i) % 11) / 4;
        if (with_others) feed_logits(h, 99, i, logits, 50, NULL, 0);
        at += with_others;
        feed_logits(h, stream, i, logits, 50, NULL, 0);
        out[i] = token_at(h, at++);
    }
    harness_close(h);
}

Test(sample, a_seed_gives_the_same_tokens_whatever_else_runs)
{
    int32_t a[40], b[40], c[40], d[40];
    sample_many(a, 40, "5", 3, false);
    sample_many(b, 40, "5", 3, true);
    sample_many(c, 40, "6", 3, false);
    sample_many(d, 40, "5", 4, false);
    cr_assert_eq(memcmp(a, b, sizeof a), 0);
    cr_assert_neq(memcmp(a, c, sizeof a), 0, "another seed");
    cr_assert_neq(memcmp(a, d, sizeof a), 0, "another stream");
}

Test(sample, logits_that_are_not_numbers_are_the_documents_error_and_others_go_on)
{
    struct harness *h = open_sample(ARGS("--greedy"));
    feed_logits(h, 1, 0, (const float[]){0, NAN, 1}, 3, NULL, 0);
    cr_assert_not_null(error_of(h, "token", 0));
    cr_assert_not_null(strstr(error_of(h, "token", 0), "token 1"), "%s", error_of(h, "token", 0));
    feed_logits(h, 2, 0, (const float[]){0, 1, 2}, 3, NULL, 0);
    cr_assert_eq(token_at(h, 1), 2);
    harness_close(h);
}

Test(sample, logits_of_another_width_are_the_documents_error)
{
    struct harness *h = open_sample(ARGS("--greedy"));
    feed_logits(h, 1, 0, (const float[]){0, 1, 2}, 3, NULL, 0);
    feed_logits(h, 1, 1, (const float[]){0, 1}, 2, NULL, 0);
    cr_assert_not_null(error_of(h, "token", 1));
    harness_close(h);
}

Test(sample, ids_outside_the_vocabulary_in_the_prompt_do_no_harm)
{
    struct harness *h = open_sample(ARGS("--greedy", "--repetition-penalty", "2"));
    feed_logits(h, 1, 0, (const float[]){0, 1, 2}, 3, (const int32_t[]){-1, 3, 2147483647}, 3);
    cr_assert_eq(token_at(h, 0), 2);
    harness_close(h);
}

static void refused(const char *const *args, const char *const *ports, thea_rc expected, const char *part)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    thea_rc rc = harness_open(&h, &sample_ops, args, ports, &err);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

Test(sample, it_refuses_to_run_outside_a_loop)
{
    refused(NULL, (const char *const[]){NULL}, THEA_EUSAGE, "feedback: sample");
}

Test(sample, wrong_options_are_refused)
{
    refused(ARGS("--stop", "x"), NULL, THEA_EUSAGE, "tokenizer");
    refused(ARGS("--stop", "", "--model", mini), NULL, THEA_EUSAGE, "empty");
    refused(ARGS("--temperature", "-1"), NULL, THEA_EUSAGE, "temperature");
    refused(ARGS("--top-p", "1.5"), NULL, THEA_EUSAGE, "top");
    refused(ARGS("--max-tokens", "0"), NULL, THEA_EUSAGE, "max");
    refused(ARGS("--model", "/nowhere/at/all"), NULL, THEA_ENOINPUT, "nowhere");
}
