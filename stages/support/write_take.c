/* What comes in of a document: see write.h. */
#include "stages/support/write.h"

/* Records are kept as lines: a newline between values is a blank, for strings cannot hold one. */
static thea_rc take_record(struct write *w, struct turn *turn, const struct tensor *t, struct thea_err *err)
{
    struct json_node *record = NULL;
    thea_rc rc = json_parse(&record, t->size_bytes > 0 ? t->data : "", t->size_bytes, "record", err);
    if (rc == THEA_OK && json_kind(record) != JSON_MAP_)
        rc = thea_fail(err, THEA_EDOC, "the record is %s, not a map", json_kind_name(json_kind(record)));
    if (rc == THEA_OK && w->form == FORMAT_TABLE && json_text(json_member(record, "id"), NULL) == NULL)
        rc = thea_fail(err, THEA_EDOC, "the record is no map with an \"id\"");
    json_free(record);
    if (rc == THEA_EDATA) return err->rc = THEA_EDOC; /* one document's trouble */
    if (rc != THEA_OK) return rc;
    struct buf line = {0};
    buf_add(&line, t->data, t->size_bytes);
    for (char *c = line.data; *c != '\0'; c++) *c = *c == '\n' || *c == '\r' ? ' ' : *c;
    buf_add_char(&line, '\n');
    rc = gather_add(&turn->data, w->beside, line.data, line.len, err);
    buf_fini(&line);
    return rc;
}

static thea_rc take_vector(struct write *w, struct document *d, const struct tensor *t, struct thea_err *err)
{
    if (d->vector) return thea_fail(err, THEA_EDOC, "a second vector of one document");
    d->vector = true;
    if (w->form == FORMAT_JSONL) return THEA_OK;
    if (w->width == 0) w->width = t->shape[0];
    if (w->width == t->shape[0]) return THEA_OK;
    return thea_fail(err, THEA_EDOC, "a vector of %llu numbers among vectors of %llu",
                     (unsigned long long)t->shape[0], (unsigned long long)w->width);
}

/* Live text that comes again: what is printed of it is passed over. */
static thea_rc take_text(struct write *w, struct turn *turn, const struct tensor *t, struct thea_err *err)
{
    size_t skip = turn->skip < t->size_bytes ? turn->skip : t->size_bytes;
    turn->skip -= skip;
    return gather_add(&turn->data, write_is_live(w) ? NULL : w->beside, (const char *)t->data + skip,
                      t->size_bytes - skip, err);
}

thea_rc write_take(struct write *w, struct document *d, const struct tensor *t, struct thea_err *err)
{
    if (w->form == FORMAT_SAFETENSORS) return arrays_take(&w->arrays, &d->arrays, d->turn, t, err);
    if (w->port == PORT_RECORD) return take_record(w, d->turn, t, err);
    if (w->port == PORT_TEXT) return take_text(w, d->turn, t, err);
    thea_rc rc = w->port == PORT_VECTOR ? take_vector(w, d, t, err) : THEA_OK;
    return rc == THEA_OK ? gather_add(&d->turn->data, w->beside, t->data, t->size_bytes, err) : rc;
}
