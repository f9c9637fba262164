/* What the tests of `thea serve` share: a server of their own, and bodies that keep it busy. */
#ifndef TESTS_E2E_SERVER_H
#define TESTS_E2E_SERVER_H

#include "tests/support/run.h"
#include "tests/support/web.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { START_S = RUN_LIMIT_S, END_S = RUN_LIMIT_S };

struct server {
    struct run_child child;
    int port;
    char err[128];
};

__attribute__((unused)) static bool has_begun(void *context)
{
    struct server *s = context;
    char line[4096];
    FILE *file = fopen(s->err, "re");
    while (file != NULL && s->port == 0 && fgets(line, sizeof line, file) != NULL) {
        const char *at = strstr(line, "at http://127.0.0.1:");
        if (at != NULL) s->port = atoi(at + strlen("at http://127.0.0.1:"));
    }
    if (file != NULL) fclose(file);
    return s->port > 0 || kill(s->child.pid, 0) != 0;
}

__attribute__((unused)) static void begin(struct server *s, const char *options)
{
    *s = (struct server){0};
    run_start(&s->child, NULL, "exec env THEA_RUNS=%s thea serve embed --listen 127.0.0.1:0 %s",
              run_temp_dir(), options);
    snprintf(s->err, sizeof s->err, "%s/err", s->child.dir);
    if (run_until(has_begun, s, START_S) && s->port > 0) return;
    struct run_result r;
    run_wait(&s->child, 0, &r);
    cr_assert_fail("no server: %s", buf_text(&r.err));
}

__attribute__((unused)) static void end(struct server *s)
{
    struct run_result r;
    kill(s->child.pid, SIGTERM);
    cr_expect_eq(run_wait(&s->child, END_S, &r), 128 + SIGTERM, "%d: %s", r.status, buf_text(&r.err));
    run_result_fini(&r);
}

__attribute__((unused)) static void expect_well(struct server *s)
{
    struct web_reply r = {0};
    web_once(s->port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_once(s->port, "POST", "/v1/embeddings", NULL, "{\"model\": \"thea-mini\", \"input\": \"well?\"}", &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_reply_fini(&r);
}

/* `count` inputs of some length: work for a while. */
__attribute__((unused)) static char *large_body(size_t count)
{
    struct buf body = {0};
    buf_add_text(&body, "{\"model\": \"thea-mini\", \"input\": [");
    for (size_t i = 0; i < count; i++) {
        buf_printf(&body, "%s\"%zu", i > 0 ? ", " : "", i);
        for (int k = 0; k < 30 / RUN_SLOWER; k++) buf_add_text(&body, " and so on");
        buf_add_char(&body, '"');
    }
    buf_add_text(&body, "]}");
    return buf_take(&body);
}

__attribute__((unused)) static bool send_post(int fd, const char *body)
{
    struct buf text = {0};
    buf_printf(&text,
               "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               strlen(body), body);
    bool good = web_send(fd, text.data, text.len);
    buf_fini(&text);
    return good;
}

/* Until its inputs are in the server's hands. */
__attribute__((unused)) static void wait_for_work(struct server *s)
{
    struct web_reply r = {0};
    do cr_assert(web_once(s->port, "GET", "/health", NULL, NULL, &r));
    while (strstr(buf_text(&r.body), "\"waiting\": 0") != NULL);
    web_reply_fini(&r);
}

#endif
