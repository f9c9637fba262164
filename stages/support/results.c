/* Where results go: see results.h. */
#include "stages/support/results.h"

#include "graph/buf.h"
#include "graph/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 20 };

static char *join(const char *a, const char *b, const char *c)
{
    char *text = NULL;
    if (asprintf(&text, "%s%s%s", a, b, c) < 0) abort();
    return text;
}

/* Bytes of a path in front of its extension. */
static size_t stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot == NULL || dot == name ? strlen(path) : (size_t)(dot - path);
}

/* out.jsonl, out.1.jsonl, out.2.jsonl, …; free it. */
static char *file_name(const char *output, uint64_t number)
{
    char *text = NULL;
    int stem = (int)stem_of(output);
    int n = number == 0 ? asprintf(&text, "%s", output)
                        : asprintf(&text, "%.*s.%" PRIu64 "%s", stem, output, number, output + stem);
    if (n < 0) abort();
    return text;
}

static uint64_t size_of(const char *path)
{
    struct stat at;
    return stat(path, &at) == 0 && S_ISREG(at.st_mode) ? (uint64_t)at.st_size : 0;
}

/* Appending goes on in the last of the files that rotation has made. */
static uint64_t last_number(const char *output)
{
    for (uint64_t number = 0;; number++) {
        char *next = file_name(output, number + 1);
        bool there = access(next, F_OK) == 0;
        free(next);
        if (!there) return number;
    }
}

/* Its directory resolved, so that the same file has the same name wherever a run goes on from. */
static char *absolute(const char *path)
{
    char *dir = outlet_directory(path), *real = realpath(dir, NULL);
    const char *slash = strrchr(path, '/');
    char *text = real == NULL ? strdup(path) : join(real, "/", slash != NULL ? slash + 1 : path);
    if (text == NULL) abort();
    free(real);
    free(dir);
    return text;
}

static bool takes_back(const char *output)
{
    struct stat at;
    if (strcmp(output, "-") == 0) return false;
    return stat(output, &at) != 0 || S_ISREG(at.st_mode);
}

/* --- opening --- */

/* Files that an earlier run has rotated would stand beside this one's as if they were of it. */
static thea_rc refuse_older(const struct results_options *o, struct thea_err *err)
{
    char *next = o->rotate > 0 && !o->append && takes_back(o->output) ? file_name(o->output, 1) : NULL;
    bool there = next != NULL && access(next, F_OK) == 0;
    if (there)
        thea_fail(err, THEA_ECREATE,
                  "'%s' is there: an earlier run has rotated its output\n  accepted   --append, or another "
                  "output, or remove '%s' and those that follow it",
                  next, next);
    free(next);
    return there ? THEA_ECREATE : THEA_OK;
}

static char *journal_path(const struct results_options *o, struct thea_err *err)
{
    char *dir = join(o->run_dir, "/journal", "");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        (void)thea_fail_create(err, dir, errno);
        free(dir);
        return NULL;
    }
    char *path = join(dir, "/", o->sink);
    for (char *c = path + strlen(dir) + 1; *c != '\0'; c++)
        if (*c == '/') *c = '.';
    free(dir);
    return path;
}

static void tell_found(const struct journal *j)
{
    const struct journal_found *f = journal_found(j);
    if (f->cut_bytes > 0)
        thea_info("%s: %" PRIu64 " bytes cut off that no committed result has", journal_output(j),
                  f->cut_bytes);
    if (f->cut_lines > 0)
        thea_info("%s: %" PRIu64 " lines of the journal cut off that did not hold", journal_output(j),
                  f->cut_lines);
    if (f->commits + f->asides > 0)
        thea_info("%s: %" PRIu64 " results were there, %" PRIu64 " documents set aside", journal_output(j),
                  f->commits, f->asides);
}

/* The number in the name of the current file. */
static uint64_t number_of(const struct results *r)
{
    const char *name = journal_output(r->journal);
    size_t stem = stem_of(r->output);
    if (strcmp(name, r->output) == 0 || strncmp(name, r->output, stem) != 0 || name[stem] != '.') return 0;
    return strtoull(name + stem + 1, NULL, 10);
}

static thea_rc open_journal(struct results *r, const struct results_options *o, struct thea_err *err)
{
    char *path = journal_path(o, err), *rows = NULL, *first = NULL;
    const char *run = strrchr(o->run_dir, '/');
    if (path == NULL) return THEA_ECREATE;
    r->output = absolute(o->output);
    if (o->rows) rows = join(path, ".rows", "");
    if (access(path, F_OK) != 0 && refuse_older(o, err) != THEA_OK) { /* not of this run: it has no journal */
        free(path);
        return THEA_ECREATE;
    }
    if (o->append && o->rotate > 0) first = file_name(r->output, last_number(r->output));
    struct journal_options options = {.path = path,
                                      .run = run != NULL ? run + 1 : o->run_dir,
                                      .output = r->output,
                                      .first = first,
                                      .rows = rows,
                                      .format = o->format,
                                      .order = o->order,
                                      .append = o->append};
    thea_rc rc = journal_open(&r->journal, &options, err);
    if (rc == THEA_OK) {
        tell_found(r->journal);
        r->number = o->rows ? 0 : number_of(r);
        r->tail = journal_tail(r->journal);
    }
    free(first);
    free(rows);
    free(path);
    return rc;
}

static thea_rc open_outlet(struct results *r, const struct results_options *o, struct thea_err *err)
{
    r->output = strdup(o->output);
    if (r->output == NULL) abort();
    thea_rc rc = refuse_older(o, err);
    if (rc != THEA_OK) return rc;
    if (o->append && o->rotate > 0) r->number = last_number(r->output);
    char *name = file_name(r->output, r->number);
    rc = outlet_open(&r->out, name, o->append ? OUTLET_APPEND : OUTLET_NEW, err);
    r->tail = o->append && rc == THEA_OK && r->out.path != NULL ? size_of(name) : 0;
    free(name);
    return rc;
}

thea_rc results_open(struct results *r, const struct results_options *o, struct thea_err *err)
{
    *r = (struct results){.out = {.fd = -1}, .rotate = (uint64_t)o->rotate, .rows = o->rows};
    bool journalled = o->run_dir != NULL && takes_back(o->output);
    return journalled ? open_journal(r, o, err) : open_outlet(r, o, err);
}

void results_close(struct results *r)
{
    journal_close(r->journal);
    if (r->output != NULL) outlet_close(&r->out);
    free(r->output);
    *r = (struct results){.out = {.fd = -1}};
}

/* --- writing --- */

static thea_rc next_file(struct results *r, const char *name, struct thea_err *err)
{
    if (r->journal != NULL) return journal_rotate(r->journal, name, err);
    uint64_t bytes = r->out.bytes;
    thea_rc rc = outlet_commit(&r->out, err);
    outlet_close(&r->out);
    if (rc == THEA_OK) rc = outlet_open(&r->out, name, OUTLET_NEW, err);
    r->out.bytes = bytes;
    return rc;
}

thea_rc results_make_room(struct results *r, uint64_t bytes, struct thea_err *err)
{
    if (r->rotate == 0 || r->tail == 0 || r->tail + bytes <= r->rotate) return THEA_OK;
    char *name = file_name(r->output, r->number + 1);
    thea_rc rc = next_file(r, name, err);
    if (rc == THEA_OK) {
        r->number++;
        r->tail = 0;
    }
    free(name);
    return rc;
}

thea_rc results_put(struct results *r, uint64_t stream, uint32_t attempt, const struct iovec *parts,
                    size_t count, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += parts[i].iov_len;
    if (r->journal != NULL) rc = journal_commit(r->journal, stream, attempt, parts, count, err);
    for (size_t i = 0; r->journal == NULL && rc == THEA_OK && i < count; i++)
        rc = outlet_write(&r->out, parts[i].iov_base, parts[i].iov_len, err);
    if (rc == THEA_OK) r->tail += bytes;
    return rc == THEA_OK && r->journal != NULL ? journal_tick(r->journal, err) : rc;
}

thea_rc results_put_aside(struct results *r, uint64_t stream, uint32_t tries, const char *reason,
                          struct thea_err *err)
{
    return r->journal != NULL ? journal_aside(r->journal, stream, tries, reason, err) : THEA_OK;
}

thea_rc results_finish(struct results *r, bool whole, struct thea_err *err)
{
    if (r->journal == NULL) return outlet_commit(&r->out, err);
    if (!whole) return journal_sync(r->journal, err);
    thea_rc rc = journal_done(r->journal, err);
    if (rc == THEA_OK && r->rows) unlink(journal_output(r->journal));
    return rc;
}

/* --- reading back --- */

static char *first_line_of(const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) return NULL;
    struct buf line = {0};
    for (int c; (c = getc(f)) != EOF && c != '\n' && line.len < LINE_MAX_BYTES;) buf_add_char(&line, (char)c);
    fclose(f);
    buf_add(&line, "", 0);
    return buf_take(&line);
}

char *results_first_line(const struct results *r)
{
    char *line = NULL;
    for (uint64_t back = 0; line == NULL && back <= 1 && back <= r->number && r->output != NULL; back++) {
        char *name = file_name(r->output, r->number - back);
        line = r->tail > 0 || back > 0 ? first_line_of(name) : NULL;
        free(name);
    }
    return line != NULL ? line : join("", "", "");
}
