/* thea serve's life: who may ask, what is refused before it begins, signals, and stages that die. */
#include "tests/e2e/server.h"

Test(serve, a_key_is_asked_for_where_there_is_one, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    char options[256], *dir = run_temp_dir();
    static const char body[] = "{\"model\": \"thea-mini\", \"input\": \"x\"}";
    snprintf(options, sizeof options, "%s/key", dir);
    FILE *file = fopen(options, "w");
    cr_assert(file != NULL && fputs("sk-secret\n", file) >= 0 && fclose(file) == 0);
    snprintf(options, sizeof options, "--token-file %s/key", dir);
    begin(&s, options);
    static const char *const wrong[] = {"",
                                        "Authorization: Bearer sk-secre\r\n",
                                        "Authorization: Bearer sk-secrets\r\n",
                                        "Authorization: Bearer \r\n",
                                        "Authorization: Basic sk-secret\r\n",
                                        "Authorization: Bearer sk-Secret\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        web_once(s.port, "POST", "/v1/embeddings", wrong[i], body, &r);
        cr_expect_eq(r.status, 401, "'%s': %d", wrong[i], r.status);
        cr_expect_not_null(strstr(buf_text(&r.body), "invalid_api_key"), "%s", buf_text(&r.body));
        cr_expect_not_null(strstr(buf_text(&r.body), "\"type\": \"invalid_request_error\""), "%s",
                           buf_text(&r.body));
    }
    web_once(s.port, "GET", "/v1/models", NULL, NULL, &r);
    cr_expect_eq(r.status, 401);
    web_once(s.port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200);
    web_once(s.port, "POST", "/v1/embeddings", "Authorization: Bearer sk-secret\r\n", body, &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_reply_fini(&r);
    free(dir);
    end(&s);
}

Test(serve, what_cannot_be_served_is_refused_with_its_status, .timeout = 5 * RUN_LIMIT_S)
{
    static const struct {
        const char *command;
        int status;
        const char *says;
    } cases[] = {
        {"thea serve embed --listen 0.0.0.0:0", 77, "is not on loopback: anybody could use it there"},
        {"thea serve embed --token-file /nonexistent/key", 66, "/nonexistent/key"},
        {"thea serve embed --listen here:http", 64, "is no port"},
        {"thea serve embed --queue 0", 64, "--queue"},
        {"thea serve score", 64, "does not end in vectors"},
        {"thea serve generate", 64, "does not end in vectors"},
        {"thea serve nothing-of-this-name", 66, "nothing-of-this-name"},
        {"thea serve embed -m /nonexistent/model", 66, "/nonexistent/model"},
        {"thea serve", 64, "usage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct run_result r;
        run_shell(&r, NULL, RUN_LIMIT_S, "THEA_RUNS=%s %s", run_temp_dir(), cases[i].command);
        cr_expect_eq(r.status, cases[i].status, "%s: %d: %s", cases[i].command, r.status, buf_text(&r.err));
        cr_expect_not_null(strstr(buf_text(&r.err), cases[i].says), "%s: %s", cases[i].command,
                           buf_text(&r.err));
        run_result_fini(&r);
    }
}

Test(serve, a_port_in_use_is_told, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct run_result r;
    begin(&s, "");
    run_shell(&r, NULL, RUN_LIMIT_S, "THEA_RUNS=%s thea serve embed --listen 127.0.0.1:%d", run_temp_dir(),
              s.port);
    cr_expect_eq(r.status, 75, "%s", buf_text(&r.err));
    run_result_fini(&r);
    end(&s);
}

Test(serve, a_signal_lets_what_is_there_be_answered, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct run_result ended;
    struct web_reply r = {0};
    char *large = large_body(60); /* it has half a minute then */
    begin(&s, "");
    int fd = web_connect(s.port), idle = web_connect(s.port);
    cr_assert(web_ask(idle, "GET", "/health", NULL, NULL, &r));
    cr_assert(send_post(fd, large));
    wait_for_work(&s);
    kill(s.child.pid, SIGTERM);
    cr_assert(web_read(fd, &r, RUN_LIMIT_S), "no answer");
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 59"));
    close(fd);
    close(idle);
    cr_expect_eq(run_wait(&s.child, END_S, &ended), 128 + SIGTERM, "%d: %s", ended.status,
                 buf_text(&ended.err));
    cr_expect_eq(web_connect(s.port), -1, "it still listens");
    run_result_fini(&ended);
    web_reply_fini(&r);
    free(large);
}

/* The first process below `pid` whose command line begins with `name`. */
static pid_t process_below(pid_t pid, const char *name)
{
    struct run_result r;
    run_shell(&r, NULL, RUN_LIMIT_S,
              "below() { for p in $(cat /proc/$1/task/*/children); do tr '\\0' ' ' </proc/$p/cmdline | grep "
              "-q '%s' "
              "&& echo $p && exit; below $p; done; }; below %d",
              name, (int)pid);
    pid_t found = (pid_t)atoi(buf_text(&r.out));
    run_result_fini(&r);
    return found;
}

Test(serve, a_stage_that_dies_is_started_again_and_all_is_answered, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(200);
    begin(&s, "");
    int fd = web_connect(s.port);
    cr_assert(send_post(fd, large));
    pid_t layers = process_below(s.child.pid, "thea-layers");
    cr_assert_gt(layers, 0, "no process of layers");
    cr_assert_eq(kill(layers, SIGKILL), 0);
    cr_assert(web_read(fd, &r, RUN_LIMIT_S), "no answer");
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 199"));
    close(fd);
    expect_well(&s);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

Test(serve, without_its_pipeline_it_ends, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct run_result ended;
    begin(&s, "");
    pid_t supervisor = process_below(s.child.pid, "thea run");
    cr_assert_gt(supervisor, 0, "no supervisor");
    cr_assert_eq(kill(supervisor, SIGKILL), 0);
    cr_expect_eq(run_wait(&s.child, END_S, &ended), 69, "%d: %s", ended.status, buf_text(&ended.err));
    cr_expect_not_null(strstr(buf_text(&ended.err), "the pipeline 'embed' has ended with status 137"), "%s",
                       buf_text(&ended.err));
    run_result_fini(&ended);
}
