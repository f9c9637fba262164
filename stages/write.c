/* write: results out, one kind of them a run, in the order of the inputs.
 *
 * Lines and text go out as they come. Arrays of numbers (npy, safetensors) make a file that appears whole at
 * the end or not at all. In a run that survives crashes a file is written by results.h, which keeps a
 * journal: a document's result is committed as one, in its turn, and a process that starts again goes on
 * behind it. */
#include "graph/wire/stage.h"
#include "graph/log.h"
#include "stages/support/write.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PAGE_COLUMNS = 96, PAGE_COLUMNS_MIN = 60 };

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
    {.name = "order",
     .type = VALUE_CHOICE,
     .def = "input",
     .choices = write_orders,
     .offset = offsetof(struct write, order),
     .meaning = "of the results: as their documents began, or as they end"},
    {.name = "rotate",
     .type = VALUE_SIZE,
     .def = "0",
     .max = 1e18,
     .offset = offsetof(struct write, rotate),
     .meaning = "size of a file, then out.1.jsonl, out.2.jsonl and so on; 0: one file"},
    {.name = "append",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = offsetof(struct write, append),
     .meaning = "write behind what the output holds"},
    {.name = "failures",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = offsetof(struct write, failures),
     .meaning = "jsonl on stdout: of a document without a result a line {\"id\", \"error\"}"},
    {.name = "sources",
     .type = VALUE_NAMES,
     .offset = offsetof(struct write, sources),
     .flags = STAGE_CLI_ONLY | STAGE_HIDDEN,
     .meaning = "numbers of the sources upstream, where there are several"},
    {0},
};
static const char *const write_examples[] = {
    "thea load README.md | thea tokenize -m MODEL | thea layers -m MODEL | thea score | thea write --format "
    "tsv",
    "thea load --format tokens ids.jsonl | thea layers -m MODEL --emit logits | thea write -o "
    "out.safetensors",
    NULL,
};

/* --- opening --- */

static thea_rc write_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    (void)d;
    const struct write *w = stage_state(st);
    thea_rc rc = format_check_output(w->format, w->output, err);
    return rc == THEA_OK ? write_check(w, w->format, err) : rc;
}

static thea_rc write_open(struct stage *st, struct thea_err *err)
{
    struct write *w = stage_state(st);
    int port = -1, connected = 0;
    w->port = -1;
    w->kept = stage_run_dir(st) != NULL;
    w->turns.order = w->order == ORDER_COMPLETION ? TURNS_COMPLETION : w->kept ? TURNS_INPUT : TURNS_ARRIVAL;
    signal(SIGPIPE, SIG_IGN); /* a reader that has enough is told by EPIPE */
    for (int i = 0; i < PORT_COUNT; i++) {
        if (!stage_input_connected(st, i)) continue;
        connected++;
        port = i;
    }
    thea_rc rc = turns_take_sources(&w->turns, &w->sources, err);
    if (rc != THEA_OK || connected != 1) return rc; /* on stdin, the first frame says which it is */
    return write_start(st, w, port, err);
}

/* --- what comes in --- */

static bool is_main(int port, const char *name)
{
    if (port == PORT_HIDDEN) return strncmp(name, "hidden.", strlen("hidden.")) == 0;
    return strcmp(name, write_inputs[port].name) == 0;
}

/* A file of arrays holds any ports, also several; the rest is of one. */
static thea_rc see_port(struct stage *st, struct write *w, int port, struct thea_err *err)
{
    if (w->form == FORMAT_AUTO) return write_start(st, w, port, err);
    if (port == w->port) return THEA_OK;
    if (w->form == FORMAT_SAFETENSORS)
        return format_check(w->form, true, write_inputs[port].name, w->output, err);
    return thea_fail(err, THEA_EUSAGE,
                     "stdin carries '%s' and '%s', and %s holds one of them: --emit one from the stage "
                     "before, or write both into "
                     "-o NAME.safetensors",
                     write_inputs[w->port].name, write_inputs[port].name, format_names[w->form]);
}

static void join_turns(struct write *w, struct stage_stream *s, const struct frame *in, struct document *d)
{
    if (d->turn != NULL) return;
    d->turn = turns_join(&w->turns, s, in);
    if (d->turn->stream == w->live_stream) d->turn->printed = d->turn->skip = w->live_bytes;
}

static thea_rc write_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    (void)err;
    join_turns(stage_state(st), s, in, stage_stream_state(s));
    return THEA_OK;
}

static thea_rc write_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                           struct thea_err *err)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = see_port(st, w, port, err);
    join_turns(w, s, in, d);
    for (size_t i = 0; rc == THEA_OK && i < in->tensor_count; i++) {
        if (is_main(port, in->tensors[i].name)) rc = write_take(w, d, &in->tensors[i], err);
    }
    if (rc == THEA_OK && w->form == FORMAT_TEXT) rc = write_flush(st, w, err);
    return rc;
}

/* --- ends --- */

/* On stdin a document may have an end and no frame: the end frame names the port. */
static thea_rc port_of_end(struct stage *st, struct write *w, struct thea_err *err)
{
    const struct frame *in = stage_frame(st);
    const char *name = in != NULL && in->port != NULL ? in->port : "";
    size_t n = strcspn(name, ",");
    for (int i = 0; i < PORT_COUNT; i++) {
        if (strlen(write_inputs[i].name) == n && strncmp(write_inputs[i].name, name, n) == 0)
            return write_start(st, w, i, err);
    }
    return THEA_OK;
}

/* What was done to a document on its way, said beside its result. */
static char *notes_of(const struct stage_stream *s)
{
    static const char *const keys[] = {"padded_to", "truncated_from"};
    struct buf notes = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int64_t n = stage_stream_int(s, keys[i], -1);
        if (n >= 0) buf_printf(&notes, ", \"%s\": %lld", keys[i], (long long)n);
    }
    return notes.len > 0 ? buf_take(&notes) : NULL;
}

static thea_rc write_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = w->form == FORMAT_AUTO ? port_of_end(st, w, err) : THEA_OK;
    join_turns(w, s, stage_frame(st), d);
    if (rc != THEA_OK || w->form == FORMAT_AUTO) return rc;
    d->turn->notes = notes_of(s);
    d->turn->done = true;
    d->turn = NULL;
    arrays_document_fini(&d->arrays);
    return write_flush(st, w, err);
}

/* By hand the document has failed. In a run that survives crashes it was given up, after its tries. */
static thea_rc write_failed(struct stage *st, struct stage_stream *s, const struct frame *in,
                            struct thea_err *err)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    const char *reason = stage_stream_text(s, "error", "failed in an earlier stage");
    if (!w->kept) {
        thea_warning("%s: %s", stage_stream_text(s, "id", "a document"), reason);
        if (!w->failures) return THEA_OK;
    }
    join_turns(w, s, in, d);
    d->turn->aside = strdup(reason);
    if (d->turn->aside == NULL) abort();
    d->turn->tries = (uint32_t)stage_stream_int(s, "tries", 1);
    d->turn->done = d->turn->failed = true;
    d->turn = NULL;
    return write_flush(st, w, err);
}

/* A document that failed (the runtime has said why) leaves nothing behind but the text that is out already.
 * One that comes again makes room for itself. */
static void write_drop(struct stage *st, struct stage_stream *s)
{
    struct write *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    arrays_forget(&w->arrays, &d->arrays);
    if (d->turn == NULL) return;
    if (w->kept) {
        turns_drop(&w->turns, d->turn);
        return;
    }
    d->turn->failed = w->form != FORMAT_TEXT;
    d->turn->done = true;
}

static void write_reset(struct stage *st)
{
    struct write *w = stage_state(st);
    turns_drop_all(&w->turns);
}

static thea_rc write_tick(struct stage *st, struct thea_err *err)
{
    struct write *w = stage_state(st);
    if (w->form == FORMAT_AUTO) return THEA_OK;
    thea_rc rc = write_flush(st, w, err);
    return rc == THEA_OK && w->results.journal != NULL ? journal_tick(w->results.journal, err) : rc;
}

static size_t page_width(struct stage *st, const struct write *w)
{
    struct winsize size;
    if (!stage_on_terminal(st) || w->results.out.path != NULL ||
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return PAGE_COLUMNS;
    return size.ws_col < PAGE_COLUMNS_MIN ? PAGE_COLUMNS_MIN : size.ws_col;
}

static thea_rc print_table(struct stage *st, struct write *w, struct thea_err *err)
{
    struct buf page = {0};
    if (stage_on_terminal(st) && w->results.out.path == NULL)
        buf_add_text(&page, "\r\033[K"); /* a progress line may stand there */
    table_print(w->table, (size_t)w->rows, page_width(st, w), &page);
    struct iovec part = {page.data, page.len};
    thea_rc rc = write_put(st, w, &(struct turn){0}, &part, 1, err);
    buf_fini(&page);
    return rc;
}

/* No document came, so nothing said what they would be: an empty file, where the format has one. */
static thea_rc write_nothing(struct write *w, struct thea_err *err)
{
    int form = w->format == FORMAT_AUTO ? format_auto(w->output, "", false) : w->format;
    struct results_options o = {.output = w->output, .append = w->append, .rotate = w->rotate};
    if (strcmp(w->output, "-") == 0 || format_needs_file(form)) return THEA_OK;
    thea_rc rc = results_open(&w->results, &o, err);
    return rc == THEA_OK ? results_finish(&w->results, true, err) : rc;
}

static thea_rc write_finish(struct stage *st, struct thea_err *err)
{
    struct write *w = stage_state(st);
    bool whole = !w->kept || !stage_unfinished(st);
    if (w->form == FORMAT_AUTO) return write_nothing(w, err);
    thea_rc rc = write_flush(st, w, err);
    if (rc == THEA_OK && w->form == FORMAT_TABLE) rc = print_table(st, w, err);
    if (rc == THEA_OK && format_needs_file(w->form) && whole) rc = arrays_finish(&w->arrays, err);
    if (rc != THEA_OK) return rc;
    stage_count_bytes(st, w->arrays.bytes);
    return w->results.output != NULL ? results_finish(&w->results, whole, err) : THEA_OK;
}

static void write_close(struct stage *st)
{
    struct write *w = stage_state(st);
    turns_fini(&w->turns);
    form_fini(&w->lines);
    table_free(w->table);
    arrays_close(&w->arrays);
    results_close(&w->results);
    free(w->beside);
}

const struct stage_ops write_ops = {
    .kind = "write",
    .summary = "results out: table, JSON Lines, tsv, text, npy, safetensors",
    .examples = write_examples,
    .options = write_options,
    .inputs = write_inputs,
    .state_size = sizeof(struct write),
    .stream_size = sizeof(struct document),
    .commits = true,
    .describe = write_describe,
    .open = write_open,
    .begin = write_begin,
    .frame = write_frame,
    .end = write_end,
    .failed = write_failed,
    .drop = write_drop,
    .reset = write_reset,
    .tick = write_tick,
    .finish = write_finish,
    .close = write_close,
};
STAGE_MAIN(write_ops);
