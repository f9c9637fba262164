/* load: files, globs, directories, stdin and JSON Lines to documents. A source: each document is one stream.
 *
 * Invariant: a file's text is checked to its end before the stream's first frame, so that a document is
 * either whole or left out by name. Only what cannot be read twice (a pipe) is checked as it passes; there a
 * bad byte ends the stage. */
#include "graph/wire/stage.h"
#include "stages/support/glob_walk.h"
#include "stages/support/records.h"
#include "stages/support/text_reader.h"
#include "stages/support/chars.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10, PIECE_TOKENS = 4096, PIPE_WAIT_MS = 100 };
enum { PORT_DOCS, PORT_TOKENS };
enum { FORMAT_AUTO, FORMAT_TEXT, FORMAT_JSONL, FORMAT_TOKENS };

struct item {
    enum { ITEM_FILE, ITEM_STDIN, ITEM_TEXT } kind;
    const char *text; /* path or text; borrowed */
};

struct load {
    struct value_list paths, exclude, texts;
    int format;
    const char *base;
    int64_t max_bytes;

    char *base_dir;
    struct glob_walk walk;
    struct item *items;
    size_t item_count, next_item, texts_started;
    uint64_t started; /* streams so far */
    int64_t expected; /* documents that will come; -1: not known */

    /* What is being read. */
    int fd;                      /* -1: nothing */
    const char *path;            /* NULL: stdin */
    struct stage_stream *stream; /* NULL: between two documents */
    struct text_reader reader;
    struct records records; /* name != NULL: fd is JSON Lines */
    struct record record;   /* the document being sent, when it is one */
    const char *text;       /* its text (NULL: its tokens), or a prompt's */
    size_t text_len, sent;
};

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

static void add_item(struct load *l, int kind, const char *text)
{
    l->items = reallocarray(l->items, l->item_count + 1, sizeof *l->items);
    if (l->items == NULL) abort();
    l->items[l->item_count].kind = (unsigned)kind;
    l->items[l->item_count++].text = text;
}

static bool is_records(const struct load *l, const char *path)
{
    size_t n = strlen(path);
    if (l->format == FORMAT_AUTO) return n >= 6 && strcmp(path + n - 6, ".jsonl") == 0;
    return l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS;
}

static void skipped(void *context, const char *path, const char *reason)
{
    struct stage *st = context;
    struct load *l = stage_state(st);
    stage_skipped(st, glob_walk_relative(path, l->base_dir), reason);
}

static thea_rc add_stdin(struct load *l, struct thea_err *err)
{
    if (isatty(STDIN_FILENO) == 1)
        return thea_fail(
            err, THEA_EUSAGE,
            "nothing to load: stdin is a terminal\n  accepted   files, directories, globs, or text piped in\n"
            "  try        thea load notes/*.md | thea tokenize -m MODEL | …");
    for (size_t i = 0; i < l->item_count; i++) {
        if (l->items[i].kind == ITEM_STDIN)
            return thea_fail(err, THEA_EUSAGE, "'-' is named twice: stdin can be read once");
    }
    add_item(l, ITEM_STDIN, "stdin");
    return THEA_OK;
}

static thea_rc add_operand(struct load *l, const char *operand, struct thea_err *err)
{
    if (strcmp(operand, "-") == 0) return add_stdin(l, err);
    size_t before = l->walk.count;
    thea_rc rc = glob_walk_add(&l->walk, operand, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = before; i < l->walk.count; i++) add_item(l, ITEM_FILE, l->walk.files[i]);
    return THEA_OK;
}

/* Documents to come, if every item is one. */
static void expect(struct stage *st, struct load *l)
{
    l->expected = (int64_t)l->item_count;
    for (size_t i = 0; i < l->item_count; i++) {
        const struct item *item = &l->items[i];
        bool one = item->kind == ITEM_TEXT || (item->kind == ITEM_FILE && !is_records(l, item->text));
        if (!one) l->expected = -1;
    }
    if (l->expected > 0) stage_expect(st, (uint64_t)l->expected);
}

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
    l->fd = -1;
    if (l->format == FORMAT_TOKENS && stage_connected(st, PORT_DOCS))
        return thea_fail(
            err, THEA_ECONFIG,
            "with format: tokens there is no text: the port 'docs' is read, but only 'tokens' is made");
    const char *base = l->base != NULL ? l->base : ".";
    l->base_dir = realpath(base, NULL);
    if (l->base_dir == NULL) return thea_fail(err, THEA_ENOINPUT, "base '%s': %s", base, strerror(errno));
    l->walk.exclude = &l->exclude;
    l->walk.skipped = skipped;
    l->walk.context = st;
    for (size_t i = 0; i < l->texts.count; i++) add_item(l, ITEM_TEXT, l->texts.items[i]);
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < l->paths.count; i++) rc = add_operand(l, l->paths.items[i], err);
    if (rc == THEA_OK && l->paths.count == 0 && l->texts.count == 0) rc = add_stdin(l, err);
    if (rc == THEA_OK) expect(st, l);
    return rc;
}

static void leave_out(struct stage *st, struct load *l, const char *name, const char *reason)
{
    stage_skipped(st, name, reason);
    if (l->expected > 0) stage_expect(st, (uint64_t)--l->expected);
}

static void close_input(struct load *l)
{
    if (l->fd > STDIN_FILENO) close(l->fd);
    l->fd = -1;
    records_fini(&l->records);
    l->records = (struct records){0};
}

/* bytes < 0: not known (a pipe), or there are none (token ids). */
static void start_stream(struct stage *st, struct load *l, const char *id, int64_t bytes)
{
    l->stream = stage_start(st, l->started++);
    l->sent = 0;
    stage_put_text(st, l->stream, "id", id);
    if (l->path != NULL) stage_put_text(st, l->stream, "path", l->path);
    if (bytes >= 0) stage_put_int(st, l->stream, "bytes", bytes);
}

static void finish_stream(struct stage *st, struct load *l)
{
    stage_finish(st, l->stream);
    l->stream = NULL;
    l->text = NULL;
    record_fini(&l->record);
    if (l->records.name == NULL) close_input(l);
}

/* --- pieces of the open document: one frame a call --- */

static thea_rc put_text(struct stage *st, struct load *l, const char *text, size_t n, uint64_t position)
{
    struct tensor t = tensor_1d("text", TENSOR_U8, text, n);
    stage_put(st, l->stream, PORT_DOCS, &t);
    stage_put_position(st, PORT_DOCS, position);
    stage_count_bytes(st, n);
    return THEA_OK;
}

/* Is there nothing to read from a pipe yet? Waits a little, so that being called again is no busy loop. */
static bool pipe_is_quiet(const struct load *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    return poll(&p, 1, PIPE_WAIT_MS) <= 0; /* a signal, too: it may ask us to end */
}

static thea_rc put_file_piece(struct stage *st, struct load *l, struct thea_err *err)
{
    if (!l->reader.checked && stage_draining(st)) return THEA_DONE; /* a pipe may never end */
    if (!l->reader.checked && pipe_is_quiet(l)) return THEA_AGAIN;
    char *to = stage_buffer(st, PORT_DOCS, PIECE_BYTES);
    uint64_t position = l->reader.offset;
    size_t n = 0;
    thea_rc rc = text_reader_next(&l->reader, to, PIECE_BYTES, &n, err);
    if (rc == THEA_OK) return put_text(st, l, to, n, position);
    if (rc == THEA_DONE) {
        finish_stream(st, l);
        return THEA_OK;
    }
    if (!l->reader.checked) return rc;
    close_input(l); /* the file changed after it was checked: this document fails, the others go on */
    l->stream = NULL;
    return err->rc = THEA_EDOC;
}

static thea_rc put_text_piece(struct stage *st, struct load *l)
{
    size_t at = l->sent, n = chars_cut(l->text + at, l->text_len - at, PIECE_BYTES);
    l->sent += n;
    if (n > 0) return put_text(st, l, l->text + at, n, at);
    finish_stream(st, l); /* only now: what was put must live until the op that put it has returned */
    return THEA_OK;
}

static thea_rc put_tokens_piece(struct stage *st, struct load *l)
{
    size_t at = l->sent, n = l->record.count - at;
    if (n > PIECE_TOKENS) n = PIECE_TOKENS;
    l->sent += n;
    if (n == 0) {
        finish_stream(st, l);
        return THEA_OK;
    }
    struct tensor t = tensor_1d("tokens", TENSOR_I32, l->record.ids + at, n);
    stage_put(st, l->stream, PORT_TOKENS, &t);
    stage_put_position(st, PORT_TOKENS, at);
    return THEA_OK;
}

static thea_rc put_piece(struct stage *st, struct load *l, struct thea_err *err)
{
    if (l->text != NULL) return put_text_piece(st, l);
    return l->record.id != NULL ? put_tokens_piece(st, l) : put_file_piece(st, l, err);
}

/* --- the next document --- */

static thea_rc check_connected(struct stage *st, const struct load *l, struct thea_err *err)
{
    unsigned long long line = l->records.line;
    if (l->text != NULL && !stage_connected(st, PORT_DOCS))
        return thea_fail(
            err, THEA_EDATA,
            "%s:%llu: has text, but only the port 'tokens' is read; read 'docs', through a stage 'tokenize'",
            l->records.name, line);
    if (l->text == NULL && !stage_connected(st, PORT_TOKENS))
        return thea_fail(
            err, THEA_EDATA,
            "%s:%llu: has tokens, but only the port 'docs' is read; use format: tokens, or read 'tokens'",
            l->records.name, line);
    return THEA_OK;
}

static thea_rc next_record(struct stage *st, struct load *l, struct thea_err *err)
{
    bool waiting = !l->records.ended && l->records.at == l->records.read.len;
    if (waiting && pipe_is_quiet(l)) return THEA_AGAIN;
    thea_rc rc = records_next(&l->records, &l->record, err);
    if (rc == THEA_AGAIN) {
        char name[PATH_MAX + 32], limit[TEXT_READER_LIMIT], reason[64];
        snprintf(name, sizeof name, "%s:%llu", l->records.name, (unsigned long long)l->records.line);
        snprintf(reason, sizeof reason, "over %s", text_reader_limit(limit, (uint64_t)l->max_bytes));
        leave_out(st, l, name, reason);
        return THEA_OK;
    }
    if (rc == THEA_DONE) {
        close_input(l);
        return THEA_OK;
    }
    if (rc != THEA_OK) return rc;
    l->text = l->record.text;
    l->text_len = l->record.text_len;
    rc = check_connected(st, l, err);
    if (rc != THEA_OK) return rc;
    start_stream(st, l, l->record.id, l->text != NULL ? (int64_t)l->text_len : -1);
    return put_piece(st, l, err);
}

static thea_rc begin_records(struct stage *st, struct load *l, const char *name, struct thea_err *err)
{
    l->records = (struct records){.fd = l->fd,
                                  .name = name,
                                  .tokens_only = l->format == FORMAT_TOKENS,
                                  .max_bytes = (uint64_t)l->max_bytes};
    return next_record(st, l, err);
}

static thea_rc begin_stdin(struct stage *st, struct load *l, struct thea_err *err)
{
    l->fd = STDIN_FILENO;
    l->path = NULL;
    if (l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS) return begin_records(st, l, "stdin", err);
    l->reader = (struct text_reader){.fd = l->fd, .name = "stdin", .limit = (uint64_t)l->max_bytes};
    start_stream(st, l, "stdin", -1);
    return put_file_piece(st, l, err);
}

/* A regular file is checked first; a named pipe is text as it comes. */
static thea_rc begin_text(struct stage *st, struct load *l, const char *name, bool regular,
                          struct thea_err *err)
{
    char reason[160];
    uint64_t bytes = 0;
    if (regular && !text_reader_check(l->fd, (uint64_t)l->max_bytes, &bytes, reason, sizeof reason)) {
        leave_out(st, l, name, reason);
        close_input(l);
        return THEA_OK;
    }
    l->reader = (struct text_reader){
        .fd = l->fd, .name = name, .limit = regular ? bytes : (uint64_t)l->max_bytes, .checked = regular};
    start_stream(st, l, name, regular ? (int64_t)bytes : -1);
    return put_file_piece(st, l, err);
}

static thea_rc begin_file(struct stage *st, struct load *l, const char *path, struct thea_err *err)
{
    const char *name = glob_walk_relative(path, l->base_dir);
    struct stat at;
    l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (l->fd < 0 || fstat(l->fd, &at) != 0) {
        char reason[128];
        snprintf(reason, sizeof reason, "unreadable: %s", strerror(errno));
        leave_out(st, l, name, reason);
        close_input(l);
        return THEA_OK;
    }
    l->path = path;
    stage_working_on(st, "%s", name);
    if (is_records(l, path)) return begin_records(st, l, name, err);
    return begin_text(st, l, name, S_ISREG(at.st_mode), err);
}

static thea_rc begin_prompt(struct stage *st, struct load *l, const char *text)
{
    char id[32];
    snprintf(id, sizeof id, "prompt-%zu", ++l->texts_started);
    l->path = NULL;
    l->text = text;
    l->text_len = strlen(text);
    start_stream(st, l, id, (int64_t)l->text_len);
    return put_text_piece(st, l);
}

static thea_rc load_source(struct stage *st, struct thea_err *err)
{
    struct load *l = stage_state(st);
    if (l->stream != NULL) return put_piece(st, l, err);
    if (stage_draining(st)) return THEA_DONE;
    if (l->records.name != NULL) return next_record(st, l, err);
    if (l->next_item == l->item_count) return THEA_DONE;
    const struct item *item = &l->items[l->next_item++];
    if (item->kind == ITEM_TEXT) return begin_prompt(st, l, item->text);
    return item->kind == ITEM_STDIN ? begin_stdin(st, l, err) : begin_file(st, l, item->text, err);
}

static void load_close(struct stage *st)
{
    struct load *l = stage_state(st);
    close_input(l);
    record_fini(&l->record);
    glob_walk_fini(&l->walk);
    free(l->items);
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
    .close = load_close,
};
STAGE_MAIN(load_ops);
