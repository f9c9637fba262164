/* load: files, globs, directories, stdin and JSON Lines to documents. A source: each document is one stream.
 *
 * Invariant: a file's text is checked to its end before the stream's first frame, so that a document is
 * either whole or left out by name. Only what cannot be read twice (a pipe) is checked as it passes; there a
 * bad byte ends the stage. How it is made: stages/support/load_impl.h. */
#include "graph/status.h"
#include "stages/support/load_impl.h"

#include <stdlib.h>

static const char *const formats[] = {"auto", "text", "jsonl", "tokens", NULL};
static const struct stage_option load_options[] = {
    {.name = "paths",
     .type = VALUE_PATHS,
     .meaning = "files, globs (** for any depth), directories, - for stdin; none: stdin",
     .offset = offsetof(struct load, paths),
     .flags = STAGE_OPERANDS},
    {.name = "format",
     .type = VALUE_CHOICE,
     .def = "auto",
     .choices = formats,
     .offset = offsetof(struct load, format),
     .meaning = "auto: .jsonl by line, else text; jsonl: {\"id\", \"text\"} a line; tokens: {\"id\", "
                "\"tokens\"} a line"},
    {.name = "exclude",
     .type = VALUE_NAMES,
     .def = ".*,build,node_modules",
     .offset = offsetof(struct load, exclude),
     .meaning = "names passed over while descending or matching, as patterns"},
    {.name = "base",
     .type = VALUE_PATH,
     .offset = offsetof(struct load, base),
     .meaning = "ids of files below it are relative to it; default: the current directory"},
    {.name = "max_bytes",
     .type = VALUE_SIZE,
     .def = "16MiB",
     .unit = "bytes",
     .min = 1,
     .max = 1e15,
     .offset = offsetof(struct load, max_bytes),
     .meaning = "longer documents are left out, each with a warning"},
    {.name = "follow",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = offsetof(struct load, follow),
     .meaning =
         "go on with files that come later, when they are complete, and lines that JSON Lines grow by"},
    {.name = "listen",
     .type = VALUE_TEXT,
     .offset = offsetof(struct load, listen),
     .meaning =
         "tcp://127.0.0.1:PORT: a line is a document (format: jsonl: a record); http://127.0.0.1:PORT: "
         "POST /documents"},
    {.name = "spool",
     .type = VALUE_SIZE,
     .def = "1GiB",
     .unit = "bytes",
     .min = 1 << 20,
     .max = 1e15,
     .offset = offsetof(struct load, spool_bytes),
     .meaning = "most that is kept of what came by listen until it is committed; then senders wait"},
    {.name = "text",
     .type = VALUE_TEXTS,
     .offset = offsetof(struct load, texts),
     .meaning = "documents given here: prompt-1, prompt-2, …"},
    {0},
};
static const struct stage_port load_outputs[] = {
    {.name = "docs",
     .dtype = TENSOR_U8,
     .shape = "n",
     .tensor = "text",
     .flags = STAGE_DEFAULT,
     .meaning = "a piece of a document's text, UTF-8"},
    {.name = "tokens", .dtype = TENSOR_I32, .shape = "n", .meaning = "token ids, of records that have them"},
    {0},
};
static const char *const load_examples[] = {
    "thea load notes/*.md | thea tokenize -m MODEL | thea layers -m MODEL | thea score | thea write",
    "thea load --format tokens ids.jsonl | thea layers -m MODEL --emit logits | thea write -o "
    "out.safetensors",
    NULL,
};

static thea_rc load_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    (void)err;
    const struct load *l = stage_state(st);
    if (l->format == FORMAT_TOKENS) stage_describe_default(d, "tokens");
    return THEA_OK;
}

static thea_rc load_open(struct stage *st, struct thea_err *err)
{
    struct load *l = stage_state(st);
    l->fd = l->manifest.fd = -1;
    l->item = LOAD_NONE;
    l->ahead = 1;
    l->id_base = UINT64_MAX;
    if (l->format == FORMAT_TOKENS && stage_connected(st, PORT_DOCS))
        return thea_fail(
            err, THEA_ECONFIG,
            "with format: tokens there is no text: the port 'docs' is read, but only 'tokens' is made");
    thea_rc rc = manifest_open(&l->manifest, stage_run_dir(st), stage_name(st), err);
    if (rc == THEA_OK) rc = load_list(st, l, err);
    if (rc == THEA_OK) rc = load_feed_open(st, l, err);
    return rc == THEA_OK && l->listen != NULL ? load_listen_open(st, l, err) : rc;
}

static thea_rc next(struct stage *st, struct load *l, struct thea_err *err)
{
    for (;;) {
        thea_rc rc = load_emit(st, l, err);
        if (rc != THEA_DONE || stage_draining(st)) return rc;
        rc = load_number(st, l, err);
        if (rc != THEA_OK) return rc;
        l->wait_count = 0; /* there is something */
    }
}

static thea_rc load_source(struct stage *st, struct thea_err *err)
{
    struct load *l = stage_state(st);
    l->wait_count = 0;
    load_feed_trim(st, l);
    thea_rc rc = next(st, l, err);
    for (size_t i = 0; rc == THEA_AGAIN && i < l->wait_count; i++) stage_wait_fd(st, l->waits[i]);
    return rc;
}

static thea_rc load_seek(struct stage *st, uint64_t index, struct thea_err *err)
{
    struct load *l = stage_state(st);
    load_emit_close(l);
    if (l->manifest.fd < 0 || index > l->manifest.streams)
        return thea_fail(err, THEA_ESOFTWARE, "document %llu cannot be sent again: there are %llu",
                         (unsigned long long)index,
                         l->manifest.fd < 0 ? 0 : (unsigned long long)l->manifest.streams);
    l->next = index;
    return THEA_OK;
}

static void load_close(struct stage *st)
{
    struct load *l = stage_state(st);
    load_emit_close(l);
    load_number_close(l);
    load_listen_close(l);
    load_feed_close(l);
    load_follow_close(l);
    free(l->growing);
    glob_walk_fini(&l->walk);
    manifest_fini(&l->manifest);
    free(l->base_dir);
}

const struct stage_ops load_ops = {
    .kind = "load",
    .summary = "files, globs, directories, stdin and JSON Lines to documents",
    .examples = load_examples,
    .options = load_options,
    .outputs = load_outputs,
    .state_size = sizeof(struct load),
    .describe = load_describe,
    .open = load_open,
    .source = load_source,
    .seek = load_seek,
    .close = load_close,
};
STAGE_MAIN(load_ops);
