/* The run's socket in the supervisor: see supervise_socket.h. Everything runs on the supervisor's one thread,
 * between two polls. */
#include "graph/control/supervise_socket.h"

#include "graph/control/run_socket.h"
#include "graph/control/supervise_metrics.h"
#include "graph/control/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Somebody who looks, for as long as the client stays connected. */
struct tap {
    uint64_t client;
    char *glob, *address;
    struct json_node *word; /* what the processes are told */
};

struct supervise_socket {
    struct supervisor *s;
    struct tap *taps;
    size_t tap_count;
    struct run_socket *socket;
    struct supervise_metrics *metrics; /* NULL: nobody asked for it */
    int epoll;                         /* both behind one descriptor */
};

/* --- answers --- */

static struct json_node *done(void)
{
    struct json_node *out = json_new_map();
    json_put(out, "ok", json_new_bool(true));
    return out;
}

/* Others may stand in another directory. */
static void put_path(struct json_node *map, const char *key, const char *path)
{
    char *real = path != NULL ? realpath(path, NULL) : NULL;
    json_put(map, key, json_new_string(real != NULL ? real : path));
    free(real);
}

static struct json_node *who(const struct supervise_socket *k)
{
    struct json_node *out = json_new_map();
    char *base = rundir_base();
    json_put(out, "name", json_new_string(k->s->o->run->name));
    put_path(out, "directory", k->s->o->run->path);
    put_path(out, "runs", base);
    put_path(out, "from", "."); /* where it was started: a resume goes there, too */
    json_put(out, "pid", json_new_int(getpid()));
    json_put(out, "version", json_new_string(THEA_VERSION));
    free(base);
    return out;
}

static struct json_node *stop(struct supervise_socket *k, const struct json_node *question)
{
    bool now = json_bool_or(question, "now", false);
    supervisor_interrupt(k->s, SIGTERM, status_now_ns());
    if (now && k->s->phase < SUPERVISOR_TERMINATING) supervisor_interrupt(k->s, SIGTERM, status_now_ns());
    return done();
}

/* A run that ends anyway takes no such word any more. */
static struct json_node *pause_or_go(struct supervise_socket *k, bool pause)
{
    if (k->s->phase != SUPERVISOR_RUNNING) return run_socket_refusal(THEA_EBUSY, "the run is ending");
    if (pause)
        supervisor_pause(k->s);
    else
        supervisor_go(k->s);
    return done();
}

static struct json_node *scale(struct supervise_socket *k, const struct json_node *question)
{
    struct thea_err err;
    int64_t replicas = json_int_or(question, "replicas", 0);
    if (replicas < 0 || replicas > INT32_MAX) replicas = 0;
    thea_rc rc = supervisor_scale(k->s, json_text_or(question, "stage", ""), (int)replicas, &err);
    return rc == THEA_OK ? done() : run_socket_refusal(rc, thea_err_message(&err));
}

/* --- taps --- */

/* "layers*", "layers/1", and "layers" for all of a stage. */
static bool is_tapped(const struct tap *t, const struct child *c)
{
    char stage[128];
    const char *name = c->process->name;
    snprintf(stage, sizeof stage, "%.*s", (int)supervisor_stage_name(c->process), name);
    return !c->process->gone && (fnmatch(t->glob, name, 0) == 0 || strcmp(t->glob, stage) == 0);
}

static bool is_alive(const struct child *c)
{
    return c->pid > 0 && !c->ended && c->control.channel != NULL;
}

static void remove_tap(struct supervise_socket *k, size_t i)
{
    struct tap *t = &k->taps[i];
    for (size_t n = 0; n < k->s->count; n++) {
        struct child *c = &k->s->children[n];
        if (!is_tapped(t, c) || !is_alive(c)) continue;
        struct json_node *word = supervisor_word("untap");
        json_put(word, "address", json_new_string(t->address));
        supervisor_say(k->s, c, word);
    }
    free(t->glob);
    free(t->address);
    json_free(t->word);
    k->taps[i] = k->taps[--k->tap_count];
}

static void forget_client(void *context, uint64_t id)
{
    struct supervise_socket *k = context;
    for (size_t i = k->tap_count; i-- > 0;)
        if (k->taps[i].client == id) remove_tap(k, i);
}

static struct tap make_tap(uint64_t id, const struct json_node *question)
{
    struct tap t = {.client = id,
                    .glob = strdup(json_text_or(question, "glob", "*")),
                    .address = strdup(json_text_or(question, "address", "")),
                    .word = supervisor_word("tap")};
    const char *port = json_text_or(question, "port", NULL);
    if (t.glob == NULL || t.address == NULL) abort();
    json_put(t.word, "address", json_new_string(t.address));
    json_put(t.word, "values", json_new_int(json_int_or(question, "values", 0)));
    if (port != NULL) json_put(t.word, "port", json_new_string(port));
    return t;
}

/* {"processes": [names]}; none that matches is refused, with the names there are. */
static struct json_node *tap(struct supervise_socket *k, uint64_t id, const struct json_node *question)
{
    struct tap t = make_tap(id, question);
    struct json_node *out = json_new_map(), *names = json_new_list();
    struct buf all = {0};
    for (size_t i = 0; i < k->s->count; i++) {
        struct child *c = &k->s->children[i];
        if (!c->process->gone) buf_printf(&all, "%s%s", all.len > 0 ? ", " : "", c->process->name);
        if (!is_tapped(&t, c)) continue;
        json_append(names, json_new_string(c->process->name));
        if (is_alive(c)) supervisor_say(k->s, c, json_copy_node(t.word));
    }
    size_t matches = json_count(names);
    json_put(out, "processes", names);
    k->taps = reallocarray(k->taps, k->tap_count + 1, sizeof *k->taps);
    if (k->taps == NULL) abort();
    k->taps[k->tap_count++] = t;
    if (matches == 0) {
        char reason[1024];
        snprintf(reason, sizeof reason, "no process matches '%.100s'\n  there are  %.800s", t.glob,
                 buf_text(&all));
        remove_tap(k, k->tap_count - 1);
        json_free(out);
        out = run_socket_refusal(THEA_EUSAGE, reason);
    }
    buf_fini(&all);
    return out;
}

void supervise_socket_brief(struct supervise_socket *k, struct child *c)
{
    for (size_t i = 0; k != NULL && i < k->tap_count; i++)
        if (is_tapped(&k->taps[i], c)) supervisor_say(k->s, c, json_copy_node(k->taps[i].word));
}

/* --- all questions --- */

static struct json_node *answer(void *context, uint64_t id, const struct json_node *question)
{
    struct supervise_socket *k = context;
    const char *ask = json_text_or(question, "ask", "");
    if (strcmp(ask, "who") == 0) return who(k);
    if (strcmp(ask, "status") == 0) return supervise_status(k->s);
    if (strcmp(ask, "stop") == 0) return stop(k, question);
    if (strcmp(ask, "pause") == 0) return pause_or_go(k, true);
    if (strcmp(ask, "resume") == 0) return pause_or_go(k, false);
    if (strcmp(ask, "tap") == 0) return tap(k, id, question);
    if (strcmp(ask, "scale") == 0) return scale(k, question);
    char reason[128];
    snprintf(reason, sizeof reason, "this run (of thea " THEA_VERSION ") does not know how to '%.40s'", ask);
    return run_socket_refusal(THEA_EUSAGE, reason);
}

/* --- life --- */

/* Not synced: after a crash of the machine nobody listens there anyway. */
static thea_rc write_name(const struct rundir *run, const char *name, struct thea_err *err)
{
    char line[RUN_SOCKET_NAME_BYTES + 2];
    int n = snprintf(line, sizeof line, "%s\n", name);
    int fd = openat(run->fd, "socket", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, line, (size_t)n) == n;
    thea_rc rc = THEA_OK;
    if (!written) rc = thea_fail(err, THEA_EIO, "cannot write %s/socket: %s", run->path, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

static thea_rc join_polls(struct supervise_socket *k, struct thea_err *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (k->epoll >= 0 && epoll_ctl(k->epoll, EPOLL_CTL_ADD, run_socket_fd(k->socket), &event) == 0 &&
        (k->metrics == NULL ||
         epoll_ctl(k->epoll, EPOLL_CTL_ADD, supervise_metrics_fd(k->metrics), &event) == 0))
        return THEA_OK;
    return thea_fail(err, THEA_EOS, "cannot poll the run's sockets: %s", strerror(errno));
}

static thea_rc open_metrics(struct supervise_socket *k, struct thea_err *err)
{
    struct supervisor *s = k->s;
    if (s->o->metrics == NULL) return THEA_OK;
    thea_rc rc = supervise_metrics_open(&k->metrics, s, s->o->metrics, err);
    if (rc != THEA_OK || s->o->quiet) return rc;
    char line[256];
    const char *url = supervise_metrics_url(k->metrics);
    snprintf(line, sizeof line, "thea: watch this run at %s/ (Prometheus: %s/metrics)", url, url);
    supervisor_tell(s, line);
    return THEA_OK;
}

thea_rc supervise_socket_open(struct supervise_socket **out, struct supervisor *s, struct thea_err *err)
{
    struct supervise_socket *k = calloc(1, sizeof *k);
    if (k == NULL) abort();
    k->s = s;
    k->epoll = -1;
    struct run_socket_ops ops = {.answer = answer, .gone = forget_client, .context = k};
    thea_rc rc = run_socket_open(&k->socket, &ops, err);
    if (rc == THEA_OK) rc = open_metrics(k, err);
    if (rc == THEA_OK) rc = join_polls(k, err);
    if (rc == THEA_OK) rc = write_name(s->o->run, run_socket_name(k->socket), err);
    if (rc != THEA_OK) {
        supervise_socket_close(k);
        return rc;
    }
    *out = k;
    return THEA_OK;
}

int supervise_socket_fd(const struct supervise_socket *k)
{
    return k != NULL ? k->epoll : -1;
}

void supervise_socket_handle(struct supervise_socket *k)
{
    if (k == NULL) return;
    run_socket_handle(k->socket);
    if (k->metrics != NULL) supervise_metrics_handle(k->metrics);
}

void supervise_socket_close(struct supervise_socket *k)
{
    if (k == NULL) return;
    while (k->tap_count > 0) remove_tap(k, k->tap_count - 1);
    free(k->taps);
    if (k->epoll >= 0) close(k->epoll);
    supervise_metrics_close(k->metrics);
    unlinkat(k->s->o->run->fd, "socket", 0); /* first: who waits for the end looks when the connection goes */
    run_socket_close(k->socket);
    free(k);
}
