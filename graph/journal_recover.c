/* Recovery of a journal: which of its lines hold, and what lies behind them.
 *
 * Two readings. The first finds the first bad line, and the last sync line before it. The second follows the
 * lines: those before that sync must fit, later ones are checked against the output, and the first that does
 * not hold ends it. Nothing is changed until both are over. */
#include "graph/journal_impl.h"

#include "graph/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHECK_BYTES = 1 << 18 };

struct survey {
    uint64_t synced_end; /* end of the last sync line; 0: none */
    uint64_t good_end;   /* end of the last line before the first bad one */
    uint64_t bad_line;   /* its number, from 1; 0: none */
    uint64_t bad_lines;  /* it and all after it */
    bool done;           /* the last line before that says so */
};

/* --- the first reading --- */

static void note_line(struct survey *s, const struct journal_line *line, bool holds)
{
    if (holds && s->bad_line == 0) {
        s->good_end = line->end;
        s->done = line->kind == JOURNAL_DONE;
        if (line->kind == JOURNAL_SYNC) s->synced_end = line->end;
    }
    if (!holds || s->bad_line != 0) s->bad_lines++;
}

static thea_rc survey_lines(const struct journal *j, struct survey *s, struct thea_err *err)
{
    struct journal_reader r = {.fd = j->fd};
    struct journal_line line;
    thea_rc rc;
    while ((rc = journal_read(&r, &line, err)) == THEA_OK || rc == THEA_EDATA) {
        if (rc == THEA_EDATA && s->bad_line == 0) s->bad_line = r.line_count;
        bool late = rc == THEA_OK && s->bad_line != 0 && line.kind == JOURNAL_SYNC;
        note_line(s, &line, rc == THEA_OK);
        json_free(line.json);
        if (late) {
            rc = thea_fail(err, THEA_EDATA,
                           "the journal '%s' is damaged at line %" PRIu64 ": line %" PRIu64
                           " says that all before it was written\n"
                           "  nothing was changed; put the file back as it was, or begin a new run",
                           j->path, s->bad_line, r.line_count);
            break;
        }
    }
    buf_fini(&r.held);
    return rc == THEA_DONE ? THEA_OK : rc;
}

/* --- the output --- */

static void open_existing(struct journal *j, const char *name)
{
    if (j->out_fd >= 0) close(j->out_fd);
    free(j->name);
    j->name = strdup(name);
    if (j->name == NULL) abort();
    j->out_fd = open(name, O_RDWR | O_CLOEXEC | O_NOCTTY);
}

static uint64_t size_of(int fd)
{
    struct stat at;
    return fd >= 0 && fstat(fd, &at) == 0 && S_ISREG(at.st_mode) ? (uint64_t)at.st_size : 0;
}

/* Does the output still have what a sync line vouches for? */
static thea_rc check_size(const struct journal *j, struct thea_err *err)
{
    uint64_t size = size_of(j->out_fd);
    if (size >= j->tail || j->spent) return THEA_OK;
    return thea_fail(err, THEA_EDATA,
                     "the output '%s' is shorter than what is committed: %s%" PRIu64 " bytes of %" PRIu64 "\n"
                     "  nothing was changed; put the file back as it was, or begin a new run",
                     j->name, j->out_fd < 0 ? "it is not there, " : "", size, j->tail);
}

static bool bytes_hold(const struct journal *j, const struct journal_line *line)
{
    uint64_t at = journal_number(line, "off"), len = journal_number(line, "len");
    uint32_t crc = 0;
    if (at + len < at || size_of(j->out_fd) < at + len) return false;
    char *piece = malloc(CHECK_BYTES);
    if (piece == NULL) abort();
    while (len > 0) {
        ssize_t n = pread(j->out_fd, piece, len < CHECK_BYTES ? (size_t)len : CHECK_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        crc = crc32c(crc, piece, (size_t)n);
        at += (uint64_t)n;
        len -= (uint64_t)n;
    }
    free(piece);
    return len == 0 && crc == journal_number(line, "crc");
}

/* --- the second reading --- */

static thea_rc differs(const struct journal *j, const char *what, const char *was, const char *is,
                       struct thea_err *err)
{
    return thea_fail(err, THEA_EUSAGE,
                     "the journal '%s' was begun with %s '%s', and now it is '%s'\n"
                     "  a run goes on as it began; begin a new one",
                     j->path, what, was, is);
}

static thea_rc take_head(struct journal *j, const struct journal_line *line, const struct journal_options *o,
                         bool done, struct thea_err *err)
{
    const char *format = json_text_or(line->json, "format", ""),
               *order = json_text_or(line->json, "order", ""),
               *output = json_text_or(line->json, "output", "");
    if (strcmp(format, o->format) != 0) return differs(j, "format", format, o->format, err);
    if (strcmp(order, o->order) != 0) return differs(j, "order", order, o->order, err);
    if (strcmp(output, o->output) != 0) return differs(j, "output", output, o->output, err);
    j->base = j->tail = journal_number(line, "base");
    open_existing(j, o->rows != NULL ? o->rows : json_text_or(line->json, "name", ""));
    j->spent = done && o->rows != NULL && j->out_fd < 0;
    return THEA_OK;
}

/* A file that was full may have been taken away since; the one after it begins empty. */
static bool take_rotate(struct journal *j, const struct journal_line *line)
{
    if (journal_number(line, "file") != (uint64_t)j->file + 1) return false;
    if (j->out_fd >= 0 && size_of(j->out_fd) < j->tail) return false;
    open_existing(j, json_text_or(line->json, "name", ""));
    j->file++;
    j->tail = 0;
    return true;
}

static bool take_commit(struct journal *j, const struct journal_line *line, bool synced)
{
    uint64_t len = journal_number(line, "len");
    if (journal_number(line, "file") != j->file || journal_number(line, "off") != j->tail) return false;
    if (j->tail + len > INT64_MAX || (!synced && !bytes_hold(j, line))) return false;
    j->tail += len;
    j->found.commits++;
    return true;
}

static bool take_stream(struct journal *j, const struct journal_line *line, bool synced)
{
    uint64_t stream = journal_number(line, "stream");
    if (ranges_has(&j->streams, stream)) return false;
    if (line->kind == JOURNAL_COMMIT && !take_commit(j, line, synced)) return false;
    if (line->kind == JOURNAL_ASIDE) {
        j->found.asides++;
        ranges_add(&j->asides, stream, stream);
    }
    ranges_add(&j->streams, stream, stream);
    return true;
}

/* Does the line fit what came before it and, where no sync line vouches for that, the output? */
static bool take_line(struct journal *j, const struct journal_line *line, bool synced)
{
    bool was_done = j->found.done;
    j->found.done = line->kind == JOURNAL_DONE || (was_done && line->kind == JOURNAL_SYNC);
    switch (line->kind) {
    case JOURNAL_COMMIT:
    case JOURNAL_ASIDE:
    case JOURNAL_CANCEL: return take_stream(j, line, synced);
    case JOURNAL_ROTATE: return take_rotate(j, line);
    case JOURNAL_SYNC:
        return journal_number(line, "file") == j->file && journal_number(line, "size") == j->tail;
    case JOURNAL_DONE: return true;
    default: return false; /* a second head */
    }
}

static thea_rc out_of_place(const struct journal *j, uint64_t number, struct thea_err *err)
{
    return thea_fail(err, THEA_EDATA,
                     "the journal '%s' is damaged: line %" PRIu64 " does not follow from those before it\n"
                     "  nothing was changed; put the file back as it was, or begin a new run",
                     j->path, number);
}

/* j->at: the end of what holds. THEA_DONE: this line does not. */
static thea_rc follow(struct journal *j, const struct journal_options *o, const struct survey *s,
                      const struct journal_line *line, uint64_t number, struct thea_err *err)
{
    bool synced = line->at < s->synced_end;
    if (synced && line->kind == JOURNAL_ROTATE && j->out_fd >= 0 && check_size(j, err) != THEA_OK)
        return THEA_EDATA;
    if (number == 1) {
        if (line->kind != JOURNAL_HEAD) return out_of_place(j, number, err);
        thea_rc rc = take_head(j, line, o, s->done, err);
        if (rc != THEA_OK) return rc;
    } else if (!take_line(j, line, synced)) {
        return synced ? out_of_place(j, number, err) : THEA_DONE;
    }
    j->at = line->end;
    return j->at == s->synced_end ? check_size(j, err) : THEA_OK;
}

static thea_rc follow_lines(struct journal *j, const struct journal_options *o, struct survey *s,
                            struct thea_err *err)
{
    struct journal_reader r = {.fd = j->fd};
    struct journal_line line;
    thea_rc rc = THEA_OK;
    while (rc == THEA_OK && r.at < s->good_end) {
        rc = journal_read(&r, &line, err);
        if (rc != THEA_OK) break; /* not on the second reading, unless the file changes under the lock */
        rc = follow(j, o, s, &line, r.line_count, err);
        json_free(line.json);
    }
    if (rc == THEA_DONE) s->bad_lines++;
    while (rc == THEA_DONE && r.at < s->good_end && journal_read(&r, &line, NULL) == THEA_OK) {
        s->bad_lines++;
        json_free(line.json);
    }
    buf_fini(&r.held);
    return rc == THEA_DONE ? THEA_OK : rc;
}

/* --- afterwards --- */

static thea_rc begin(struct journal *j, const struct journal_options *o, struct thea_err *err)
{
    open_existing(j, o->rows != NULL ? o->rows : o->first != NULL ? o->first : o->output);
    j->base = j->tail = o->append ? size_of(j->out_fd) : 0;
    struct json_node *head = journal_line_new(JOURNAL_HEAD);
    json_put(head, "run", json_new_string(o->run));
    json_put(head, "format", json_new_string(o->format));
    json_put(head, "order", json_new_string(o->order));
    json_put(head, "output", json_new_string(o->output));
    json_put(head, "name", json_new_string(j->name));
    json_put(head, "base", json_new_int((int64_t)j->base));
    thea_rc rc = journal_append(j, head, err);
    return rc == THEA_OK ? journal_flush(j->fd, j->path, err) : rc;
}

static thea_rc cut(struct journal *j, const struct survey *s, struct thea_err *err)
{
    uint64_t size = size_of(j->out_fd);
    j->found.cut_lines = s->bad_lines;
    j->found.cut_bytes = j->at > 0 && size > j->tail ? size - j->tail : 0;
    if (size_of(j->fd) == j->at) return THEA_OK;
    if (ftruncate(j->fd, (off_t)j->at) != 0) return journal_fail("cut", j->path, err);
    return journal_flush(j->fd, j->path, err);
}

thea_rc journal_recover(struct journal *j, const struct journal_options *o, struct thea_err *err)
{
    struct survey s = {0};
    thea_rc rc = survey_lines(j, &s, err);
    if (rc == THEA_OK) rc = follow_lines(j, o, &s, err);
    if (rc == THEA_OK) rc = check_size(j, err); /* of what stood there before the first start */
    if (rc == THEA_OK) rc = cut(j, &s, err);
    j->unsynced = j->at > s.synced_end;
    j->recovered = j->at > 0;
    return rc == THEA_OK && j->at == 0 ? begin(j, o, err) : rc;
}
