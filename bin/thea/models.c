/* thea models: the models found on this machine, or one of them in detail. */
#include "bin/thea/support/command.h"
#include "graph/buf.h"
#include "graph/json.h"
#include "nn/model.h"
#include "nn/weights/find.h"
#include "nn/weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONG_CONTEXT = 32768 };

static uint64_t memory_at(const struct model_info *m, uint64_t positions)
{
    return m->parameters * 4 + m->kv_bytes_per_token * positions + m->state_bytes;
}

/* Its weights are all there and whole, as far as their headers tell: what `layers` would say. */
static thea_rc check_weights(const char *dir, struct thea_err *err)
{
    struct weights *w = NULL;
    thea_rc rc = weights_open(&w, dir, err);
    if (rc == THEA_OK) weights_close(w);
    return rc;
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

static struct json_node *info_json(const char *name, const char *dir, const struct model_info *m,
                                   const struct thea_err *why)
{
    struct json_node *map = json_new_map();
    json_put(map, "name", json_new_string(name));
    json_put(map, "path", json_new_string(dir));
    json_put(map, "runs", json_new_bool(m != NULL));
    if (m == NULL) {
        json_put(map, "why", json_new_string(thea_err_message(why)));
        return map;
    }
    json_put(map, "family", json_new_string(m->family));
    json_put(map, "dtype", json_new_string(m->dtype));
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
    json_put(map, "memory_bytes_at_32k", json_new_int((int64_t)memory_at(m, LONG_CONTEXT)));
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

static void list_row(void *context, const char *name, const char *dir)
{
    struct listing *l = context;
    struct model_info m;
    struct thea_err err = {0};
    bool runs = model_read_info(&m, dir, &err) == THEA_OK && check_weights(dir, &err) == THEA_OK;
    if (l->json)
        print_json_line(info_json(name, dir, runs ? &m : NULL, &err));
    else {
        char parameters[28], memory[16];
        if (l->count == 0)
            printf("%-28s %-8s %6s %6s %14s %8s %12s\n", "model", "family", "blocks", "hidden", "parameters",
                   "context", "RAM at 32k");
        if (runs) {
            printf("%-28s %-8s %6zu %6zu %14s %8zu %12s%s\n", name, m.family, m.blocks, m.hidden,
                   value_format_count(parameters, m.parameters), m.context,
                   value_format_bytes(memory, memory_at(&m, LONG_CONTEXT)),
                   has_tokenizer(dir) ? "" : "  no tokenizer");
        } else {
            printf("%-28s cannot run: %.*s\n", name, (int)strcspn(thea_err_message(&err), "\n"),
                   thea_err_message(&err));
        }
    }
    l->count++;
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

static void print_details(const char *dir, const struct model_info *m)
{
    char a[28], b[16], c[16];
    printf("path        %s\nfamily      %s (%s)\nparameters  %s%s\nweights     %s\n", dir, m->family,
           m->model_type, value_format_count(a, m->parameters), m->tied ? ", head tied to the embedding" : "",
           m->dtype[0] != '\0' ? m->dtype : "not said");
    printf("blocks      %zu, %zu of them attention\nhidden      %zu, feed-forward %zu\n", m->blocks,
           m->attention_blocks, m->hidden, m->feed_forward);
    printf("heads       %zu of %zu, %zu key/value\nvocabulary  %zu\ncontext     %zu positions\n", m->heads,
           m->head_size, m->kv_heads, m->vocab, m->context);
    printf("tokenizer   %s\n", has_tokenizer(dir)
                                   ? tokenizer_file(dir)
                                   : "none (tokenizer.json is missing): it takes token ids alone");
    printf("KV cache    %s a position, %s at 32,768\n", value_format_bytes(b, m->kv_bytes_per_token),
           value_format_bytes(c, m->kv_bytes_per_token * LONG_CONTEXT));
    printf("memory      %s at 32,768 positions, computed in f32\n",
           value_format_bytes(b, memory_at(m, LONG_CONTEXT)));
}

static int show(const char *name, bool json)
{
    struct thea_err err = {0};
    struct model_info m;
    char *dir = NULL;
    int status = 0;
    if (model_find(&dir, name, FIND_CONFIG, &err) != THEA_OK || model_read_info(&m, dir, &err) != THEA_OK)
        status = thea_log_failure(&err);
    else {
        bool runs = check_weights(dir, &err) == THEA_OK;
        if (json)
            print_json_line(info_json(name, dir, runs ? &m : NULL, &err));
        else
            print_details(dir, &m);
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
    .description = "Models are directories of the Hugging Face layout. thea looks in THEA_MODEL_PATH, "
                   "$XDG_DATA_HOME/thea/models,\n"
                   "the installed models and the Hugging Face cache; it never downloads.",
    .options = options,
    .examples = examples,
    .max_operands = 1,
    .run = run,
};
