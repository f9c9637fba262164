/* The control channels: what processes say, and saying things to them. The vocabulary: docs/architecture.md,
 * "Control". Nothing that a process says is believed beyond its own affairs: a message that makes no sense is
 * told once and passed over. */
#include "graph/control/supervisor.h"

#include <stdlib.h>
#include <string.h>

/* --- opening and closing --- */

thea_rc supervisor_control_open(struct child *c, int *theirs, struct thea_err *err)
{
    supervisor_control_close(c);
    c->control.ready = c->control.enough = false;
    c->control.done_epoch = c->control.passed_epoch = 0;
    return channel_pair(&c->control.channel, theirs, err);
}

void supervisor_control_close(struct child *c)
{
    channel_free(c->control.channel);
    c->control.channel = NULL;
}

/* --- saying --- */

struct json_node *supervisor_word(const char *what)
{
    struct json_node *m = json_new_map();
    json_put(m, "do", json_new_string(what));
    return m;
}

void supervisor_say(struct supervisor *s, struct child *c, struct json_node *message)
{
    struct thea_err err;
    if (c->control.channel == NULL || c->ended) {
        json_free(message);
        return;
    }
    if (channel_send(c->control.channel, message, &err) == THEA_OK) return;
    struct buf text = {0};
    buf_printf(&text, "thea: warning: stage %s is ended: %s", c->process->name, thea_err_message(&err));
    supervisor_tell(s, text.data);
    buf_fini(&text);
    supervisor_kill(c, SUPERVISOR_OURS);
}

void supervisor_say_all(struct supervisor *s, const struct json_node *message)
{
    for (size_t i = 0; i < s->count; i++) supervisor_say(s, &s->children[i], json_copy_node(message));
}

void supervisor_say_sources(struct supervisor *s, const struct json_node *message)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].process->source) supervisor_say(s, &s->children[i], json_copy_node(message));
}

struct child *supervisor_source_of(struct supervisor *s, uint64_t stream)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (c->process->source && c->control.source == stream >> SUPERVISOR_SOURCE_SHIFT) return c;
    }
    return NULL;
}

static bool held_back(const struct supervisor *s)
{
    return s->paused || s->holding;
}

static void say_hold(struct supervisor *s)
{
    struct json_node *m = supervisor_word(held_back(s) ? "pause" : "go");
    supervisor_say_sources(s, m);
    json_free(m);
}

void supervisor_pause(struct supervisor *s)
{
    s->paused = true;
    say_hold(s);
}

void supervisor_go(struct supervisor *s)
{
    s->paused = false;
    say_hold(s);
}

static struct json_node *total_word(const struct child *source)
{
    struct json_node *m = supervisor_word("total");
    json_put(m, "source", json_new_int((int64_t)source->control.source));
    json_put(m, "streams", json_new_int((int64_t)source->control.total));
    return m;
}

static void brief_sink(struct supervisor *s, struct child *sink)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (c->process->source && c->control.total != UINT64_MAX) supervisor_say(s, sink, total_word(c));
    }
}

static void brief_source(struct supervisor *s, struct child *source)
{
    supervisor_tell_committed(s, source);
    supervisor_tell_troubles(s, source);
    if (held_back(s)) supervisor_say(s, source, supervisor_word("pause"));
}

void supervisor_brief(struct supervisor *s, struct child *c)
{
    if (c->process->sink) brief_sink(s, c);
    if (c->process->source) brief_source(s, c);
    if (s->phase == SUPERVISOR_DRAINING) supervisor_say(s, c, supervisor_word("drain"));
    supervise_socket_brief(s->socket, c);
}

/* --- hearing --- */

/* A number of the message that cannot be anything else; UINT64_MAX: there is none. */
static uint64_t number_of(const struct json_node *m, const char *key)
{
    const struct json_node *n = json_member(m, key);
    return json_kind(n) == JSON_INT_ && json_int(n) >= 0 ? (uint64_t)json_int(n) : UINT64_MAX;
}

static bool hear_ready(struct supervisor *s, struct child *c, const struct json_node *m)
{
    c->control.speaks = c->control.ready = true;
    c->control.final = c->process->sink && json_bool_or(m, "final", false);
    if (!s->holding) return true;
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].process->sink && !s->children[i].control.ready) return true;
    s->holding = false;
    supervisor_tell_commits(s); /* first, so that nothing is sent in vain */
    say_hold(s);
    return true;
}

static bool hear_commit(struct supervisor *s, struct child *c, const struct json_node *m)
{
    struct ranges got = {0};
    uint64_t one = number_of(m, "stream");
    const struct json_node *list = json_member(m, "streams");
    bool good =
        c->process->sink && (list != NULL ? ranges_read(&got, list, NULL) == THEA_OK : one != UINT64_MAX);
    if (good && list == NULL) ranges_add(&got, one, one);
    s->tracked |= good;
    for (size_t i = 0; good && i < got.count; i++)
        supervisor_committed(s, c, got.items[i].first, got.items[i].last);
    ranges_fini(&got);
    return good;
}

static bool hear_aside(struct supervisor *s, struct child *c, const struct json_node *m)
{
    uint64_t stream = number_of(m, "stream");
    if (!c->process->sink || stream == UINT64_MAX) return false;
    s->tracked = true;
    ranges_add(&s->aside, stream, stream);
    supervisor_committed(s, c, stream, stream);
    return true;
}

static bool hear_held(struct supervisor *s, struct child *c, const struct json_node *m)
{
    uint64_t stream = number_of(m, "stream");
    if (!c->process->sink || stream == UINT64_MAX) return false;
    if (number_of(m, "epoch") == s->epoch) supervisor_cleared(s, stream, status_now_ns());
    return true;
}

static bool hear_failed(struct supervisor *s, struct child *c, const struct json_node *m)
{
    if (!c->process->sink || number_of(m, "stream") == UINT64_MAX) return false;
    supervisor_failed(s, m);
    return true;
}

static bool hear_total(struct supervisor *s, struct child *c, const struct json_node *m)
{
    uint64_t total = number_of(m, "streams");
    if (!c->process->source || total == UINT64_MAX) return false;
    c->control.total = total;
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].process->sink) supervisor_say(s, &s->children[i], total_word(c));
    return true;
}

static bool hear_done(struct supervisor *s, struct child *c, const struct json_node *m)
{
    (void)s;
    uint64_t epoch = number_of(m, "epoch");
    if (!c->process->sink || epoch == UINT64_MAX) return false;
    c->control.done_epoch = epoch;
    return true;
}

static bool hear_passed(struct supervisor *s, struct child *c, const struct json_node *m)
{
    (void)s;
    uint64_t epoch = number_of(m, "epoch");
    if (c->process->sink || epoch == UINT64_MAX) return false;
    c->control.passed_epoch = epoch;
    return true;
}

/* Eof was sent to a replica that goes; that it arrived is heard from there. */
static bool hear_left(struct supervisor *s, struct child *c, const struct json_node *m)
{
    (void)s, (void)c;
    return json_member(m, "address") != NULL;
}

static bool hear_enough(struct supervisor *s, struct child *c, const struct json_node *m)
{
    (void)m;
    if (!c->process->sink) return false;
    supervisor_has_enough(s, c);
    return true;
}

/* Both ends live and yet do not reach each other: the receiver is started again. While one of them is being
 * started there is nothing to do but wait. */
static bool hear_link_down(struct supervisor *s, struct child *c, const struct json_node *m)
{
    uint64_t number = number_of(m, "link");
    const struct plan_link *ln = NULL;
    for (size_t i = 0; i < s->plan->link_count && ln == NULL; i++)
        if (s->plan->links[i].number == number) ln = &s->plan->links[i];
    if (ln == NULL || ln->from >= s->count || ln->to >= s->count) return false;
    struct child *from = &s->children[ln->from], *to = &s->children[ln->to];
    if ((c != from && c != to) || !from->control.ready || !to->control.ready) return c == from || c == to;
    if (s->phase > SUPERVISOR_DRAINING || from->ended || to->ended) return true;
    struct buf text = {0};
    buf_printf(&text, "thea: warning: %s and %s do not reach each other: %s is started again",
               from->process->name, to->process->name, to->process->name);
    if (!s->o->quiet) supervisor_tell(s, text.data);
    buf_fini(&text);
    supervisor_kill(to, SUPERVISOR_OURS);
    return true;
}

static const struct {
    const char *word;
    bool (*hear)(struct supervisor *s, struct child *c, const struct json_node *m); /* false: nonsense */
} words[] = {{"ready", hear_ready},
             {"commit", hear_commit},
             {"aside", hear_aside},
             {"held", hear_held},
             {"failed", hear_failed},
             {"total", hear_total},
             {"done", hear_done},
             {"enough", hear_enough},
             {"link_down", hear_link_down},
             {"passed", hear_passed},
             {"linked", supervisor_hear_linked},
             {"left", hear_left}};

static void take(struct supervisor *s, struct child *c, const struct json_node *m)
{
    const char *word = json_text_or(m, "did", "");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0 && words[i].hear(s, c, m)) return;
    char *line = json_print(m, 0, 0);
    struct buf text = {0};
    buf_printf(&text, "thea: warning: stage %s said what nobody understands: %.200s", c->process->name, line);
    supervisor_tell(s, text.data);
    buf_fini(&text);
    free(line);
}

void supervisor_hear(struct supervisor *s, struct child *c)
{
    struct thea_err err;
    thea_rc rc = THEA_OK;
    if (c->control.channel != NULL) channel_flush(c->control.channel);
    while (c->control.channel != NULL && rc == THEA_OK) {
        struct json_node *m = NULL;
        rc = channel_receive(c->control.channel, &m, &err);
        if (rc == THEA_OK) take(s, c, m);
        json_free(m);
    }
    if (rc == THEA_OK || rc == THEA_AGAIN) return;
    if (rc != THEA_DONE) { /* killed before its channel is closed, so that this is what it dies of */
        struct buf text = {0};
        buf_printf(&text, "thea: warning: stage %s is ended: %s", c->process->name, thea_err_message(&err));
        supervisor_tell(s, text.data);
        buf_fini(&text);
        supervisor_kill(c, SUPERVISOR_OURS);
    }
    supervisor_control_close(c);
}

void supervisor_hear_all(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) supervisor_hear(s, &s->children[i]);
}
