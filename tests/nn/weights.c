/* Damaged model files: each gets its own message, which names file, tensor or key, and its own status; none
 * is a crash. */
#include "nn/families/family.h"
#include "nn/weights/safetensors.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static struct thea_err err;

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st, (void)flag, (void)walk;
    return remove(path);
}

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/thea-weights-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void tear_down(void)
{
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *file, const void *bytes, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, file);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    cr_assert(fwrite(bytes, 1, size, f) == size);
    fclose(f);
}

/* A safetensors file of a header and `data` zero bytes. */
static void put_tensors(const char *file, const char *header, size_t data)
{
    unsigned char bytes[4096] = {0};
    size_t n = strlen(header);
    cr_assert(8 + n + data <= sizeof bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    put(file, bytes, 8 + n + data);
}

static void expect_error(thea_rc rc, thea_rc expected, const char *part)
{
    cr_expect(rc == expected, "%d instead of %d: %s", rc, expected, err.message);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
    cr_expect_not_null(strstr(err.message, root), "the message names no file: %s", err.message);
}

static void expect_bad_weights(thea_rc expected, const char *part)
{
    struct weights *w;
    thea_rc rc = weights_open(&w, root, &err);
    expect_error(rc, expected, part);
    cr_expect_null(w);
}

static void expect_bad_header(const char *header, size_t data, const char *part)
{
    put_tensors("model.safetensors", header, data);
    expect_bad_weights(THEA_EDATA, part);
}

TestSuite(weights, .init = set_up, .fini = tear_down);
TestSuite(config, .init = set_up, .fini = tear_down);

Test(weights, a_good_file_gives_its_tensors_sorted_by_name)
{
    put_tensors("model.safetensors",
                "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_"
                "offsets\":[0,24]},"
                "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},\"c\":{\"dtype\":\"I8\","
                "\"shape\":[0],\"data_offsets\":[26,26]}}",
                26);
    struct weights *w;
    cr_assert(weights_open(&w, root, &err) == THEA_OK, "%s", err.message);
    cr_assert_eq(weights_count(w), 3);
    cr_expect_str_eq(weights_at(w, 0)->name, "a");
    const struct weight *b = weights_find(w, "b");
    cr_expect(b->dtype == TENSOR_F32 && b->rank == 2 && b->shape[0] == 2 && b->shape[1] == 3 &&
              b->size_bytes == 24);
    cr_expect_null(weights_find(w, "d"));
    weights_close(w);
}

Test(weights, files_that_are_no_safetensors)
{
    put("model.safetensors", "", 0);
    expect_bad_weights(THEA_EDATA, "0 bytes are no safetensors file");
    put("model.safetensors", "1234567", 7);
    expect_bad_weights(THEA_EDATA, "7 bytes are no safetensors file");
    put("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_bad_weights(THEA_EDATA, "is over the format's limit");
    put("model.safetensors", "\x40\0\0\0\0\0\0\0{}", 10);
    expect_bad_weights(THEA_EDATA, "header length 64 is over what the file holds (2)");
    put("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", 64);
    expect_bad_weights(THEA_EDATA, "git-lfs pointer");
    cr_expect_not_null(strstr(err.message, "git lfs pull"));
}

Test(weights, headers_that_are_not_what_they_should_be)
{
    expect_bad_header("{\"a\":", 0, "not valid JSON");
    expect_bad_header("[]", 0, "expected a JSON object, found a list");
    expect_bad_header("{\"a\":{},\"a\":{}}", 0, "not valid JSON: duplicate");
    expect_bad_header("{\"a\":3}", 0, "tensor 'a': expected an object");
    expect_bad_header("{\"\":{}}", 0, "name is empty");
    expect_bad_header("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
                      "tensor 'a': dtype 'F99' is not known; accepted: F32");
    expect_bad_header("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype (none)");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4,
                      "shape must be a list");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
                      "at most 8 sizes");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
                      "size 0 of its shape must be an integer, 0 or more");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
                      "must be an integer");
}

Test(weights, offsets_that_do_not_hold)
{
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
                      "data_offsets must be [begin, end]");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
                      "data_offsets must be [begin, end]");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
                      "data_offsets must be [begin, end]");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 12,
                      "ends at byte 16, but the file has only 12");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", 16,
                      "need 12 bytes, data_offsets give 16");
    expect_bad_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,16]}}",
                      16, "too large to exist");
    expect_bad_header("{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":"
                      "\"I8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
                      6, "'a' and 'b' overlap");
    expect_bad_header("{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":"
                      "\"I8\",\"shape\":[1],\"data_offsets\":[5,6]}}",
                      6, "1 bytes before tensor 'b'");
    expect_bad_header("{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 9,
                      "5 bytes after the last tensor");
}

static const char one_a[] = "{\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}";

static void put_index(const char *text)
{
    put("model.safetensors.index.json", text, strlen(text));
}

Test(weights, shards_that_do_not_fit_their_index)
{
    put_tensors("one.safetensors", one_a, 1);
    put_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    expect_bad_weights(THEA_ENOINPUT, "missing  two.safetensors");
    put_tensors("two.safetensors", "{}", 0);
    expect_bad_weights(THEA_EDATA, "tensor 'b' is not in two.safetensors");
    put_tensors("two.safetensors", one_a, 1);
    expect_bad_weights(THEA_EDATA, "tensor 'a' is there twice, in two shards");
    put_index("{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    expect_bad_weights(THEA_EDATA, "must name a file of this directory");
    put_index("{\"weight_map\":{\"a\":7}}");
    expect_bad_weights(THEA_EDATA, "must name a file of this directory");
    put_index("{\"weight_map\":[]}");
    expect_bad_weights(THEA_EDATA, "weight_map: expected an object");
    put_index("{}");
    expect_bad_weights(THEA_EDATA, "weight_map: expected an object");
    put_index("{");
    expect_bad_weights(THEA_EDATA, "not valid JSON");
}

Test(weights, a_directory_without_any)
{
    expect_bad_weights(THEA_ENOINPUT, "has no weights");
}

/* --- config.json --- */

static thea_rc read_config(const char *text, struct model_config **out)
{
    put("config.json", text, strlen(text));
    return model_config_read(out, root, &err);
}

static void expect_bad_config(const char *text, const char *part)
{
    struct model_config *c;
    expect_error(read_config(text, &c), THEA_EDATA, part);
    cr_expect_null(c);
}

#define LLAMA                                                                                                \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_" \
    "size\":100,\"intermediate_size\":96"
#define LFM2                                                                                                 \
    "\"model_type\":\"lfm2\",\"hidden_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_"    \
    "key_value_heads\":2,\"vocab_size\":100"

static struct model_config *good_config(const char *text)
{
    struct model_config *c;
    cr_assert(read_config(text, &c) == THEA_OK, "%s", err.message);
    return c;
}

Test(config, what_llama_leaves_out_has_its_defaults)
{
    struct model_config *c = good_config("{" LLAMA "}");
    cr_expect(c->info.kv_heads == 4 && c->info.head_size == 16 && c->info.context == 2048 && !c->info.tied &&
              c->info.bos == -1);
    cr_expect(c->rope.theta == 10000 && c->eps == 1e-6f && !c->attention_bias);
    free(c);
}

Test(config, the_feed_forward_of_lfm2_is_adjusted_as_the_reference_does)
{
    const struct {
        const char *config;
        size_t expected;
    } cases[] = {
        {"{" LFM2 ",\"block_ff_dim\":6656}", 4608},
        {"{" LFM2 ",\"block_ff_dim\":10240}", 6912},
        {"{" LFM2 ",\"block_ff_dim\":12288,\"intermediate_size\":7}", 8192},
        {"{" LFM2 ",\"block_ff_dim\":10752,\"block_auto_adjust_ff_dim\":false}", 10752},
        {"{" LFM2 ",\"intermediate_size\":384,\"block_multiple_of\":64}", 256},
        {"{" LFM2 ",\"intermediate_size\":1000,\"block_ffn_dim_multiplier\":null}", 666},
        {"{" LFM2 ",\"intermediate_size\":1000,\"block_ffn_dim_multiplier\":1.3,\"block_multiple_of\":1}",
         865},
        {"{" LFM2 "}", 8192},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config *c = good_config(cases[i].config);
        cr_expect_eq(c->info.feed_forward, cases[i].expected, "%s: %zu", cases[i].config,
                     c->info.feed_forward);
        free(c);
    }
}

Test(config, both_spellings_of_lfm2_say_which_blocks_attend)
{
    const struct {
        const char *config;
        const char *expected;
    } cases[] = {
        {"{" LFM2 ",\"layer_types\":[\"conv\",\"full_attention\",\"conv\"],\"full_attn_idxs\":[0]}", "010"},
        {"{" LFM2 ",\"full_attn_idxs\":[0,2]}", "101"},
        {"{" LFM2 ",\"full_attn_idxs\":[]}", "000"},
        {"{" LFM2 "}", "111"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config *c = good_config(cases[i].config);
        for (size_t b = 0; b < 3; b++)
            cr_expect((c->blocks[b].mixer == &sublayer_attention) == (cases[i].expected[b] == '1'),
                      "%s, block %zu", cases[i].config, b);
        free(c);
    }
}

Test(config, the_spelling_that_wins_does)
{
    struct model_config *c = good_config(
        "{" LFM2
        ",\"rope_theta\":5,\"theta\":6,\"rope_parameters\":{\"rope_theta\":7.0,\"rope_type\":\"default\"},"
        "\"tie_embedding\":false,\"tie_word_embeddings\":true,\"torch_dtype\":\"float16\",\"eos_token_id\":["
        "7,9]}");
    cr_expect(c->rope.theta == 7 && !c->info.tied && c->info.eos == 7);
    cr_expect_str_eq(c->info.dtype, "float16");
    free(c);
}

Test(config, parameter_counts_are_the_published_ones)
{
    struct model_config *c =
        good_config("{\"model_type\":\"lfm2\",\"hidden_size\":1024,\"num_hidden_layers\":16,\"num_attention_"
                    "heads\":16,\"num_key_value_heads\":8,"
                    "\"vocab_size\":65536,\"block_ff_dim\":6656,\"full_attn_idxs\":[2,5,8,10,12,14]}");
    cr_expect_eq(c->info.parameters, 354483968, "%llu", (unsigned long long)c->info.parameters);
    cr_expect_eq(c->info.kv_bytes_per_token, 24576);
    cr_expect_eq(c->info.state_bytes, 10 * 2 * 1024 * 4);
    free(c);
}

Test(config, files_that_are_none)
{
    expect_bad_config("", "not valid JSON");
    expect_bad_config("{\"model_type\": \"lfm2\",}", "not valid JSON");
    expect_bad_config("[1]", "expected a JSON object, found a list");
    struct model_config *c;
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", root);
    cr_assert(remove(path) == 0);
    expect_error(model_config_read(&c, root, &err), THEA_ENOINPUT, "config.json");
}

Test(config, models_of_other_families)
{
    expect_bad_config("{\"model_type\":\"gpt2\"}",
                      "model_type: 'gpt2' is not supported; supported: bert, lfm2, llama");
    expect_bad_config("{}", "model_type: expected a string, found nothing; supported: bert, lfm2, llama");
    expect_bad_config("{\"model_type\":7}", "model_type: expected a string");
    expect_bad_config("{" LLAMA ",\"quantization_config\":{}}", "quantization_config");
    expect_bad_config("{" LLAMA ",\"hidden_act\":\"gelu\"}",
                      "hidden_act: 'gelu' is not supported; accepted: silu");
}

Test(config, values_that_are_missing_or_impossible)
{
    expect_bad_config("{\"model_type\":\"llama\"}", "hidden_size: missing; expected an integer of 1 to");
    expect_bad_config("{" LFM2 ",\"conv_L_cache\":0}", "conv_L_cache: 0 is impossible; expected 1 to");
    expect_bad_config("{" LFM2 ",\"conv_L_cache\":\"3\"}",
                      "conv_L_cache: expected an integer of 1 to 1024, found a string");
    expect_bad_config("{" LFM2 ",\"conv_bias\":1}", "conv_bias: expected true or false");
    expect_bad_config("{" LFM2 ",\"norm_eps\":0}", "norm_eps: 0 is impossible");
    expect_bad_config("{" LFM2 ",\"norm_eps\":\"x\"}", "norm_eps: expected a number, found a string");
    expect_bad_config("{" LLAMA ",\"num_key_value_heads\":3}",
                      "num_key_value_heads: 3 does not divide num_attention_heads 4");
    expect_bad_config("{" LLAMA ",\"head_dim\":15}", "head_dim: 15 must be even");
    expect_bad_config("{" LLAMA ",\"bos_token_id\":100}",
                      "bos_token_id: token 100 is not in the vocabulary of 100");
    expect_bad_config("{" LLAMA ",\"max_position_embeddings\":-1}",
                      "max_position_embeddings: -1 is impossible");
    expect_bad_config("{\"model_type\":\"llama\",\"hidden_size\":65,\"num_hidden_layers\":2,\"num_attention_"
                      "heads\":4,\"vocab_size\":100,\"intermediate_size\":96}",
                      "num_attention_heads: 4 does not divide hidden_size 65");
    expect_bad_config("{\"model_type\":\"llama\",\"hidden_size\":9999999999999}",
                      "hidden_size: 9999999999999 is impossible");
}

Test(config, lists_of_blocks_that_do_not_fit)
{
    expect_bad_config("{" LFM2 ",\"layer_types\":[\"conv\"]}", "layer_types: expected a list of 3 names");
    expect_bad_config("{" LFM2 ",\"layer_types\":[\"conv\",1,\"conv\"]}",
                      "layer_types: entry 1: expected a string");
    expect_bad_config("{" LFM2 ",\"full_attn_idxs\":[3]}",
                      "full_attn_idxs: entry 0 must be a block number of 0 to 2");
    expect_bad_config("{" LFM2 ",\"full_attn_idxs\":7}", "full_attn_idxs: expected a list");
    expect_bad_config("{" LFM2 ",\"block_ffn_dim_multiplier\":1e9}", "block_ffn_dim_multiplier");
    expect_bad_config("{" LFM2 ",\"intermediate_size\":1,\"block_ffn_dim_multiplier\":null}",
                      "intermediate_size: too small");
}

Test(config, rope_scaling_that_is_not_known_or_not_whole)
{
    expect_bad_config("{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}}",
                      "rope_type: 'yarn' is not supported; accepted: default, llama3");
    expect_bad_config("{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4.0}}",
                      "low_freq_factor: missing");
    expect_bad_config("{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4.0,\"low_freq_"
                      "factor\":4,\"high_freq_factor\":4,\"original_max_position_embeddings\":9}}",
                      "must be more than low_freq_factor");
    expect_bad_config("{" LLAMA ",\"rope_scaling\":[]}", "rope_scaling: expected an object, found a list");
    expect_bad_config("{" LLAMA ",\"rope_parameters\":{\"rope_theta\":-1}}", "rope_theta: -1 is impossible");
}

/* --- the two together --- */

Test(weights, all_tensors_that_do_not_fit_the_config_are_told_at_once)
{
    struct workers *workers;
    struct model *m;
    put("config.json", "{" LLAMA "}", strlen("{" LLAMA "}"));
    put_tensors("model.safetensors",
                "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[4,16],\"data_offsets\":[0,256]},"
                "\"model.layers.0.input_layernorm.weight\":{\"dtype\":\"I32\",\"shape\":[64],\"data_"
                "offsets\":[256,512]}}",
                512);
    cr_assert(workers_new(&workers, 1, &err) == THEA_OK);
    thea_rc rc = model_open(&m, root, 0, SIZE_MAX, workers, kernels_select(NULL), &err);
    expect_error(rc, THEA_EDATA, "missing      model.embed_tokens.weight [100, 64]");
    expect_error(rc, THEA_EDATA, "wrong dtype  model.layers.0.input_layernorm.weight");
    expect_error(rc, THEA_EDATA, "missing      model.layers.1.self_attn.q_proj.weight [64, 64]");
    expect_error(rc, THEA_EDATA, "and 9 more");
    put_tensors("model.safetensors",
                "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[4,16],\"data_offsets\":[0,256]}}", 256);
    rc = model_open(&m, root, 1, 1, workers, kernels_select(NULL), &err);
    expect_error(rc, THEA_EDATA,
                 "wrong shape  model.norm.weight: the file has [4, 16], config.json asks for [64]");
    workers_free(workers);
}
