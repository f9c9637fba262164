/* thea models: the models found on this machine, or one of them in detail. */
#include "bin/thea/support/command.h"
#include "graph/buf.h"
#include "graph/json.h"
#include "nn/model.h"
#include "nn/pooler.h"
#include "nn/weights/find.h"
#include "nn/weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONG_CONTEXT = 32768 };

/* What is told of a model. */
struct found {
    struct model_info info;
    struct pooling pooling; /* of an encoder */
    const char *stored;     /* "F16": of most of the weights' bytes */
};

/* In f32: the weights, and what a causal model keeps of so many positions. */
static uint64_t memory_at(const struct model_info *m, uint64_t positions)
{
    return m->parameters * 4 + m->kv_bytes_per_token * positions + m->state_bytes;
}

static const char *purpose(const struct model_info *m)
{
    return m->causal ? "text" : "vectors";
}

/* The dtype that most bytes have. */
static const char *find_stored(const struct weights *w)
{
    enum { TYPES = 32 };
    struct {
        const char *name;
        uint64_t bytes;
    } types[TYPES] = {{"", 0}};
    size_t most = 0;
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weight *t = weights_at(w, i);
        size_t k = 0;
        while (k + 1 < TYPES && types[k].bytes > 0 && strcmp(types[k].name, t->dtype_name) != 0) k++;
        types[k].name = t->dtype_name;
        types[k].bytes += t->size_bytes;
        if (types[k].bytes > types[most].bytes) most = k;
    }
    return types[most].name;
}

/* Its weights are all there and whole, as far as their headers tell: what `layers` would say. */
static thea_rc read_weights(struct found *f, const char *dir, struct thea_err *err)
{
    struct weights *w = NULL;
    thea_rc rc = weights_open(&w, dir, err);
    if (rc != THEA_OK) return rc;
    f->stored = find_stored(w);
    weights_close(w);
    return THEA_OK;
}

static thea_rc read_config(struct found *f, const char *dir, struct thea_err *err)
{
    *f = (struct found){.stored = ""};
    thea_rc rc = model_read_info(&f->info, dir, err);
    return rc == THEA_OK && !f->info.causal ? pooling_read(&f->pooling, dir, err) : rc;
}

/* The file it is read from, NULL if there is none. */
static const char *tokenizer_file(const char *dir)
{
    static const char *const files[] = {"tokenizer.json", "vocab.txt"};
    for (size_t i = 0; i < 2; i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/%s", dir, files[i]);
        bool there = access(buf_text(&path), F_OK) == 0;
        buf_fini(&path);
        if (there) return files[i];
    }
    return NULL;
}

static bool has_tokenizer(const char *dir)
{
    return tokenizer_file(dir) != NULL;
}

static void put_sizes(struct json_node *map, const struct model_info *m)
{
    json_put(map, "parameters", json_new_int((int64_t)m->parameters));
    json_put(map, "blocks", json_new_int((int64_t)m->blocks));
    json_put(map, "attention_blocks", json_new_int((int64_t)m->attention_blocks));
    json_put(map, "hidden", json_new_int((int64_t)m->hidden));
    json_put(map, "heads", json_new_int((int64_t)m->heads));
    json_put(map, "kv_heads", json_new_int((int64_t)m->kv_heads));
    json_put(map, "head_size", json_new_int((int64_t)m->head_size));
    json_put(map, "feed_forward", json_new_int((int64_t)m->feed_forward));
    json_put(map, "vocab", json_new_int((int64_t)m->vocab));
    json_put(map, "context", json_new_int((int64_t)m->context));
}

static struct json_node *info_json(const char *name, const char *dir, const struct found *f,
                                   const struct thea_err *why)
{
    struct json_node *map = json_new_map();
    json_put(map, "name", json_new_string(name));
    json_put(map, "path", json_new_string(dir));
    json_put(map, "runs", json_new_bool(f != NULL));
    if (f == NULL) {
        json_put(map, "why", json_new_string(thea_err_message(why)));
        return map;
    }
    const struct model_info *m = &f->info;
    json_put(map, "family", json_new_string(m->family));
    json_put(map, "for", json_new_string(purpose(m)));
    json_put(map, "dtype", json_new_string(m->dtype));
    json_put(map, "stored", json_new_string(f->stored));
    put_sizes(map, m);
    if (m->causal) {
        json_put(map, "memory_bytes_at_32k", json_new_int((int64_t)memory_at(m, LONG_CONTEXT)));
    } else {
        json_put(map, "max_length", json_new_int((int64_t)m->max_length));
        json_put(map, "pad", json_new_string(m->padding == MODEL_PAD_MAX ? "max" : "none"));
        json_put(map, "pooling", json_new_string(pooling_name(f->pooling.how)));
        json_put(map, "normalize", json_new_bool(f->pooling.normalize));
        json_put(map, "weights_bytes", json_new_int((int64_t)(m->parameters * 4)));
    }
    json_put(map, "tokenizer", json_new_bool(has_tokenizer(dir)));
    return map;
}

static void print_json_line(struct json_node *map)
{
    char *text = json_print(map, 0, 0);
    printf("%s\n", text);
    free(text);
    json_free(map);
}

struct listing {
    bool json;
    size_t count;
};

static void print_row(const char *name, const char *dir, const struct found *f)
{
    char parameters[28], memory[16];
    const struct model_info *m = &f->info;
    printf("%-28s %-8s %-8s %6zu %6zu %14s %8zu %12s%s\n", name, m->family, purpose(m), m->blocks, m->hidden,
           value_format_count(parameters, m->parameters), m->causal ? m->context : m->max_length,
           value_format_bytes(memory, memory_at(m, LONG_CONTEXT)),
           has_tokenizer(dir) ? "" : "  no tokenizer");
}

static void list_row(void *context, const char *name, const char *dir)
{
    struct listing *l = context;
    struct found f;
    struct thea_err err = {0};
    bool runs = read_config(&f, dir, &err) == THEA_OK && read_weights(&f, dir, &err) == THEA_OK;
    if (!l->json && l->count == 0)
        printf("%-28s %-8s %-8s %6s %6s %14s %8s %12s\n", "model", "family", "for", "blocks", "hidden",
               "parameters", "length", "RAM at 32k");
    l->count++;
    if (l->json)
        print_json_line(info_json(name, dir, runs ? &f : NULL, &err));
    else if (runs)
        print_row(name, dir, &f);
    else
        printf("%-28s cannot run: %.*s\n", name, (int)strcspn(thea_err_message(&err), "\n"),
               thea_err_message(&err));
}

static int list(bool json)
{
    struct listing l = {.json = json};
    model_list(list_row, &l);
    if (l.count == 0) {
        thea_warning("no models found\n  thea looks in THEA_MODEL_PATH, ~/.local/share/thea/models, the "
                     "installed models and the Hugging Face cache");
        return 1;
    }
    return 0;
}

static void print_decoder(const struct model_info *m)
{
    char a[16], b[16];
    printf(
        "for         generating and scoring text (generate, score); vectors by pooling its hidden states\n");
    printf("context     %zu positions\n", m->context);
    printf("KV cache    %s a position, %s at 32,768\n", value_format_bytes(a, m->kv_bytes_per_token),
           value_format_bytes(b, m->kv_bytes_per_token * LONG_CONTEXT));
    printf("memory      %s at 32,768 positions, computed in f32\n",
           value_format_bytes(a, memory_at(m, LONG_CONTEXT)));
}

static void print_encoder(const struct found *f)
{
    static const char *const how[] = {[MODEL_POOL_MEAN] = "the mean of its tokens' hidden states",
                                      [MODEL_POOL_LAST] = "its last token's hidden state",
                                      [MODEL_POOL_CLS] = "its first token's hidden state",
                                      [MODEL_POOL_POOLER] = "the model's pooler over its first token"};
    const struct model_info *m = &f->info;
    char a[16], b[28];
    printf("for         vectors of documents, to compare and to search (embed, index, search)\n");
    printf("vector      %zu numbers a document: %s%s\n", m->hidden, how[f->pooling.how],
           f->pooling.normalize ? ", made of length 1" : ", not normalised");
    printf("length      %s tokens of a document count%s\n", value_format_count(b, m->max_length),
           m->padding == MODEL_PAD_MAX ? "; shorter ones are padded to that" : "");
    printf("memory      %s for the weights, computed in f32, and what a batch of documents takes\n",
           value_format_bytes(a, m->parameters * 4));
}

static void print_details(const char *dir, const struct found *f)
{
    const struct model_info *m = &f->info;
    const struct dtype *stored = dtype_named(f->stored);
    char a[28];
    printf("path        %s\nfamily      %s (%s)\nparameters  %s%s\nweights     %s\n", dir, m->family,
           m->model_type, value_format_count(a, m->parameters),
           m->tied && m->causal ? ", head tied to the embedding" : "",
           stored != NULL && stored->torch != NULL ? stored->torch
           : m->dtype[0] != '\0'                   ? m->dtype
                                                   : "not said");
    printf("blocks      %zu, ", m->blocks);
    if (m->attention_blocks > 0)
        printf("%zu of them attention\n", m->attention_blocks);
    else
        printf("without attention\n");
    printf("hidden      %zu, feed-forward %zu\n", m->hidden, m->feed_forward);
    if (m->attention_blocks > 0) {
        printf("heads       %zu of %zu", m->heads, m->head_size);
        if (m->causal) printf(", %zu key/value", m->kv_heads);
        printf("\n");
    }
    printf("vocabulary  %zu\ntokenizer   %s\n", m->vocab,
           has_tokenizer(dir) ? tokenizer_file(dir)
                              : "none (tokenizer.json is missing): it takes token ids alone");
    if (m->causal)
        print_decoder(m);
    else
        print_encoder(f);
}

static int show(const char *name, bool json)
{
    struct thea_err err = {0};
    struct found f;
    char *dir = NULL;
    int status = 0;
    if (model_find(&dir, name, FIND_CONFIG, &err) != THEA_OK || read_config(&f, dir, &err) != THEA_OK)
        status = thea_log_failure(&err);
    else {
        bool runs = read_weights(&f, dir, &err) == THEA_OK;
        if (json)
            print_json_line(info_json(name, dir, runs ? &f : NULL, &err));
        else
            print_details(dir, &f);
        if (!runs) status = thea_log_failure(&err);
    }
    free(dir);
    return status;
}

static int run(const struct command_args *args)
{
    bool json = command_flag(args, "json", false);
    return args->operand_count == 0 ? list(json) : show(args->operands[0], json);
}

static const struct command_option options[] = {
    {"json", 0, VALUE_BOOL, NULL, "one JSON object a model (JSON Lines)", NULL}, {0}};
static const char *const examples[] = {
    "thea models   what is here", "thea models thea-mini   one model, with its memory at 32k tokens", NULL};

const struct command command_models = {
    .name = "models",
    .operands = "[MODEL]",
    .summary = "models on this machine, or one in detail",
    .description =
        "Models are directories of the Hugging Face layout. thea looks in THEA_MODEL_PATH, "
        "$XDG_DATA_HOME/thea/models,\n"
        "the installed models and the Hugging Face cache; it never downloads. RAM at 32k is that of the "
        "weights\nin f32, with the keys and values of 32,768 tokens of a model for text.",
    .options = options,
    .examples = examples,
    .max_operands = 1,
    .run = run,
};
