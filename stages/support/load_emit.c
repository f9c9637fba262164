/* Numbered documents to frames: see load_impl.h. */
#include "stages/support/load_impl.h"

#include "graph/fault.h"
#include "stages/support/chars.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_input(struct load *l)
{
    if (l->fd > STDIN_FILENO) close(l->fd);
    l->fd = -1;
    l->item = LOAD_NONE;
    records_fini(&l->records);
    l->records = (struct records){0};
}

void load_emit_close(struct load *l)
{
    close_input(l);
    record_fini(&l->record);
    l->stream = NULL;
    l->text = NULL;
}

/* --- a stream's beginning and end --- */

/* bytes < 0: not known (a pipe), or there are none (token ids). */
static void start_stream(struct stage *st, struct load *l, size_t item, const char *id, int64_t bytes)
{
    const struct manifest_item *it = &l->manifest.items[item];
    bool file = it->kind == ITEM_FILE || it->kind == ITEM_RECORDS;
    l->stream = stage_start(st, l->next);
    thea_fault("source.document");
    l->id_base = stage_stream_id(l->stream) - l->next++;
    l->sent = 0;
    stage_put_text(st, l->stream, "id", id);
    if (file) stage_put_text(st, l->stream, "path", load_path(l, item));
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

/* The document that has this number cannot be had: it fails, the others go on. reason may be err's own
 * message. */
static thea_rc fail_stream(struct stage *st, struct load *l, size_t item, const char *id, const char *reason,
                           struct thea_err *err)
{
    char kept[sizeof err->message];
    snprintf(kept, sizeof kept, "%s", reason);
    if (l->stream == NULL) start_stream(st, l, item, id, -1);
    l->stream = NULL;
    l->text = NULL;
    record_fini(&l->record);
    close_input(l);
    return thea_fail(err, THEA_EDOC, "%s", kept);
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

/* The spool has bytes that the reader has not, or its end. */
static thea_rc feed_reader(struct load *l, struct thea_err *err)
{
    struct feed *feed = l->reader.context;
    while (!load_feed_ended(feed) && load_feed_end(feed) == l->reader.offset + l->reader.carry_len) {
        thea_rc rc = load_feed_stdin(l, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

static thea_rc put_file_piece(struct stage *st, struct load *l, struct thea_err *err)
{
    if (!l->reader.checked && stage_draining(st)) return THEA_DONE; /* a pipe may never end */
    if (l->reader.read_at != NULL) {
        thea_rc fed = feed_reader(l, err);
        if (fed != THEA_OK) return fed;
    } else if (!l->reader.checked && load_must_wait(l, l->fd)) {
        return THEA_AGAIN;
    }
    char *to = stage_buffer(st, PORT_DOCS, PIECE_BYTES);
    uint64_t position = l->reader.offset;
    size_t n = 0;
    thea_rc rc = text_reader_next(&l->reader, to, PIECE_BYTES, &n, err);
    if (rc == THEA_OK) return put_text(st, l, to, n, position);
    if (rc == THEA_DONE) {
        finish_stream(st, l);
        return THEA_OK;
    }
    if (!l->reader.checked && (rc != THEA_EDATA || l->reader.read_at == NULL)) return rc;
    close_input(
        l); /* it changed after it was checked, or could not be: this document fails, the others go on */
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

/* --- records --- */

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

/* Records up to the one with number `index` are behind the reader. */
static thea_rc skip_records(struct load *l, uint64_t index, struct thea_err *err)
{
    while (l->record_index < index) {
        thea_rc rc = records_skip(&l->records, err);
        if (rc == THEA_OK) l->record_index++;
        if (rc != THEA_OK && rc != THEA_EDOC) return rc;
    }
    return THEA_OK;
}

/* In a file that changed offsets say nothing any more: count from its beginning. */
static thea_rc seek_records(struct load *l, const struct manifest_span *span, bool changed,
                            struct thea_err *err)
{
    struct records *r = &l->records;
    uint64_t from = changed ? 0 : span->offset;
    l->record_index = changed ? l->manifest.items[span->item].first : span->first;
    if (from > 0 && r->read_at == NULL && lseek(r->fd, (off_t)from, SEEK_SET) < 0)
        return thea_fail(err, THEA_EIO, "%s: %s", r->name, strerror(errno));
    r->offset = from;
    r->line = changed ? 0 : span->line;
    r->end = changed ? 0 : span->end;
    return skip_records(l, l->next, err);
}

static bool is_here(const struct load *l, const struct manifest_span *span)
{
    return l->item == span->item && l->records.name != NULL && l->record_index == l->next;
}

static void open_feed(struct load *l, const struct manifest_span *span, struct feed *feed)
{
    l->item = span->item;
    l->records = load_records(l, span->item, -1);
    l->records.read_at = load_feed_read;
    l->records.context = feed;
}

/* By hand: read on to its end, and only then is it known where that is. */
static void open_to_end(struct load *l, const struct stat *at)
{
    l->record_index = l->next;
    if (!S_ISREG(at->st_mode)) l->records.pipe = true;
}

static thea_rc open_records(struct load *l, const struct manifest_span *span, struct thea_err *err)
{
    bool in = l->manifest.items[span->item].kind == ITEM_STDIN;
    struct stat at;
    l->fd = in ? STDIN_FILENO : load_open_file(l, span->item);
    if (l->fd < 0 || fstat(l->fd, &at) != 0)
        return thea_fail(err, THEA_EDOC, "%s: %s", errno == ENOENT ? "has vanished" : "unreadable",
                         strerror(errno));
    const struct manifest_item *it =
        &l->manifest.items[span->item]; /* now: opening may have found new ones */
    l->item = span->item;
    if (l->follow && it->inode != 0 && it->inode != at.st_ino)
        return thea_fail(err, THEA_EDOC, "the file was replaced: it is gone");
    l->records = load_records(l, span->item, l->fd);
    if (span->end == UINT64_MAX) {
        open_to_end(l, &at);
        return THEA_OK;
    }
    return seek_records(l, span, !l->follow && load_changed(l, span->item, &at), err);
}

/* The reader stands before record l->next. */
static thea_rc find_record(struct load *l, const struct manifest_span *span, struct thea_err *err)
{
    if (is_here(l, span)) {
        if (l->records.end > 0 && l->records.end < span->end) {
            l->records.end = span->end;
            l->records.ended = false;
        }
        return THEA_OK;
    }
    close_input(l);
    struct feed *feed = load_feed_of(l, span->item);
    if (feed == NULL) return open_records(l, span, err);
    open_feed(l, span, feed);
    return seek_records(l, span, false, err);
}

/* By hand a file of records ends here. */
static thea_rc end_records(struct load *l)
{
    load_number_counted(l);
    close_input(l);
    return THEA_OK;
}

/* A record that cannot be had under its number. */
static thea_rc fail_record(struct stage *st, struct load *l, size_t item, const char *reason,
                           struct thea_err *err)
{
    char id[PATH_MAX + 32];
    uint64_t number = l->next - l->manifest.items[item].first + 1;
    snprintf(id, sizeof id, "%s, record %llu", load_name(l, item), (unsigned long long)number);
    return fail_stream(st, l, item, id, reason, err);
}

static thea_rc begin_record(struct stage *st, struct load *l, struct thea_err *err)
{
    l->text = l->record.text;
    l->text_len = l->record.text_len;
    thea_rc rc = check_connected(st, l, err);
    if (rc != THEA_OK) return rc;
    l->record_index++;
    start_stream(st, l, l->item, l->record.id, l->text != NULL ? (int64_t)l->text_len : -1);
    return put_piece(st, l, err);
}

static thea_rc next_record(struct stage *st, struct load *l, const struct manifest_span *span,
                           struct thea_err *err)
{
    bool by_hand = span->end == UINT64_MAX;
    thea_rc rc = find_record(l, span, err);
    if (rc == THEA_OK) rc = records_next(&l->records, &l->record, err);
    if (rc == THEA_AGAIN && l->records.pipe) (void)load_must_wait(l, l->fd);
    if (rc == THEA_OK) return begin_record(st, l, err);
    if (rc == THEA_EDOC && l->records.name != NULL) { /* too long a line */
        if (by_hand) load_leave_out_line(st, l, &l->records);
        return THEA_OK;
    }
    if (rc == THEA_EDOC && by_hand) {
        load_leave_out(st, l, load_name(l, span->item), err->message);
        return end_records(l);
    }
    if (rc == THEA_EDOC) return fail_record(st, l, span->item, err->message, err);
    if (rc == THEA_DONE && by_hand) return end_records(l);
    if (rc == THEA_DONE)
        return fail_record(st, l, span->item, "the file has become shorter: it is gone", err);
    if (rc == THEA_EDATA && !by_hand) /* a run of weeks does not end for a line */
        return fail_record(st, l, span->item, err->message, err);
    return rc;
}

/* --- text --- */

static thea_rc begin_stdin(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    l->fd = STDIN_FILENO;
    l->reader = (struct text_reader){.fd = l->fd, .name = "stdin", .limit = (uint64_t)l->max_bytes};
    l->item = item;
    l->reader.context = load_feed_of(l, item);
    if (l->reader.context != NULL) l->reader.read_at = load_feed_read;
    start_stream(st, l, item, "stdin", -1);
    return put_file_piece(st, l, err);
}

/* A regular file was checked when it got its number; one that changed since is checked again. A named pipe is
 * text as it comes. */
static thea_rc begin_file(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    char reason[160];
    struct stat at;
    uint64_t bytes = 0;
    const char *name = load_name(l, item);
    l->fd = load_open_file(l, item);
    const struct manifest_item *it = &l->manifest.items[item]; /* now: opening may have found new ones */
    if (l->fd < 0 || fstat(l->fd, &at) != 0) {
        snprintf(reason, sizeof reason, "%s: %s", errno == ENOENT ? "has vanished" : "unreadable",
                 strerror(errno));
        return fail_stream(st, l, item, name, reason, err);
    }
    bool regular = S_ISREG(at.st_mode);
    if (regular) load_changed(l, item, &at);
    if (it->checked) bytes = (uint64_t)at.st_size;
    if (regular && !it->checked &&
        !text_reader_check(l->fd, (uint64_t)l->max_bytes, &bytes, reason, sizeof reason))
        return fail_stream(st, l, item, name, reason, err);
    stage_working_on(st, "%s", name);
    l->item = item;
    l->reader = (struct text_reader){
        .fd = l->fd, .name = name, .limit = regular ? bytes : (uint64_t)l->max_bytes, .checked = regular};
    start_stream(st, l, item, name, regular ? (int64_t)bytes : -1);
    return put_file_piece(st, l, err);
}

static thea_rc begin_prompt(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    const char *id = l->manifest.items[item].path;
    if (!load_is_prompt(l, item, &l->text))
        return fail_stream(st, l, item, id, "this prompt is not given any more", err);
    l->text_len = strlen(l->text);
    start_stream(st, l, item, id, (int64_t)l->text_len);
    return put_text_piece(st, l);
}

static thea_rc begin_document(struct stage *st, struct load *l, const struct manifest_span *span,
                              struct thea_err *err)
{
    if (span->end > 0) return next_record(st, l, span, err);
    size_t item = span->item + (l->next - span->first);
    switch (l->manifest.items[item].kind) {
    case ITEM_PROMPT: return begin_prompt(st, l, item, err);
    case ITEM_STDIN: return begin_stdin(st, l, item, err);
    case ITEM_RECORDS: return fail_record(st, l, item, "has vanished", err);
    default: return begin_file(st, l, item, err);
    }
}

thea_rc load_emit(struct stage *st, struct load *l, struct thea_err *err)
{
    if (l->stream != NULL) return put_piece(st, l, err);
    if (stage_draining(st)) return THEA_DONE;
    const struct manifest_span *span = manifest_find(&l->manifest, l->next);
    return span != NULL ? begin_document(st, l, span, err) : THEA_DONE;
}
