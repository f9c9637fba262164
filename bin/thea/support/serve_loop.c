/* See serve_loop.h. */
#include "bin/thea/support/serve_loop.h"

#include "graph/log.h"
#include "graph/status.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WARM_UP_ID    "warm-up"
#define DRAIN_MOST_NS (UINT64_C(30) * 1000000000)
enum { POLL_HTTP = SERVE_PIPE_POLLS, POLL_SIGNAL, POLLS, WAIT_MS = 1000 };

/* --- answers --- */

static void answer(struct serve *s, struct serve_job *job)
{
    struct http_reply reply = {0};
    struct http_held *held = job->held;
    if (job->failed.status != 0) {
        serve_error_reply(&job->failed, &reply);
    } else {
        serve_answer(s->model, job->vectors, job->count, job->base64, job->tokens, &reply);
        snprintf(reply.note, sizeof reply.note, "%zu input%s, %zu tokens", job->count,
                 job->count == 1 ? "" : "s", job->tokens);
    }
    reply.close = s->draining;
    serve_jobs_remove(&s->jobs, job);
    http_answer(held, &reply);
}

/* Nothing will come of what waits. */
static void give_up(struct serve *s, const char *why)
{
    for (size_t i = 0; i < s->jobs.count; i++) {
        struct serve_job *job = &s->jobs.items[i];
        if (job->held == NULL) continue;
        serve_error_set(&job->failed, 503, NULL, "shutting_down", "%s", why);
        answer(s, job);
    }
}

static size_t count_numbers(const char *line)
{
    size_t n = 1;
    const char *at = strchr(line, '['), *end = at != NULL ? strchr(at, ']') : NULL;
    if (end == NULL || end == at + 1) return 0;
    for (; at < end; at++) n += *at == ',';
    return n;
}

static void warmed_up(struct serve *s, const char *line)
{
    s->model->dimensions = count_numbers(line);
    if (s->model->dimensions == 0) {
        (void)thea_fail(&s->failed, THEA_ESERVICE, "the pipeline '%s' gives no vector:\n  its answer  %.400s",
                        s->label, line);
        return;
    }
    s->ready = true;
    fprintf(stderr, "serving %s: %s, %zu numbers, at %s/v1/embeddings\n", s->label, s->model->name,
            s->model->dimensions, http_url(s->http));
}

static void on_line(void *context, char *line, size_t len)
{
    struct serve *s = context;
    (void)len;
    if (!s->ready && strstr(line, "\"" WARM_UP_ID "\"") != NULL) {
        warmed_up(s, line);
        return;
    }
    struct serve_job *job = serve_jobs_line(&s->jobs, line);
    if (job != NULL) answer(s, job);
}

/* --- signals --- */

static int open_signals(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, before);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void take_signals(struct serve *s, int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        s->aborted = s->draining;
        if (!s->draining) s->signal = (int)info.ssi_signo;
        if (!s->draining && !s->quiet)
            fprintf(stderr, "%zu request%s to answer, then it ends (again: at once)\n", s->jobs.open,
                    s->jobs.open == 1 ? "" : "s");
        s->draining = true;
        http_quiet(s->http);
    }
}

/* --- the loop --- */

static void wait_and_handle(struct serve *s, int signals)
{
    struct pollfd fds[POLLS];
    serve_pipe_polls(&s->pipe, fds);
    fds[POLL_HTTP] = (struct pollfd){.fd = http_fd(s->http), .events = POLLIN};
    fds[POLL_SIGNAL] = (struct pollfd){.fd = signals, .events = POLLIN};
    if (poll(fds, POLLS, WAIT_MS) < 0 && errno != EINTR) {
        (void)thea_fail(&s->failed, THEA_EOS, "poll: %s", strerror(errno));
        return;
    }
    take_signals(s, signals);
    serve_pipe_handle(&s->pipe, on_line, s);
    http_handle(s->http); /* also after answers: they leave by it */
}

static bool pipeline_is_there(struct serve *s)
{
    if (s->pipe.pid > 0) return true;
    if (!s->ready) return false; /* it has said why */
    (void)thea_fail(&s->failed, THEA_ESERVICE, "the pipeline '%s' has ended with status %d", s->label,
                    s->pipe.status);
    return false;
}

/* All is answered, and the answers have left; or it takes too long. */
static bool is_drained(struct serve *s, uint64_t *since_ns)
{
    uint64_t now_ns = status_now_ns();
    if (*since_ns == 0) *since_ns = now_ns;
    if (s->aborted || now_ns - *since_ns > DRAIN_MOST_NS) give_up(s, "the server is shutting down");
    return s->jobs.open == 0 && (s->aborted || !http_is_busy(s->http) || now_ns - *since_ns > DRAIN_MOST_NS);
}

/* Its last documents are done: let it end in order. */
static void end_pipeline(struct serve *s)
{
    uint64_t begun_ns = status_now_ns();
    serve_pipe_finish(&s->pipe);
    while (!s->aborted && s->pipe.pid > 0 && status_now_ns() - begun_ns < DRAIN_MOST_NS) {
        struct pollfd fds[SERVE_PIPE_POLLS];
        serve_pipe_polls(&s->pipe, fds);
        poll(fds, SERVE_PIPE_POLLS, WAIT_MS);
        serve_pipe_handle(&s->pipe, on_line, s);
    }
}

int serve_loop(struct serve *s)
{
    sigset_t before;
    uint64_t drain_ns = 0;
    int signals = open_signals(&before), status;
    static const char warm_up[] = "{\"id\": \"" WARM_UP_ID "\", \"text\": \"warm up\"}\n";
    serve_pipe_send(&s->pipe, warm_up, sizeof warm_up - 1);
    while (s->failed.rc == THEA_OK && pipeline_is_there(s) && !(s->draining && is_drained(s, &drain_ns)))
        wait_and_handle(s, signals);
    if (s->draining && s->failed.rc == THEA_OK && s->pipe.pid > 0) {
        end_pipeline(s);
        status = 128 + s->signal;
    } else if (s->failed.rc != THEA_OK) {
        status = thea_log_failure(&s->failed);
    } else {
        status =
            s->pipe.status != 0 ? s->pipe.status : THEA_ESERVICE; /* it never came up, and has said why */
    }
    give_up(s, "the server has lost its pipeline");
    http_handle(s->http);
    close(signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}
