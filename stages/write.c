/* write: results out, one kind of them a run, in the order in which the documents began.
 *
 * Lines and text go out as they come. Arrays of numbers (npy, safetensors) make a file that appears whole at
 * the end or not at all. */
#include "graph/wire/stage.h"
#include "graph/log.h"
#include "stages/support/formats.h"
#include "stages/support/lines.h"
#include "stages/support/npy.h"
#include "stages/support/outlet.h"
#include "stages/support/safetensors_writer.h"
#include "stages/support/table.h"
#include "stages/support/turns.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    PORT_RECORD,
    PORT_VECTOR,
    PORT_TOKENS,
    PORT_TEXT,
    PORT_NLL,
    PORT_FINAL,
    PORT_LOGITS,
    PORT_HIDDEN,
    PORT_NEXT,
    PORT_RESIDUAL,
    PORT_COUNT
};
enum { PAGE_COLUMNS = 96, PAGE_COLUMNS_MIN = 60 };

struct write {
    const char *output;
    int format;
    int64_t rows;

    int port;          /* the one input; -1: not known yet (stdin carries any) */
    int form;          /* format, auto resolved; FORMAT_AUTO: not known yet */
    struct outlet out; /* lines, text, table */
    struct npy npy;
    struct safetensors_writer *tensors;
    struct table *table;
    struct turns turns;
    struct lines_columns columns; /* tsv of records */
    bool headed;                  /* tsv: the header is out */
    bool parted;                  /* text: a document is out, the next is set apart from it */
    char last;                    /* text: last byte written */
    uint64_t width;               /* of the first vector: rows of a tsv and an npy are of one width */
    uint64_t counted;             /* bytes reported to the status page */
};

struct document {
    struct turn *turn;
    struct buf data;  /* gathered until the end */
    struct buf names; /* safetensors: names this document made, NUL after each */
};

static const struct stage_option write_options[] = {
    {.name = "output",
     .type = VALUE_PATH,
     .def = "-",
     .offset = offsetof(struct write, output),
     .meaning = "file, or - for stdout"},
    {.name = "format",
     .type = VALUE_CHOICE,
     .def = "auto",
     .choices = format_names,
     .offset = offsetof(struct write, format),
     .meaning = "auto: by the output's extension; a table on a terminal, else jsonl"},
    {.name = "rows",
     .type = VALUE_INT,
     .def = "20",
     .min = 0,
     .max = 1e9,
     .offset = offsetof(struct write, rows),
     .meaning = "rows of a table: the lowest and the highest half; 0: all"},
    {0},
};
static const struct stage_port write_inputs[PORT_COUNT + 1] = {
    [PORT_RECORD] = {.name = "record",
                     .dtype = TENSOR_U8,
                     .shape = "n",
                     .flags = STAGE_ONE_OF,
                     .meaning = "a JSON object, a line each"},
    [PORT_VECTOR] = {.name = "vector",
                     .dtype = TENSOR_F32,
                     .shape = "hidden",
                     .flags = STAGE_ONE_OF,
                     .meaning = "{id, embedding}, or a row"},
    [PORT_TOKENS] = {.name = "tokens",
                     .dtype = TENSOR_I32,
                     .shape = "n",
                     .flags = STAGE_ONE_OF,
                     .meaning = "{id, tokens}"},
    [PORT_TEXT] = {.name = "text",
                   .dtype = TENSOR_U8,
                   .shape = "n",
                   .flags = STAGE_ONE_OF,
                   .meaning = "text as it comes, or {id, text}"},
    [PORT_NLL] = {.name = "nll",
                  .dtype = TENSOR_F32,
                  .shape = "n",
                  .flags = STAGE_ONE_OF,
                  .meaning = "{id, nll}, or <id>.nll"},
    [PORT_FINAL] = {.name = "final",
                    .dtype = TENSOR_F32,
                    .shape = "n, hidden",
                    .flags = STAGE_ONE_OF,
                    .meaning = "<id>.final"},
    [PORT_LOGITS] = {.name = "logits",
                     .dtype = TENSOR_F32,
                     .shape = "n, vocab",
                     .flags = STAGE_ONE_OF,
                     .meaning = "<id>.logits"},
    [PORT_HIDDEN] = {.name = "hidden",
                     .dtype = TENSOR_F32,
                     .shape = "n, hidden",
                     .tensor = "hidden.*",
                     .flags = STAGE_ONE_OF,
                     .meaning = "<id>.hidden.0, …"},
    [PORT_NEXT] = {.name = "next",
                   .dtype = TENSOR_F32,
                   .shape = "1, vocab",
                   .flags = STAGE_ONE_OF,
                   .meaning = "<id>.next"},
    [PORT_RESIDUAL] = {.name = "residual",
                       .dtype = TENSOR_F32,
                       .shape = "n, hidden",
                       .flags = STAGE_ONE_OF,
                       .meaning = "<id>.residual"},
};
static const char *const write_examples[] = {
    "thea load README.md | thea tokenize -m MODEL | thea layers -m MODEL | thea score | thea write --format "
    "tsv",
    "thea load --format tokens ids.jsonl | thea layers -m MODEL --emit logits | thea write -o "
    "out.safetensors",
    NULL,
};

/* The input is known: open what it is written to. */
static thea_rc start(struct stage *st, struct write *w, int port, struct thea_err *err)
{
    w->port = port;
    const char *name = write_inputs[port].name;
    bool chosen = w->format != FORMAT_AUTO;
    int form = chosen ? w->format : format_auto(w->output, name, stage_on_terminal(st));
    thea_rc rc = format_check(form, chosen, name, w->output, err);
    if (rc != THEA_OK) return rc;
    if (form == FORMAT_NPY)
        rc = npy_open(&w->npy, w->output, err);
    else if (form == FORMAT_SAFETENSORS)
        rc = safetensors_writer_open(&w->tensors, w->output, err);
    else
        rc = outlet_open(&w->out, w->output, false, err);
    if (form == FORMAT_TABLE) w->table = table_new();
    w->form = form;
    return rc;
}

static thea_rc write_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    (void)d;
    const struct write *w = stage_state(st);
    return format_check_output(w->format, w->output, err);
}

static thea_rc write_open(struct stage *st, struct thea_err *err)
{
    struct write *w = stage_state(st);
    int port = -1, connected = 0;
    w->out.fd = w->npy.rows.fd = w->npy.ids.fd = -1;
    w->port = -1;
    signal(SIGPIPE, SIG_IGN); /* a reader that has enough is told by EPIPE */
    for (int i = 0; i < PORT_COUNT; i++) {
        if (!stage_input_connected(st, i)) continue;
        connected++;
        port = i;
    }
    return connected == 1 ? start(st, w, port, err)
                          : THEA_OK; /* on stdin, the first frame says which it is */
}

/* --- putting out what has its turn --- */

static thea_rc out_write(struct stage *st, struct write *w, const char *bytes, size_t n, struct thea_err *err)
{
    thea_rc rc = outlet_write(&w->out, bytes, n, err);
    stage_count_bytes(st, w->out.bytes - w->counted);
    w->counted = w->out.bytes;
    if (w->out.enough) stage_enough(st);
    return rc;
}

/* Documents' texts are set apart by an empty line; each ends with a newline. */
static thea_rc put_text(struct stage *st, struct write *w, struct turn *turn, struct thea_err *err)
{
    struct buf text = {0};
    if (turn->out.len > 0) {
        if (!turn->begun && w->parted) buf_add_char(&text, '\n');
        buf_add(&text, turn->out.data, turn->out.len);
        w->last = turn->out.data[turn->out.len - 1];
    }
    if (turn->done && (turn->begun || turn->out.len > 0)) {
        if (w->last != '\n') buf_add_char(&text, '\n');
        w->last = '\n';
        w->parted = true;
    }
    thea_rc rc = out_write(st, w, buf_text(&text), text.len, err);
    buf_fini(&text);
    return rc;
}

static thea_rc put_turn(void *context, struct turn *turn, struct thea_err *err)
{
    struct stage *st = context;
    struct write *w = stage_state(st);
    if (w->form == FORMAT_TEXT) return put_text(st, w, turn, err);
    if (turn->out.len == 0) return THEA_OK;
    if (w->form == FORMAT_NPY)
        return npy_add(&w->npy, turn->id, (const void *)turn->out.data, turn->out.len / sizeof(float), err);
    return out_write(st, w, turn->out.data, turn->out.len, err);
}

static thea_rc flush(struct stage *st, struct write *w, struct thea_err *err)
{
    return turns_flush(&w->turns, w->form == FORMAT_TEXT, put_turn, st, err);
}

/* --- what comes in --- */

static thea_rc take_record(struct write *w, struct document *d, const struct tensor *t, struct thea_err *err)
{
    struct json_node *record = NULL;
    thea_rc rc = json_parse(&record, t->size_bytes > 0 ? t->data : "", t->size_bytes, "record", err);
    if (rc == THEA_OK && json_kind(record) != JSON_MAP_)
        rc = thea_fail(err, THEA_EDOC, "the record is %s, not a map", json_kind_name(json_kind(record)));
    if (rc == THEA_OK && w->form == FORMAT_TABLE) rc = table_add(w->table, record, err);
    if (rc == THEA_OK && w->form == FORMAT_TSV) {
        if (w->columns.count == 0) lines_find_columns(&w->columns, record);
        lines_add_record(&d->turn->out, &w->columns, record);
    }
    if (rc == THEA_OK && w->form == FORMAT_JSONL) {
        size_t start = d->turn->out.len;
        buf_add(&d->turn->out, t->data, t->size_bytes);
        for (char *c = d->turn->out.data + start; *c != '\0'; c++)
            *c = *c == '\n' || *c == '\r' ? ' ' : *c; /* between values: strings cannot hold them */
        buf_add_char(&d->turn->out, '\n');
    }
    json_free(record);
    if (rc == THEA_EDATA) rc = err->rc = THEA_EDOC; /* one document's trouble */
    return rc;
}

static const char *id_of(const struct stage_stream *s, char *fallback, size_t size)
{
    snprintf(fallback, size, "stream-%llu", (unsigned long long)stage_stream_id(s));
    return stage_stream_text(s, "id", fallback);
}

/* <id>.<tensor>, gathered over the document's frames. */
static thea_rc take_array(struct write *w, struct document *d, const char *id, const struct tensor *t,
                          struct thea_err *err)
{
    char *name = NULL;
    bool mine = false;
    if (asprintf(&name, "%s.%s", id, t->name) < 0) abort();
    for (const char *at = buf_text(&d->names), *end = at + d->names.len; at < end && !mine;
         at += strlen(at) + 1)
        mine = strcmp(at, name) == 0;
    thea_rc rc = THEA_OK;
    if (!mine && safetensors_writer_has(w->tensors, name))
        rc = thea_fail(err, THEA_EDOC, "an earlier document has the same id: '%s' is taken", name);
    else if (!mine)
        buf_add(&d->names, name, strlen(name) + 1);
    if (rc == THEA_OK) rc = safetensors_writer_add(w->tensors, name, t, err);
    free(name);
    return rc;
}

static thea_rc take(struct write *w, struct document *d, const char *id, const struct tensor *t,
                    struct thea_err *err)
{
    if (w->form == FORMAT_SAFETENSORS) return take_array(w, d, id, t, err);
    if (w->port == PORT_RECORD) return take_record(w, d, t, err);
    if (w->port == PORT_VECTOR && d->data.len > 0)
        return thea_fail(err, THEA_EDOC, "a second vector of one document");
    if (w->port == PORT_VECTOR && w->form != FORMAT_JSONL) {
        if (w->width == 0) w->width = t->shape[0];
        if (w->width != t->shape[0])
            return thea_fail(err, THEA_EDOC, "a vector of %llu numbers among vectors of %llu",
                             (unsigned long long)t->shape[0], (unsigned long long)w->width);
    }
    buf_add(w->form == FORMAT_TEXT ? &d->turn->out : &d->data, t->data, t->size_bytes);
    return THEA_OK;
}

static bool is_main(int port, const char *name)
{
    if (port == PORT_HIDDEN) return strncmp(name, "hidden.", strlen("hidden.")) == 0;
    return strcmp(name, write_inputs[port].name) == 0;
}

static thea_rc see_port(struct stage *st, struct write *w, int port, struct thea_err *err)
{
    if (w->form == FORMAT_AUTO) return start(st, w, port, err);
    if (port == w->port) return THEA_OK;
    return thea_fail(
        err, THEA_EUSAGE,
        "stdin carries '%s' and '%s', and write takes one of them: --emit one from the stage before",
        write_inputs[w->port].name, write_inputs[port].name);
}

static void join_turns(struct write *w, struct stage_stream *s, struct document *d)
{
    char fallback[40];
    if (d->turn == NULL) d->turn = turns_join(&w->turns, id_of(s, fallback, sizeof fallback));
}

static thea_rc write_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    (void)in, (void)err;
    join_turns(stage_state(st), s, stage_stream_state(s));
    return THEA_OK;
}

static thea_rc write_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                           struct thea_err *err)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = see_port(st, w, port, err);
    join_turns(w, s, d);
    for (size_t i = 0; rc == THEA_OK && i < in->tensor_count; i++) {
        if (is_main(port, in->tensors[i].name)) rc = take(w, d, d->turn->id, &in->tensors[i], err);
    }
    if (rc == THEA_OK && w->form == FORMAT_TEXT) rc = flush(st, w, err);
    return rc;
}

/* --- ends --- */

static const char *key_of(int port)
{
    return port == PORT_VECTOR ? "embedding" : write_inputs[port].name;
}

static void render(struct write *w, struct document *d)
{
    const struct stage_port *port = &write_inputs[w->port];
    const char *key = key_of(w->port);
    struct buf *out = &d->turn->out;
    if (w->form == FORMAT_JSONL)
        lines_add_json(out, d->turn->id, key, port->dtype, d->data.data, d->data.len);
    if (w->form == FORMAT_TSV)
        lines_add_tsv(out, d->turn->id, port->dtype, d->data.data, d->data.len, w->port != PORT_VECTOR);
    if (w->form == FORMAT_NPY) buf_add(out, d->data.data, d->data.len);
}

/* The first line of a tsv: columns of the first document's record or vector. */
static thea_rc put_header(struct stage *st, struct write *w, const struct document *d, struct thea_err *err)
{
    struct buf header = {0};
    size_t numbers = w->port == PORT_VECTOR ? d->data.len / sizeof(float) : 0;
    if (w->port != PORT_RECORD)
        lines_add_tsv_header(&header, key_of(w->port), numbers);
    else if (w->columns.count > 0)
        lines_add_columns(&header, &w->columns);
    w->headed = header.len > 0;
    thea_rc rc = out_write(st, w, buf_text(&header), header.len, err);
    buf_fini(&header);
    return rc;
}

/* On stdin a document may have an end and no frame: the end frame names the port. */
static thea_rc port_of_end(struct stage *st, struct write *w, struct thea_err *err)
{
    const struct frame *in = stage_frame(st);
    const char *name = in != NULL && in->port != NULL ? in->port : "";
    size_t n = strcspn(name, ",");
    for (int i = 0; i < PORT_COUNT; i++) {
        if (strlen(write_inputs[i].name) == n && strncmp(write_inputs[i].name, name, n) == 0)
            return start(st, w, i, err);
    }
    return THEA_OK;
}

static thea_rc write_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = w->form == FORMAT_AUTO ? port_of_end(st, w, err) : THEA_OK;
    join_turns(w, s, d);
    if (rc != THEA_OK || w->form == FORMAT_AUTO) return rc;
    bool renders = w->port != PORT_RECORD && (w->port != PORT_VECTOR || d->data.len > 0);
    if (w->form == FORMAT_TSV && !w->headed) rc = put_header(st, w, d, err);
    if (renders) render(w, d);
    d->turn->done = true;
    d->turn = NULL;
    buf_clear(&d->names);
    return rc == THEA_OK ? flush(st, w, err) : rc;
}

/* A document that failed (the runtime has said why) leaves nothing behind but the text that is out already.
 */
static void write_drop(struct stage *st, struct stage_stream *s)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    for (const char *at = buf_text(&d->names), *end = at + d->names.len; w->tensors != NULL && at < end;
         at += strlen(at) + 1)
        safetensors_writer_remove(w->tensors, at);
    if (d->turn != NULL) {
        if (w->form != FORMAT_TEXT) buf_clear(&d->turn->out);
        d->turn->done = true;
    }
    buf_fini(&d->names);
    buf_fini(&d->data);
}

static size_t page_width(struct stage *st, const struct write *w)
{
    struct winsize size;
    if (!stage_on_terminal(st) || w->out.path != NULL || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
        size.ws_col == 0)
        return PAGE_COLUMNS;
    return size.ws_col < PAGE_COLUMNS_MIN ? PAGE_COLUMNS_MIN : size.ws_col;
}

static thea_rc print_table(struct stage *st, struct write *w, struct thea_err *err)
{
    struct buf page = {0};
    if (stage_on_terminal(st) && w->out.path == NULL)
        buf_add_text(&page, "\r\033[K"); /* a progress line may stand there */
    table_print(w->table, (size_t)w->rows, page_width(st, w), &page);
    thea_rc rc = out_write(st, w, buf_text(&page), page.len, err);
    buf_fini(&page);
    return rc;
}

/* No document came, so nothing said what they would be: an empty file, where the format has one. */
static thea_rc write_nothing(struct write *w, struct thea_err *err)
{
    int form = w->format == FORMAT_AUTO ? format_auto(w->output, "", false) : w->format;
    if (strcmp(w->output, "-") == 0 || format_needs_file(form)) return THEA_OK;
    thea_rc rc = outlet_open(&w->out, w->output, false, err);
    return rc == THEA_OK ? outlet_commit(&w->out, err) : rc;
}

static thea_rc write_finish(struct stage *st, struct thea_err *err)
{
    struct write *w = stage_state(st);
    uint64_t bytes = 0;
    if (w->form == FORMAT_AUTO) return write_nothing(w, err);
    thea_rc rc = flush(st, w, err);
    if (rc != THEA_OK) return rc;
    switch (w->form) {
    case FORMAT_NPY:
        rc = npy_finish(&w->npy, err);
        bytes = w->npy.rows.bytes;
        break;
    case FORMAT_SAFETENSORS: rc = safetensors_writer_finish(w->tensors, &bytes, err); break;
    case FORMAT_TABLE: rc = print_table(st, w, err); break;
    default: break;
    }
    stage_count_bytes(st, bytes);
    return rc == THEA_OK ? outlet_commit(&w->out, err) : rc;
}

static void write_close(struct stage *st)
{
    struct write *w = stage_state(st);
    turns_fini(&w->turns);
    lines_columns_fini(&w->columns);
    table_free(w->table);
    safetensors_writer_close(w->tensors);
    npy_close(&w->npy);
    outlet_close(&w->out);
}

const struct stage_ops write_ops = {
    .kind = "write",
    .summary = "results out: table, JSON Lines, tsv, text, npy, safetensors",
    .examples = write_examples,
    .options = write_options,
    .inputs = write_inputs,
    .state_size = sizeof(struct write),
    .stream_size = sizeof(struct document),
    .describe = write_describe,
    .open = write_open,
    .begin = write_begin,
    .frame = write_frame,
    .end = write_end,
    .drop = write_drop,
    .finish = write_finish,
    .close = write_close,
};
STAGE_MAIN(write_ops);
