/* Telling a live run one thing: see ask.h. */
#include "bin/thea/support/ask.h"

#include "graph/control/run_socket.h"
#include "graph/log.h"

#include <poll.h>

struct json_node *ask_question(const char *what)
{
    struct json_node *out = json_new_map();
    json_put(out, "ask", json_new_string(what));
    return out;
}

/* The socket closes when all processes of the run are gone. */
static void wait_end(const struct runs_entry *e)
{
    struct json_node *message;
    while (channel_receive(e->channel, &message, NULL) == THEA_AGAIN) {
        struct pollfd p = {.fd = channel_fd(e->channel), .events = POLLIN};
        poll(&p, 1, -1);
    }
}

int ask_run(const char *operand, struct json_node *question, bool until_end)
{
    struct thea_err err;
    struct runs_entry e;
    struct json_node *answer = NULL;
    thea_rc rc = runs_find_live(&e, operand, &err);
    if (rc != THEA_OK) {
        json_free(question);
        return thea_log_failure(&err);
    }
    rc = run_socket_ask(&answer, e.channel, question, RUNS_ANSWER_MS, &err);
    if (rc == THEA_OK && until_end) wait_end(&e);
    json_free(answer);
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}
