/* Opening of a sink: see write.h. */
#include "stages/support/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct stage_port write_inputs[PORT_COUNT + 1] = {
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
const char *const write_orders[] = {"input", "completion", NULL};

/* What only a file of lines can do. */
thea_rc write_check(const struct write *w, int form, struct thea_err *err)
{
    if (w->failures && (strcmp(w->output, "-") != 0 || form != FORMAT_JSONL))
        return thea_fail(
            err, THEA_EUSAGE,
            "--failures needs --format jsonl on standard output; a file's are in the run's journal");
    const char *what = w->rotate > 0 ? "rotate" : "append";
    if (w->rotate == 0 && !w->append) return THEA_OK;
    if (strcmp(w->output, "-") == 0) return thea_fail(err, THEA_EUSAGE, "--%s needs a file: -o NAME", what);
    if (form == FORMAT_AUTO) form = format_auto(w->output, "", false);
    if (form == FORMAT_JSONL || form == FORMAT_TSV || form == FORMAT_TEXT) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE,
                     "--%s: the format %s makes one whole file\n  accepted   jsonl, tsv, text", what,
                     format_names[form]);
}

static void form_init(struct form *f, int format, int port)
{
    const struct stage_port *p = &write_inputs[port];
    *f = (struct form){.format = format,
                       .records = port == PORT_RECORD,
                       .one_cell = port != PORT_VECTOR,
                       .key = port == PORT_VECTOR ? "embedding" : p->name,
                       .dtype = p->dtype};
}

/* What an earlier process, or the file that is appended to, has fixed. */
static void go_on(struct stage *st, struct write *w)
{
    if (w->form == FORMAT_TSV) {
        char *header = results_first_line(&w->results);
        size_t columns = form_take_header(&w->lines, header);
        if (w->port == PORT_VECTOR && columns > 1) w->width = columns - 1;
        free(header);
    }
    if (w->form == FORMAT_NPY) w->width = w->arrays.width;
    if (w->results.journal == NULL) return;
    const struct ranges *known = journal_streams(w->results.journal);
    for (size_t i = 0; i < known->count; i++) {
        ranges_add(&w->turns.gone, known->items[i].first, known->items[i].last);
        for (uint64_t s = known->items[i].first; s <= known->items[i].last; s++) {
            if (ranges_has(journal_asides(w->results.journal), s))
                stage_commit_aside(st, s);
            else
                stage_commit(st, s);
        }
    }
}

static thea_rc open_results(struct stage *st, struct write *w, struct thea_err *err)
{
    bool arrays = format_needs_file(w->form), keeps = w->kept && w->form != FORMAT_TABLE;
    struct results_options o = {.output = w->output,
                                .run_dir = keeps ? stage_run_dir(st) : NULL,
                                .sink = stage_name(st),
                                .format = format_names[w->form],
                                .order = write_orders[w->order],
                                .rotate = w->rotate,
                                .append = w->append,
                                .rows = arrays};
    thea_rc rc = arrays && !keeps ? THEA_OK : results_open(&w->results, &o, err);
    if (rc == THEA_OK && arrays)
        rc =
            arrays_open(&w->arrays, w->form, w->output, w->results.journal != NULL ? &w->results : NULL, err);
    return rc;
}

static char *spill_path(struct stage *st, const struct write *w)
{
    char *path = NULL;
    bool to_file = strcmp(w->output, "-") != 0;
    if (!to_file && !w->kept) return NULL;
    if (asprintf(&path, "%s%s", to_file ? w->output : stage_run_dir(st), to_file ? "" : "/result") < 0)
        abort();
    return path;
}

/* The input is known: open what it is written to. */
thea_rc write_start(struct stage *st, struct write *w, int port, struct thea_err *err)
{
    const char *name = write_inputs[port].name;
    bool chosen = w->format != FORMAT_AUTO;
    int form = chosen ? w->format : format_auto(w->output, name, stage_on_terminal(st));
    thea_rc rc = format_check(form, chosen, name, w->output, err);
    if (rc == THEA_OK) rc = write_check(w, form, err);
    if (rc != THEA_OK) return rc;
    w->port = port;
    w->form = form;
    w->beside = spill_path(st, w);
    form_init(&w->lines, form, port);
    if (form == FORMAT_TABLE) w->table = table_new();
    rc = open_results(st, w, err);
    if (rc == THEA_OK) go_on(st, w);
    if (w->kept && w->results.journal == NULL) stage_final(st);
    return rc;
}
