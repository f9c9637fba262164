/* write-index: vectors and texts of documents into an index directory (retrieval/index.h).
 *
 * Two inputs that are joined by document: the vector, and, from the source, the text itself, which no stage
 * between them has to carry. A document goes in when both have come to their end and its turn is there. In a
 * run that survives crashes the index keeps which streams are in it, in the transaction that puts them there:
 * so each document goes in once, whoever dies, and documents with the same id in the order of the input. */
#include "stages/support/index_turns.h"

#include "graph/log.h"
#include "nn/model.h"
#include "nn/weights/find.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct stage_option write_index_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .offset = offsetof(struct write_index, model),
     .flags = STAGE_REQUIRED,
     .meaning = "whose vectors these are: an index takes those of one model alone"},
    {.name = "output",
     .type = VALUE_PATH,
     .def = "thea.index",
     .offset = offsetof(struct write_index, output),
     .meaning = "the index: a directory, made if it is not there"},
    {.name = "sources",
     .type = VALUE_NAMES,
     .offset = offsetof(struct write_index, sources),
     .flags = STAGE_CLI_ONLY | STAGE_HIDDEN,
     .meaning = "numbers of the sources upstream, where there are several"},
    {0},
};
static const struct stage_port write_index_inputs[] = {
    [PORT_VECTOR] = {.name = "vector",
                     .dtype = TENSOR_F32,
                     .shape = "hidden",
                     .meaning = "one vector a document"},
    [PORT_DOCS] = {.name = "docs",
                   .dtype = TENSOR_U8,
                   .shape = "n",
                   .tensor = "text",
                   .flags = STAGE_OPTIONAL,
                   .meaning = "the document's text, to show passages of it; not connected: none is kept"},
    {0},
};
static const char *const write_index_examples[] = {
    "thea index notes.index notes/*.md",
    "thea load notes/*.md | thea tokenize -m MODEL | thea layers -m MODEL --emit final | thea pool -m MODEL "
    "| "
    "thea write-index -m MODEL -o notes.index",
    NULL,
};

/* --- opening --- */

static thea_rc write_index_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct write_index *w = stage_state(st);
    char *dir = NULL;
    struct model_info info;
    thea_rc rc = model_find(&dir, w->model, FIND_CONFIG, err);
    if (rc == THEA_OK) rc = model_read_info(&info, dir, err);
    if (rc == THEA_OK) {
        stage_describe_dim(d, "hidden", info.hidden);
        stage_describe_resolved(d, "model", dir);
    }
    free(dir);
    return rc;
}

static thea_rc open_index(struct stage *st, struct write_index *w, struct thea_err *err)
{
    char *dir = NULL, *run = NULL;
    struct model_info info;
    struct index_model model = {0};
    thea_rc rc = model_find(&dir, w->model, FIND_CONFIG, err);
    if (rc == THEA_OK) rc = model_read_info(&info, dir, err);
    if (rc == THEA_OK) rc = fingerprint_of(model.fingerprint, dir, err);
    if (rc == THEA_OK && w->kept) rc = run_word(&run, stage_run_dir(st), stage_name(st), err);
    if (rc == THEA_OK) {
        model.path = dir;
        model.family = info.model_type;
        model.dimension = info.hidden;
        rc = index_writer_open(&w->index, w->output, &model, run, err);
    }
    free(run);
    free(dir);
    return rc;
}

static void take_committed(struct stage *st, struct write_index *w)
{
    const struct ranges *known = index_streams(w->index);
    for (size_t i = 0; i < known->count; i++) {
        ranges_add(&w->turns.gone, known->items[i].first, known->items[i].last);
        for (uint64_t s = known->items[i].first; s <= known->items[i].last; s++) stage_commit(st, s);
    }
}

static thea_rc write_index_open(struct stage *st, struct thea_err *err)
{
    struct write_index *w = stage_state(st);
    w->kept = stage_run_dir(st) != NULL;
    w->turns.order = w->kept ? TURNS_INPUT : TURNS_ARRIVAL;
    thea_rc rc = turns_take_sources(&w->turns, &w->sources, err);
    if (rc == THEA_OK) rc = open_index(st, w, err);
    if (rc == THEA_OK) take_committed(st, w);
    return rc;
}

/* --- what comes in --- */

static void join_turns(struct write_index *w, const struct stage_stream *s, const struct frame *in,
                       struct document *d)
{
    if (d->turn == NULL) d->turn = turns_join(&w->turns, s, in);
}

static thea_rc write_index_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                                 struct thea_err *err)
{
    (void)err;
    join_turns(stage_state(st), s, in, stage_stream_state(s));
    return THEA_OK;
}

static thea_rc take_vector(struct document *d, const struct tensor *t, struct thea_err *err)
{
    if (t == NULL) return THEA_OK;
    if (d->vector != NULL) return thea_fail(err, THEA_EDOC, "a second vector came for one document");
    d->dimension = (size_t)t->shape[0];
    d->vector = malloc(d->dimension * sizeof *d->vector + 1);
    if (d->vector == NULL) return thea_fail(err, THEA_EOS, "no memory for a vector of %zu", d->dimension);
    memcpy(d->vector, t->data, d->dimension * sizeof *d->vector);
    for (size_t i = 0; i < d->dimension; i++)
        if (!isfinite(d->vector[i]))
            return thea_fail(err, THEA_EDOC, "its vector is not finite (number %zu is %g)", i,
                             (double)d->vector[i]);
    return THEA_OK;
}

static thea_rc write_index_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                                 struct thea_err *err)
{
    struct write_index *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    join_turns(w, s, in, d);
    if (port == PORT_VECTOR) return take_vector(d, frame_tensor(in, "vector"), err);
    const struct tensor *text = frame_tensor(in, "text");
    if (text == NULL) return THEA_OK;
    if (text->shape[0] > INDEX_TEXT_MAX - d->turn->data.bytes)
        return thea_fail(err, THEA_EDOC, "its text is longer than the %d bytes that an index keeps of one",
                         INDEX_TEXT_MAX);
    d->has_text = true;
    return gather_add(&d->turn->data, w->output, text->data, text->shape[0], err);
}

/* --- ends --- */

static thea_rc write_index_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct write_index *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    join_turns(w, s, stage_frame(st), d);
    if (d->vector == NULL) return thea_fail(err, THEA_EDOC, "no vector came for it");
    thea_rc rc = index_turns_pack(w, s, d, err);
    if (rc != THEA_OK) return rc;
    d->turn->done = true;
    d->turn = NULL;
    return index_turns_flush(st, w, false, err);
}

/* By hand the document has failed. In a run that survives crashes it was given up, after its tries. */
static thea_rc write_index_failed(struct stage *st, struct stage_stream *s, const struct frame *in,
                                  struct thea_err *err)
{
    struct write_index *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    if (!w->kept) {
        thea_warning("%s: %s", stage_stream_text(s, "id", "a document"),
                     stage_stream_text(s, "error", "failed in an earlier stage"));
        return THEA_OK;
    }
    join_turns(w, s, in, d);
    d->turn->done = d->turn->failed = true;
    d->turn = NULL;
    return index_turns_flush(st, w, false, err);
}

static void write_index_drop(struct stage *st, struct stage_stream *s)
{
    struct write_index *w = stage_state(st);
    struct document *d = stage_stream_state(s);
    free(d->vector);
    if (d->turn == NULL) return;
    if (w->kept) {
        turns_drop(&w->turns, d->turn);
    } else {
        d->turn->failed = d->turn->done = true;
    }
}

static void write_index_reset(struct stage *st)
{
    struct write_index *w = stage_state(st);
    turns_drop_all(&w->turns);
}

static thea_rc write_index_tick(struct stage *st, struct thea_err *err)
{
    return index_turns_flush(st, stage_state(st), true, err);
}

static thea_rc write_index_finish(struct stage *st, struct thea_err *err)
{
    struct write_index *w = stage_state(st);
    thea_rc rc = index_turns_flush(st, w, true, err);
    if (rc == THEA_OK && !(w->kept && stage_unfinished(st))) rc = index_run_done(w->index, err);
    return rc == THEA_OK ? index_compact(w->index, err) : rc;
}

static void write_index_close(struct stage *st)
{
    struct write_index *w = stage_state(st);
    turns_fini(&w->turns);
    ranges_fini(&w->waiting);
    index_writer_close(w->index);
}

const struct stage_ops write_index_ops = {
    .kind = "write-index",
    .summary = "vectors and texts of documents into an index that can be searched",
    .examples = write_index_examples,
    .options = write_index_options,
    .inputs = write_index_inputs,
    .state_size = sizeof(struct write_index),
    .stream_size = sizeof(struct document),
    .commits = true,
    .describe = write_index_describe,
    .open = write_index_open,
    .begin = write_index_begin,
    .frame = write_index_frame,
    .end = write_index_end,
    .failed = write_index_failed,
    .drop = write_index_drop,
    .reset = write_index_reset,
    .tick = write_index_tick,
    .finish = write_index_finish,
    .close = write_index_close,
};
STAGE_MAIN(write_index_ops);
