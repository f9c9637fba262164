/* thea index: the front of pipelines/index.yaml, which adds documents to an index; and what needs no model:
 * removing and listing. */
#include "bin/thea/support/front.h"
#include "bin/thea/support/index_model.h"
#include "graph/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct command_option index_options[] = {
    {"model", 'm', VALUE_MODEL, "MODEL", "whose vectors: fixed when the index is made", NULL},
    {"prompt", 0, VALUE_TEXT, "NAME|TEXT",
     "in front of each text, as for embed: fixed with the first document (document)", NULL},
    {"remove", 0, VALUE_BOOL, NULL, "the operands are ids of documents: take them out", NULL},
    {"list", 0, VALUE_BOOL, NULL, "print the documents that are in it", NULL},
    {"json", 0, VALUE_BOOL, NULL, "with --list: a line of JSON a document", NULL},
    FRONT_OPTIONS,
    {0},
};

static const char *const index_examples[] = {
    "thea index notes.index -m MODEL notes/*.md   make it, add documents, replace those with the same id",
    "thea index notes.index --remove notes/old.md",
    "thea index notes.index --list",
    NULL,
};

/* --- adding --- */

/* What its documents were made with, unless it has none yet. */
static void put_prompt(struct front *front, const struct index_info *info, const char *given)
{
    const char *prompt = given != NULL           ? given
                         : info->prompt != NULL  ? info->prompt
                         : info->pooling != NULL ? ""
                                                 : NULL;
    if (prompt != NULL) front_set_text(front, "tokenize", "prompt", prompt);
}

/* The model that the index was made with, and the prompt, unless there is no index yet. */
static thea_rc find_model(char **dir, struct front *front, const struct command_args *args,
                          struct thea_err *err)
{
    struct index_reader *reader = NULL;
    const char *index = args->operands[0], *prompt = command_value(args, "prompt");
    const struct index_info none = {0};
    *dir = NULL;
    thea_rc rc = index_reader_open(&reader, index, err);
    if (rc == THEA_ENOINPUT) { /* write-index makes it, with the model that the pipeline finds */
        put_prompt(front, &none, prompt);
        return THEA_OK;
    }
    if (rc == THEA_OK) {
        put_prompt(front, index_reader_info(reader), prompt);
        rc = index_model_find(dir, index_reader_info(reader), index, command_value(args, "model"), err);
    }
    index_reader_close(reader);
    return rc;
}

static int add_documents(const struct command_args *args)
{
    struct thea_err err = {0};
    struct front front = {0};
    char *model = NULL;
    const char *index = args->operands[0];
    if (find_model(&model, &front, args, &err) != THEA_OK) {
        front_fini(&front);
        return thea_log_failure(&err);
    }
    struct launch launch = front_launch(&front, "index", args);
    if (model != NULL) launch.overrides.model = model;
    launch.overrides.output = index;
    launch.overrides.inputs = args->operands + 1;
    launch.overrides.input_count = args->operand_count - 1;
    int status = launch_pipeline(&launch);
    front_fini(&front);
    free(model);
    return status;
}

/* --- removing --- */

static int remove_documents(const struct command_args *args)
{
    struct thea_err err = {0};
    struct index_writer *w = NULL;
    size_t missing = 0;
    thea_rc rc = index_writer_open(&w, args->operands[0], NULL, NULL, &err);
    for (size_t i = 1; rc == THEA_OK && i < args->operand_count; i++) {
        bool was_there = false;
        rc = index_remove(w, args->operands[i], &was_there, &err);
        if (rc == THEA_OK && !was_there) thea_warning("no document '%s' is in it", args->operands[i]);
        missing += !was_there;
    }
    if (rc == THEA_OK) rc = index_commit(w, &err);
    if (rc == THEA_OK) rc = index_compact(w, &err);
    index_writer_close(w);
    if (rc != THEA_OK) return thea_log_failure(&err);
    return missing > 0 ? 1 : 0;
}

/* --- listing --- */

struct listing {
    bool json;
};

static void put_text(struct json_node *map, const char *key, const char *text)
{
    if (text != NULL) json_put(map, key, json_new_string(text));
}

static bool print_json(const struct index_entry *e)
{
    struct json_node *map = NULL;
    if (e->metadata == NULL ||
        json_parse(&map, e->metadata, strlen(e->metadata), "metadata", NULL) != THEA_OK)
        map = json_new_map();
    struct json_node *out = json_new_map();
    put_text(out, "id", e->id);
    put_text(out, "path", e->path);
    if (e->bytes >= 0) json_put(out, "bytes", json_new_int(e->bytes));
    json_put(out, "added", json_new_int(e->added));
    for (struct json_iter it = json_iter(map); json_next(&it);)
        json_put(out, it.key, json_copy_node(it.value));
    char *line = json_print(out, 0, 0);
    bool good = puts(line) >= 0;
    free(line);
    json_free(out);
    json_free(map);
    return good;
}

static bool print_row(const struct index_entry *e)
{
    char added[32] = "", bytes[32] = "-";
    struct tm at;
    time_t seconds = (time_t)e->added;
    if (gmtime_r(&seconds, &at) != NULL) strftime(added, sizeof added, "%Y-%m-%d %H:%M:%S", &at);
    if (e->bytes >= 0) value_format_count(bytes, (uint64_t)e->bytes);
    struct buf id = {0};
    buf_add_printable(&id, e->id);
    bool good = printf("%-19s  %11s  %s\n", added, bytes, buf_text(&id)) >= 0;
    buf_fini(&id);
    return good;
}

static bool print_entry(void *context, const struct index_entry *e)
{
    const struct listing *l = context;
    return l->json ? print_json(e) : print_row(e);
}

static int list_documents(const struct command_args *args)
{
    struct thea_err err = {0};
    struct index_reader *r = NULL;
    struct listing l = {command_flag(args, "json", false)};
    thea_rc rc = index_reader_open(&r, args->operands[0], &err);
    if (rc == THEA_OK && !l.json) printf("%-19s  %11s  %s\n", "ADDED (UTC)", "BYTES", "DOCUMENT");
    if (rc == THEA_OK) rc = index_list(r, print_entry, &l, &err);
    index_reader_close(r);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

/* --- which of them --- */

static int run_index(const struct command_args *args)
{
    bool remove = command_flag(args, "remove", false), list = command_flag(args, "list", false);
    if ((remove && list) || (list && args->operand_count > 1)) {
        thea_error("index: --list takes the index alone");
        return THEA_EUSAGE;
    }
    if (list) return list_documents(args);
    if (args->operand_count < 2) {
        thea_error("index: %s\n  try    thea index %s %s", remove ? "no id to remove" : "no document to add",
                   args->operands[0], remove ? "--list" : "notes/*.md");
        return THEA_EUSAGE;
    }
    return remove ? remove_documents(args) : add_documents(args);
}

const struct command command_index = {
    .name = "index",
    .operands = "INDEX [FILE…|ID…]",
    .summary = "documents into an index, out of it, and what is in it",
    .description =
        "INDEX is a directory: vectors as .npy, ids, texts and metadata in SQLite. Adding, replacing and "
        "removing are\n"
        "atomic: whatever is killed, the index has the old or the new document. One model makes all of its "
        "vectors;\n"
        "another is refused (65). It runs the pipeline `index`: `thea plan index` shows its processes.",
    .options = index_options,
    .examples = index_examples,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run_index,
};
