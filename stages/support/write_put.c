/* Results that go out: see write.h. */
#include "stages/support/write.h"

#include "graph/json.h"

#include <stdlib.h>
#include <string.h>

bool write_is_live(const struct write *w)
{
    return w->form == FORMAT_TEXT && w->results.journal == NULL && w->turns.order != TURNS_COMPLETION;
}

thea_rc write_put(struct stage *st, struct write *w, const struct turn *turn, const struct iovec *parts,
                  size_t count, struct thea_err *err)
{
    thea_rc rc = results_put(&w->results, turn->stream, turn->attempt, parts, count, err);
    if (rc != THEA_OK) return rc;
    if (w->results.out.enough) stage_enough(st);
    if (w->results.journal != NULL)
        for (size_t i = 0; i < count; i++) stage_count_bytes(st, parts[i].iov_len);
    else
        stage_count_bytes(st, w->results.out.bytes - w->counted);
    w->counted = w->results.out.bytes;
    return THEA_OK;
}

static struct iovec part_of(const char *bytes, size_t n)
{
    return (struct iovec){(void *)(uintptr_t)bytes, n};
}

/* Documents' texts are set apart by an empty line; each ends with a newline. */
static thea_rc put_text(struct stage *st, struct write *w, struct turn *turn, struct thea_err *err)
{
    const char *text;
    size_t n = turn->data.bytes, count = 0;
    struct iovec parts[3];
    thea_rc rc = gather_view(&turn->data, &text, err);
    if (rc == THEA_OK && turn->printed == 0 && n > 0) rc = results_make_room(&w->results, n + 2, err);
    if (rc != THEA_OK) return rc;
    if (n > 0 && turn->printed == 0 && w->results.tail > 0) parts[count++] = part_of("\n", 1);
    if (n > 0) {
        parts[count++] = part_of(text, n);
        w->last = text[n - 1];
        turn->printed += n;
    }
    if (turn->done && turn->printed > 0 && w->last != '\n') parts[count++] = part_of("\n", 1);
    if (write_is_live(w) && !turn->done) w->live_stream = turn->stream, w->live_bytes = turn->printed;
    if (count == 0 && w->results.journal == NULL) return THEA_OK;
    rc = write_put(st, w, turn, parts, count, err);
    gather_clear(&turn->data);
    return rc;
}

/* The line of a document that has no result. */
static thea_rc put_failure(struct stage *st, struct write *w, struct turn *turn, const char *reason,
                           struct thea_err *err)
{
    struct json_node *line = json_new_map();
    json_put(line, "id", json_new_string(turn->id));
    json_put(line, "error", json_new_string(reason));
    char *text = json_print(line, 0, 0);
    struct iovec parts[] = {part_of(text, strlen(text)), part_of("\n", 1)};
    thea_rc rc = write_put(st, w, turn, parts, 2, err);
    free(text);
    json_free(line);
    return rc;
}

static thea_rc put_lines(struct stage *st, struct write *w, struct turn *turn, struct thea_err *err)
{
    const char *data;
    struct buf header = {0}, body = {0};
    bool empty = turn->data.bytes == 0 && (w->port == PORT_RECORD || w->port == PORT_VECTOR);
    if (empty && w->failures) return put_failure(st, w, turn, "nothing came of it: it is empty", err);
    thea_rc rc = gather_view(&turn->data, &data, err);
    if (rc == THEA_OK && !empty)
        rc = form_add(&w->lines, turn->id, data, turn->data.bytes, turn->notes, &body, err);
    if (rc == THEA_OK) rc = results_make_room(&w->results, body.len, err);
    if (rc == THEA_OK && w->results.tail == 0) form_add_header(&w->lines, turn->data.bytes, &header);
    struct iovec parts[] = {part_of(buf_text(&header), header.len), part_of(buf_text(&body), body.len)};
    if (rc == THEA_OK) rc = write_put(st, w, turn, parts, 2, err);
    buf_fini(&body);
    buf_fini(&header);
    return rc;
}

static thea_rc put_rows(struct write *w, struct turn *turn, struct thea_err *err)
{
    const char *at;
    thea_rc rc = gather_view(&turn->data, &at, err);
    for (const char *end = at + turn->data.bytes; rc == THEA_OK && at < end;) {
        struct json_node *record = NULL;
        size_t n = strcspn(at, "\n");
        rc = json_parse(&record, at, n, "record", err);
        if (rc == THEA_OK) rc = table_add(w->table, record, err);
        json_free(record);
        at += n + 1;
    }
    return rc;
}

/* It was given up: what is printed of it is ended, and the journal knows. */
static thea_rc put_aside(struct stage *st, struct write *w, struct turn *turn, struct thea_err *err)
{
    gather_clear(&turn->data);
    thea_rc rc = write_is_live(w) && turn->printed > 0 ? put_text(st, w, turn, err) : THEA_OK;
    if (rc != THEA_OK || turn->aside == NULL) return rc;
    if (w->failures) return put_failure(st, w, turn, turn->aside, err);
    return results_put_aside(&w->results, turn->stream, turn->tries, turn->aside, err);
}

static thea_rc put_turn(struct stage *st, struct write *w, struct turn *turn, struct thea_err *err)
{
    if (turn->failed) return put_aside(st, w, turn, err);
    switch (w->form) {
    case FORMAT_TEXT: return put_text(st, w, turn, err);
    case FORMAT_TABLE: return put_rows(w, turn, err);
    case FORMAT_NPY:
    case FORMAT_SAFETENSORS: return arrays_put(&w->arrays, turn, err);
    default: return put_lines(st, w, turn, err);
    }
}

thea_rc write_flush(struct stage *st, struct write *w, struct thea_err *err)
{
    struct turn *turn;
    if (w->kept) turns_learn_totals(&w->turns, st);
    while ((turn = turns_next(&w->turns)) != NULL && (turn->done || write_is_live(w))) {
        thea_rc rc = put_turn(st, w, turn, err);
        if (rc != THEA_OK || !turn->done) return rc;
        uint64_t stream = turn->stream;
        bool aside = turn->failed;
        if (stream == w->live_stream) w->live_bytes = 0;
        turns_leave(&w->turns, turn);
        if (aside)
            stage_commit_aside(st, stream);
        else
            stage_commit(st, stream);
    }
    return THEA_OK;
}
