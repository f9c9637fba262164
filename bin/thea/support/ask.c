/* Telling a live run something: see ask.h. */
#include "bin/thea/support/ask.h"

#include "graph/control/run_socket.h"
#include "graph/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct json_node *ask_question(const char *what)
{
    struct json_node *out = json_new_map();
    json_put(out, "ask", json_new_string(what));
    return out;
}

/* The supervisor's process, as this one sees it; -1: it cannot be watched from here. */
static int watch_supervisor(const struct runs_entry *e)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(channel_fd(e->channel), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0)
        return -1;
    return pidfd_open(peer.pid, 0);
}

/* The socket closes when all processes of the run are gone. The supervisor writes its report then, and with
 * its own end the directory is free for a resume. */
static void wait_end(const struct runs_entry *e, int supervisor)
{
    struct json_node *message;
    while (channel_receive(e->channel, &message, NULL) == THEA_AGAIN) {
        struct pollfd p = {.fd = channel_fd(e->channel), .events = POLLIN};
        poll(&p, 1, -1);
    }
    struct pollfd p = {.fd = supervisor, .events = POLLIN};
    if (supervisor >= 0) poll(&p, 1, RUNS_ANSWER_MS); /* it may be stuck with its last words */
}

/* Was it started where we stand? */
static bool is_here(const struct runs_entry *e)
{
    char *here = realpath(".", NULL);
    bool same = here != NULL && e->from != NULL && strcmp(here, e->from) == 0;
    free(here);
    return same;
}

/* For a command that names none. */
static thea_rc find_unnamed(struct runs_entry *out, bool must_be_here, struct thea_err *err)
{
    thea_rc rc = runs_find_live(out, NULL, err);
    if (rc != THEA_OK || is_here(out)) return rc;
    const char *from = out->from != NULL ? out->from : "a place that it does not tell";
    if (!must_be_here) {
        thea_warning("taken is the only live run, %s, which was started in %s", out->name, from);
        return THEA_OK;
    }
    thea_fail(err, THEA_EUSAGE,
              "which run? the only live one was not started here, but in %s\n  to end it  thea stop %s", from,
              out->name);
    runs_entry_fini(out);
    return THEA_EUSAGE;
}

static thea_rc find(struct runs_entry *out, const char *operand, bool must_be_here, struct thea_err *err)
{
    return operand != NULL ? runs_find_live(out, operand, err) : find_unnamed(out, must_be_here, err);
}

static thea_rc put(struct runs_entry *e, struct json_node *question, struct thea_err *err)
{
    struct json_node *answer = NULL;
    thea_rc rc = run_socket_ask(&answer, e->channel, question, RUNS_ANSWER_MS, err);
    json_free(answer);
    return rc;
}

int ask_run(const char *operand, struct json_node **questions, size_t count)
{
    struct thea_err err;
    struct runs_entry e = {0};
    thea_rc rc = find(&e, operand, false, &err);
    for (size_t i = 0; i < count; i++) {
        if (rc == THEA_OK)
            rc = put(&e, questions[i], &err);
        else
            json_free(questions[i]);
    }
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

int ask_end(const char *operand, struct json_node *question)
{
    struct thea_err err;
    struct runs_entry e = {0};
    thea_rc rc = find(&e, operand, true, &err);
    int supervisor = rc == THEA_OK ? watch_supervisor(&e) : -1;
    if (rc == THEA_OK)
        rc = put(&e, question, &err);
    else
        json_free(question);
    if (rc == THEA_OK) wait_end(&e, supervisor);
    if (supervisor >= 0) close(supervisor);
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}
