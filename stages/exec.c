/* exec: any command as a stage. It reads a document's text, or a JSON object, on its stdin and prints text,
 * or a JSON object, on its stdout; what it prints on stderr goes to the stage's own.
 *
 * per: document   one process a document: all of the text (or the object) in, end of input, all of the output
 * back per: run        one process for all: a line in, a line back, in order
 *
 * A command that fails on a document (per: document) spoils that document alone. One that serves all (per:
 * run) and ends too early ends the stage, which is then started again like any other. */
#include "graph/wire/stage.h"
#include "stages/support/chars.h"
#include "stages/support/command.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { IN_DOCS, IN_TEXT, IN_RECORD };
enum { OUT_TEXT, OUT_RECORD };
enum { PER_DOCUMENT, PER_RUN };
enum { FORM_TEXT, FORM_JSON };
enum { PIECE_BYTES = 64 << 10 };

struct exec {
    const char *command;
    int per, reads, prints;
    bool isolate;
    int64_t max_bytes;
    struct command child; /* per: run */
};

struct document {
    struct buf text; /* what came: text, or the record */
    bool record;     /* it is a record */
    struct buf out;  /* what the command printed */
    size_t sent;     /* bytes of it */
    bool answered;
};

static const char *const pers[] = {"document", "run", NULL};
static const char *const forms[] = {"text", "json", NULL};
static const struct stage_option exec_options[] = {
    {.name = "command",
     .type = VALUE_TEXT,
     .offset = offsetof(struct exec, command),
     .meaning = "what sh -c runs; its stderr is the stage's log",
     .flags = STAGE_REQUIRED},
    {.name = "per",
     .type = VALUE_CHOICE,
     .def = "document",
     .choices = pers,
     .offset = offsetof(struct exec, per),
     .meaning = "document: a process for each; run: one for all, which answers a line with a line"},
    {.name = "reads",
     .type = VALUE_CHOICE,
     .def = "text",
     .choices = forms,
     .offset = offsetof(struct exec, reads),
     .meaning = "text: the document; json: {\"id\", \"text\"}, or the record, on one line"},
    {.name = "prints",
     .type = VALUE_CHOICE,
     .def = "text",
     .choices = forms,
     .offset = offsetof(struct exec, prints),
     .meaning = "text: a document; json: an object, to which \"id\" is added if it has none"},
    {.name = "isolate",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = offsetof(struct exec, isolate),
     .meaning = "in namespaces of its own, so that nothing it starts outlives it"},
    {.name = "max_bytes",
     .type = VALUE_SIZE,
     .def = "16MiB",
     .unit = "bytes",
     .min = 1,
     .max = 1e9,
     .offset = offsetof(struct exec, max_bytes),
     .meaning = "output of one document that is more is its error"},
    {0},
};
static const struct stage_port exec_inputs[] = {
    [IN_DOCS] = {.name = "docs",
                 .dtype = TENSOR_U8,
                 .shape = "n",
                 .tensor = "text",
                 .flags = STAGE_ONE_OF,
                 .meaning = "a document's text, in pieces"},
    [IN_TEXT] = {.name = "text",
                 .dtype = TENSOR_U8,
                 .shape = "n",
                 .flags = STAGE_ONE_OF,
                 .meaning = "generated text, in pieces"},
    [IN_RECORD] = {.name = "record",
                   .dtype = TENSOR_U8,
                   .shape = "n",
                   .flags = STAGE_ONE_OF,
                   .meaning = "a JSON object"},
    {0},
};
static const struct stage_port exec_outputs[] = {
    [OUT_TEXT] = {.name = "text",
                  .dtype = TENSOR_U8,
                  .shape = "n",
                  .meaning = "what the command printed, as a document (prints: text)"},
    [OUT_RECORD] = {.name = "record",
                    .dtype = TENSOR_U8,
                    .shape = "n",
                    .meaning = "what it printed, as a JSON object (prints: json)"},
    {0},
};
static const char *const exec_examples[] = {
    "thea load notes/*.md | thea exec --command 'tr a-z A-Z' | thea tokenize -m MODEL | thea write",
    "thea load notes/*.md | thea exec --command 'wc -w | jq -c {words:.}' --prints json | thea write",
    NULL,
};

static thea_rc exec_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct exec *e = stage_state(st);
    (void)err;
    stage_describe_only(d, exec_outputs[e->prints == FORM_JSON ? OUT_RECORD : OUT_TEXT].name);
    return THEA_OK;
}

static thea_rc exec_open(struct stage *st, struct thea_err *err)
{
    struct exec *e = stage_state(st);
    int out = e->prints == FORM_JSON ? OUT_RECORD : OUT_TEXT, other = OUT_TEXT + OUT_RECORD - out;
    e->child = (struct command){.in = -1, .out = -1};
    signal(SIGPIPE, SIG_IGN); /* a command may leave its input unread */
    if (stage_connected(st, other))
        return thea_fail(err, THEA_EUSAGE, "output '%s' needs prints: %s", exec_outputs[other].name,
                         forms[other == OUT_RECORD ? FORM_JSON : FORM_TEXT]);
    if (stage_input_connected(st, IN_RECORD) && !stage_input_connected(st, IN_DOCS) &&
        e->reads == FORM_TEXT && stage_option_set(st, "reads"))
        return thea_fail(err, THEA_EUSAGE,
                         "reads: text, but the input 'record' carries JSON: say reads: json");
    return e->per == PER_RUN ? command_start(&e->child, e->command, e->isolate, NULL, err) : THEA_OK;
}

/* --- what goes in --- */

static thea_rc exec_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    (void)st, (void)err;
    struct document *d = stage_stream_state(s);
    const struct stage_port *p = &exec_inputs[port];
    const struct tensor *t = frame_tensor(in, p->tensor != NULL ? p->tensor : p->name);
    d->record = port == IN_RECORD;
    if (t != NULL) buf_add(&d->text, t->data, t->size_bytes);
    return THEA_OK;
}

/* The object that a command reads: the record as it came, or one made of the text. */
static void make_object(struct buf *out, const struct document *d, const char *id)
{
    if (d->record) {
        buf_add(out, buf_text(&d->text), d->text.len);
        for (size_t i = 0; i < out->len; i++) {
            if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' '; /* between values */
        }
        return;
    }
    struct json_node *map = json_new_map();
    json_put(map, "id", json_new_string(id));
    json_put(map, "text", json_new_text(buf_text(&d->text), d->text.len));
    char *text = json_print(map, 0, 0);
    buf_add_text(out, text);
    free(text);
    json_free(map);
}

static thea_rc make_input(struct buf *out, const struct exec *e, const struct document *d, const char *id,
                          struct thea_err *err)
{
    if (e->reads == FORM_JSON || d->record)
        make_object(out, d, id);
    else
        buf_add(out, buf_text(&d->text), d->text.len);
    if (e->per == PER_RUN) {
        size_t n = out->len > 0 && out->data[out->len - 1] == '\n' ? out->len - 1 : out->len;
        if (n > 0 && memchr(out->data, '\n', n) != NULL)
            return thea_fail(
                err, THEA_EDOC,
                "it has several lines, and the command of exec takes a line a document: reads: json");
    }
    if ((e->per == PER_RUN || e->reads == FORM_JSON) && (out->len == 0 || out->data[out->len - 1] != '\n'))
        buf_add_char(out, '\n');
    return THEA_OK;
}

/* --- what comes out --- */

static thea_rc check_text(const struct buf *out, struct thea_err *err)
{
    size_t valid = chars_valid(buf_text(out), out->len, NULL);
    if (valid == out->len) return THEA_OK;
    return thea_fail(err, THEA_EDOC, "the command printed bytes that are not UTF-8 (at byte %zu)", valid);
}

static thea_rc check_object(struct buf *out, const char *id, struct thea_err *err)
{
    struct json_node *node = NULL;
    if (json_parse(&node, buf_text(out), out->len, "the command's output", err) != THEA_OK) return THEA_EDOC;
    if (json_kind(node) != JSON_MAP_) {
        thea_rc rc = thea_fail(err, THEA_EDOC, "the command printed %s, expected an object",
                               json_kind_name(json_kind(node)));
        json_free(node);
        return rc;
    }
    if (json_member(node, "id") == NULL) {
        struct json_node *with_id = json_new_map();
        json_put(with_id, "id", json_new_string(id));
        for (struct json_iter it = json_iter(node); json_next(&it);)
            json_put(with_id, it.key, json_copy_node(it.value));
        json_free(node);
        node = with_id;
    }
    char *text = json_print(node, 0, 0);
    buf_clear(out);
    buf_add_text(out, text);
    free(text);
    json_free(node);
    return THEA_OK;
}

static thea_rc ask_new(const struct exec *e, struct document *d, const char *id, const char *input, size_t n,
                       struct thea_err *err)
{
    struct command child;
    struct buf name = {0};
    buf_printf(&name, "THEA_DOCUMENT=%s", id);
    const char *const env[] = {name.data, NULL};
    thea_rc rc = command_start(&child, e->command, e->isolate, env, err);
    if (rc == THEA_OK) {
        rc = command_exchange(&child, input, n, COMMAND_UNTIL_END, (size_t)e->max_bytes, &d->out, err);
        if (rc == THEA_OK) rc = command_finish(&child, err);
        command_kill(&child);
    }
    buf_fini(&name);
    return rc;
}

/* One that serves all and prints too much is out of step: only a new one can go on. */
static thea_rc ask_same(struct exec *e, struct document *d, const char *input, size_t n, struct thea_err *err)
{
    thea_rc rc =
        command_exchange(&e->child, input, n, COMMAND_UNTIL_LINE, (size_t)e->max_bytes, &d->out, err);
    if (rc != THEA_ECLOSED) return rc == THEA_EDATA ? (err->rc = THEA_ESOFTWARE) : rc;
    rc = command_finish(&e->child, err);
    if (rc == THEA_OK)
        return thea_fail(err, THEA_ESOFTWARE, "the command of exec ended before its input did");
    return err->rc = THEA_ESOFTWARE;
}

static thea_rc ask(struct exec *e, struct document *d, const char *id, struct thea_err *err)
{
    struct buf input = {0};
    thea_rc rc = make_input(&input, e, d, id, err);
    if (rc == THEA_OK)
        rc = e->per == PER_RUN ? ask_same(e, d, buf_text(&input), input.len, err)
                               : ask_new(e, d, id, buf_text(&input), input.len, err);
    buf_fini(&input);
    if (rc == THEA_EDATA) rc = err->rc = THEA_EDOC;
    if (rc == THEA_OK)
        rc = e->prints == FORM_JSON ? check_object(&d->out, id, err) : check_text(&d->out, err);
    return rc;
}

static thea_rc exec_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct exec *e = stage_state(st);
    struct document *d = stage_stream_state(s);
    int port = e->prints == FORM_JSON ? OUT_RECORD : OUT_TEXT;
    if (!d->answered) {
        thea_rc rc = ask(e, d, stage_stream_text(s, "id", "document"), err);
        if (rc != THEA_OK) return rc;
        d->answered = true;
        stage_put_int(st, s, "bytes", (int64_t)d->out.len);
    }
    size_t left = d->out.len - d->sent;
    size_t n = port == OUT_RECORD
                   ? left
                   : chars_cut(buf_text(&d->out) + d->sent, left, PIECE_BYTES < left ? PIECE_BYTES : left);
    struct tensor t =
        tensor_1d(port == OUT_RECORD ? "record" : "text", TENSOR_U8, buf_text(&d->out) + d->sent, n);
    stage_put(st, s, port, &t);
    stage_put_position(st, port, d->sent);
    d->sent += n;
    return d->sent < d->out.len ? THEA_AGAIN : THEA_OK;
}

static thea_rc exec_finish(struct stage *st, struct thea_err *err)
{
    struct exec *e = stage_state(st);
    thea_rc rc = command_finish(&e->child, err);
    return rc == THEA_EDATA ? thea_fail_prefix(err, "at the end of input") : rc;
}

static void exec_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    buf_fini(&d->text);
    buf_fini(&d->out);
}

static void exec_close(struct stage *st)
{
    struct exec *e = stage_state(st);
    command_kill(&e->child);
}

const struct stage_ops exec_ops = {
    .kind = "exec",
    .summary = "any command as a stage: text or JSON in, text or JSON out",
    .examples = exec_examples,
    .options = exec_options,
    .inputs = exec_inputs,
    .outputs = exec_outputs,
    .state_size = sizeof(struct exec),
    .stream_size = sizeof(struct document),
    .aggregates = true,
    .describe = exec_describe,
    .open = exec_open,
    .frame = exec_frame,
    .end = exec_end,
    .drop = exec_drop,
    .finish = exec_finish,
    .close = exec_close,
};
STAGE_MAIN(exec_ops);
