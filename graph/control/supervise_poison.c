/* Documents that fail, and documents that processes die on: fabric.md section 10.
 *
 * An error frame in a document's place, or the death of the process that worked on it, is a try; after so
 * many the document is set aside, with its reason, and the run goes on. A process that dies between two
 * documents, or of a SIGKILL from outside, accuses none. If it was working on several, each of them is run
 * alone: only a death with one accused is a try. */
#include "graph/control/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUSPECT_PATIENCE_NS (UINT64_C(60) * 1000000000)
enum { TRIES_MAX_BYTES = 1 << 20 }; /* of the file, beyond what is needed */

/* --- what is known of a stream --- */

static struct supervisor_trouble *trouble_of(struct supervisor *s, uint64_t stream)
{
    for (size_t i = 0; i < s->trouble_count; i++)
        if (s->troubles[i].stream == stream) return &s->troubles[i];
    s->troubles = reallocarray(s->troubles, s->trouble_count + 1, sizeof *s->troubles);
    if (s->troubles == NULL) abort();
    s->troubles[s->trouble_count] = (struct supervisor_trouble){.stream = stream};
    return &s->troubles[s->trouble_count++];
}

static void set_reason(struct supervisor_trouble *t, const char *stage, const char *reason)
{
    char *why = strdup(reason), *where = strdup(stage);
    if (why == NULL || where == NULL) abort();
    free(t->reason);
    free(t->stage);
    t->reason = why;
    t->stage = where;
}

static char *print_trouble(const struct supervisor_trouble *t)
{
    struct json_node *line = json_new_map();
    json_put(line, "stream", json_new_int((int64_t)t->stream));
    json_put(line, "tries", json_new_int(t->tries));
    json_put(line, "stage", json_new_string(t->stage));
    json_put(line, "reason", json_new_string(t->reason));
    json_put(line, "aside", json_new_bool(t->aside));
    if (t->unread) json_put(line, "unread", json_new_bool(true));
    char *text = json_print(line, 0, 0);
    json_free(line);
    return text;
}

/* Of what is committed nobody needs to know any more how it came to be: a run that goes on for weeks has
 * documents that fail, too. */
static thea_rc write_anew(struct supervisor *s, struct thea_err *err)
{
    struct buf lines = {0};
    for (size_t i = 0; i < s->trouble_count; i++) {
        char *line = print_trouble(&s->troubles[i]);
        buf_printf(&lines, "%s\n", line);
        free(line);
    }
    s->tries_bytes = 0;
    thea_rc rc = rundir_write(s->o->run, "tries", buf_text(&lines), lines.len, err);
    buf_fini(&lines);
    return rc;
}

/* One line of the run directory's file `tries`; an earlier start's tries count on. */
static void record(struct supervisor *s, const struct supervisor_trouble *t)
{
    struct thea_err err;
    char *text = print_trouble(t);
    s->tries_bytes += strlen(text) + 1;
    thea_rc rc = s->tries_bytes > TRIES_MAX_BYTES ? write_anew(s, &err)
                                                  : rundir_append(s->o->run, "tries", text, &err);
    if (rc != THEA_OK) supervisor_tell(s, thea_err_message(&err));
    free(text);
}

static void trouble_fini(struct supervisor_trouble *t)
{
    free(t->reason);
    free(t->stage);
}

void supervisor_forget_troubles(struct supervisor *s, uint64_t first, uint64_t last)
{
    for (size_t i = s->trouble_count; i-- > 0;) {
        struct supervisor_trouble *t = &s->troubles[i];
        if (t->stream < first || t->stream > last) continue;
        trouble_fini(t);
        *t = s->troubles[--s->trouble_count];
    }
}

thea_rc supervisor_read_tries(struct supervisor *s, struct thea_err *err)
{
    struct buf path = {0};
    char *line = NULL;
    size_t room = 0;
    (void)err;
    buf_printf(&path, "%s/tries", s->o->run->path);
    FILE *f = fopen(path.data, "re");
    buf_fini(&path);
    for (ssize_t n; f != NULL && (n = getline(&line, &room, f)) > 0;) {
        struct json_node *one = NULL;
        if (json_parse(&one, line, (size_t)n, "tries", NULL) != THEA_OK) continue; /* cut by a crash */
        int64_t stream = json_int_or(one, "stream", -1);
        if (stream >= 0) {
            struct supervisor_trouble *t = trouble_of(s, (uint64_t)stream);
            t->tries = (unsigned)json_int_or(one, "tries", t->tries);
            t->aside = json_bool_or(one, "aside", false);
            t->unread = json_bool_or(one, "unread", false);
            set_reason(t, json_text_or(one, "stage", ""), json_text_or(one, "reason", ""));
            if (t->aside) ranges_add(&s->aside, t->stream, t->stream);
        }
        json_free(one);
    }
    free(line);
    if (f != NULL) fclose(f);
    return THEA_OK;
}

void supervisor_poison_fini(struct supervisor *s)
{
    for (size_t i = 0; i < s->trouble_count; i++) trouble_fini(&s->troubles[i]);
    free(s->troubles);
    free(s->suspects.items);
    free(s->bad_document);
}

/* --- what becomes of it --- */

static void say_retry(struct supervisor *s, const struct supervisor_trouble *t)
{
    struct child *source = supervisor_source_of(s, t->stream);
    struct json_node *m = supervisor_word("retry");
    json_put(m, "stream", json_new_int((int64_t)t->stream));
    json_put(m, "attempt", json_new_int(t->attempt));
    if (source != NULL)
        supervisor_say(s, source, m);
    else
        json_free(m);
}

static void say_aside(struct supervisor *s, struct child *source, const struct supervisor_trouble *t)
{
    struct json_node *m = supervisor_word("aside");
    json_put(m, "stream", json_new_int((int64_t)t->stream));
    json_put(m, "attempt", json_new_int(t->attempt));
    json_put(m, "tries", json_new_int(t->tries));
    json_put(m, "reason", json_new_string(t->reason));
    if (t->unread) json_put(m, "unread", json_new_bool(true));
    supervisor_say(s, source, m);
}

void supervisor_tell_troubles(struct supervisor *s, struct child *source)
{
    for (size_t i = 0; i < s->trouble_count; i++) {
        const struct supervisor_trouble *t = &s->troubles[i];
        bool own = t->stream >> SUPERVISOR_SOURCE_SHIFT == source->control.source;
        if (own && t->aside && !ranges_has(&s->committed, t->stream)) say_aside(s, source, t);
    }
}

/* on_error: stop. */
static void stop_run(struct supervisor *s, struct child *c)
{
    for (size_t i = 0; i < s->count; i++) s->children[i].waits = false;
    supervisor_note_failure(s, c);
}

static void tell_aside(struct supervisor *s, const struct supervisor_trouble *t, const char *document)
{
    struct buf text = {0};
    if (s->o->quiet) return;
    buf_printf(&text, "thea: warning: %s: set aside after %u %s: %s",
               document[0] != '\0' ? document : "a document", t->tries, t->tries == 1 ? "try" : "tries",
               t->reason);
    supervisor_tell(s, text.data);
    buf_fini(&text);
}

/* One try more. true: the stream is given up. document: its name, and how far it came. */
static bool count_try(struct supervisor *s, struct supervisor_trouble *t, const struct child *c,
                      const char *document, const char *reason)
{
    const struct spec_stage *stage = supervisor_stage(s, c);
    t->tries++;
    set_reason(t, c->process->name, reason);
    t->aside = stage->on_error == SPEC_ON_ERROR_SKIP ||
               (stage->on_error == SPEC_ON_ERROR_RETRY && t->tries >= (unsigned)stage->tries);
    record(s, t);
    if (t->aside) tell_aside(s, t, document);
    return t->aside;
}

/* --- error frames --- */

/* A process, or any of a stage. */
static struct child *child_named(struct supervisor *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        size_t n = supervisor_stage_name(c->process);
        bool stage = strncmp(c->process->name, name, n) == 0 && name[n] == '\0';
        if (stage || strcmp(c->process->name, name) == 0) return c;
    }
    return NULL;
}

/* "a.md: not UTF-8"; free() it. */
static char *print_document(const struct json_node *message)
{
    struct buf text = {0};
    const char *id = json_text_or(message, "id", NULL),
               *reason = json_text_or(message, "reason", "it failed");
    buf_printf(&text, "%s%s%s", id != NULL ? id : "", id != NULL ? ": " : "", reason);
    return buf_take(&text);
}

void supervisor_failed(struct supervisor *s, const struct json_node *message)
{
    uint64_t stream = (uint64_t)json_int_or(message, "stream", 0);
    int64_t attempt = json_int_or(message, "attempt", 0), epoch = json_int_or(message, "epoch", -1);
    struct child *c = child_named(s, json_text_or(message, "stage", ""));
    if (c == NULL) c = supervisor_source_of(s, stream);
    if (c == NULL || s->phase > SUPERVISOR_DRAINING || ranges_has(&s->committed, stream)) return;
    if (epoch >= 0 && (uint64_t)epoch < s->epoch) return; /* it comes again anyway */
    struct supervisor_trouble *t = trouble_of(s, stream);
    if (t->aside || (attempt < t->attempt && t->epoch == s->epoch))
        return; /* another sink's word of that try */
    supervisor_cleared(s, stream, status_now_ns());
    bool aside =
        count_try(s, t, c, json_text_or(message, "id", ""), json_text_or(message, "reason", "it failed"));
    if (supervisor_stage(s, c)->on_error == SPEC_ON_ERROR_STOP) {
        s->bad_document = print_document(message);
        stop_run(s, c);
        return;
    }
    t->attempt = (attempt > t->attempt ? (uint32_t)attempt : t->attempt) + 1;
    t->epoch = s->epoch;
    struct child *source = supervisor_source_of(s, stream);
    if (!aside)
        say_retry(s, t);
    else if (source != NULL)
        say_aside(s, source, t);
}

/* --- deaths --- */

/* Was it something that a document can do? */
static bool is_counted(struct supervisor *s, const struct child *c)
{
    if (c->killed_for == SUPERVISOR_OURS || supervisor_lost_peer(c)) return false;
    if (c->killed_for != SUPERVISOR_NOT_KILLED) return true;
    switch (c->signal) {
    case 0: return c->exit_status != 0;
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT: return true;
    case SIGKILL: {
        uint64_t before = s->oom_kills;
        s->oom_kills = supervisor_oom_kills();
        return s->oom_kills > before;
    }
    default: return false;
    }
}

static void suspect(struct supervisor *s, uint64_t stream)
{
    for (size_t i = 0; i < s->suspects.count; i++)
        if (s->suspects.items[i] == stream) return;
    s->suspects.items = reallocarray(s->suspects.items, s->suspects.count + 1, sizeof *s->suspects.items);
    if (s->suspects.items == NULL) abort();
    s->suspects.items[s->suspects.count++] = stream;
}

static void forget_suspect(struct supervisor *s, uint64_t stream)
{
    for (size_t i = 0; i < s->suspects.count; i++) {
        if (s->suspects.items[i] != stream) continue;
        s->suspects.count--;
        memmove(s->suspects.items + i, s->suspects.items + i + 1,
                (s->suspects.count - i) * sizeof *s->suspects.items);
        return;
    }
}

static void convict(struct supervisor *s, struct child *c, uint64_t stream)
{
    struct buf reason = {0};
    char work[sizeof c->page->work];
    struct supervisor_trouble *t = trouble_of(s, stream);
    if (t->aside) return;
    status_get_work(c->page, work, sizeof work);
    buf_printf(&reason, "stage %s ", c->process->name);
    supervisor_print_death(c, &reason);
    struct child *source = supervisor_source_of(s, stream);
    t->unread = source == c;
    bool aside = count_try(s, t, c, work, reason.data);
    buf_fini(&reason);
    if (supervisor_stage(s, c)->on_error == SPEC_ON_ERROR_STOP) {
        s->why = "its on_error is stop";
        stop_run(s, c);
    }
    if (!aside) return; /* the new epoch brings it again */
    forget_suspect(s, stream);
    if (source != NULL) say_aside(s, source, t);
}

void supervisor_accuse(struct supervisor *s, struct child *c)
{
    uint64_t streams[STATUS_WORK_MAX], open[STATUS_WORK_MAX];
    size_t n = status_get_streams(c->page, streams), count = 0;
    bool counted = is_counted(s, c);
    for (size_t i = 0; i < n; i++)
        if (!ranges_has(&s->committed, streams[i])) open[count++] = streams[i];
    if (!counted || count == 0) return;
    if (count == 1)
        convict(s, c, open[0]);
    else
        for (size_t i = 0; i < count; i++) suspect(s, open[i]);
}

/* --- one alone --- */

void supervisor_isolate(struct supervisor *s, uint64_t now_ns)
{
    if (s->suspects.count == 0 && !s->suspects.alone) return;
    struct json_node *m = supervisor_word(s->suspects.count > 0 ? "only" : "all");
    if (s->suspects.count > 0) json_put(m, "stream", json_new_int((int64_t)s->suspects.items[0]));
    supervisor_say_sources(s, m);
    json_free(m);
    s->suspects.since_ns = now_ns;
    s->suspects.alone = s->suspects.count > 0;
}

void supervisor_cleared(struct supervisor *s, uint64_t stream, uint64_t now_ns)
{
    size_t before = s->suspects.count;
    bool alone = before > 0 && s->suspects.items[0] == stream;
    forget_suspect(s, stream);
    if (alone && s->suspects.count < before) supervisor_isolate(s, now_ns);
}

/* A suspect that neither crashes nor comes out: then we cannot find out this way. */
void supervisor_suspects_expire(struct supervisor *s, uint64_t now_ns)
{
    if (s->suspects.count == 0 || now_ns - s->suspects.since_ns < SUSPECT_PATIENCE_NS) return;
    s->suspects.count = 0;
    supervisor_isolate(s, now_ns);
}
