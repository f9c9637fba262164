/* thea serve and clients that are damaged, too large, too slow, too many or gone: each gets its status, and
 * the server lives on. */
#include "tests/e2e/server.h"

Test(serve, damaged_oversized_and_slow_requests_get_their_status, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(60);
    begin(&s, "--body-max 4KiB --timeout 1s");
    cr_assert_gt(strlen(large), 4096);
    web_once(s.port, "POST", "/v1/embeddings", NULL, large, &r);
    cr_expect_eq(r.status, 413, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"error\""), "%s", buf_text(&r.body));
    int fd = web_connect(s.port);
    cr_assert(web_send(fd, "\x16\x03\x01 what\r\n\r\n\r\n", 15));
    web_read(fd, &r, RUN_LIMIT_S);
    cr_expect_eq(r.status, 400, "%s", buf_text(&r.head));
    close(fd);
    static const char *const slow[] = {
        "POST /v1/emb",
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{\"model\""};
    for (size_t i = 0; i < 2; i++) {
        fd = web_connect(s.port);
        cr_assert(web_send(fd, slow[i], strlen(slow[i])));
        web_read(fd, &r, RUN_LIMIT_S);
        cr_expect_eq(r.status, 408, "%s", buf_text(&r.head));
        cr_expect_not_null(strstr(buf_text(&r.body), "\"error\""), "%s", buf_text(&r.body));
        close(fd);
    }
    expect_well(&s);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

/* The source behind the server has a limit of its own on documents (16 MiB), which is not in the way. */
Test(serve, an_input_as_large_as_a_body_may_be_is_answered, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    struct buf body = {0};
    begin(&s, "-m " THEA_SOURCE_DIR "/tests/goldens/bert-tiny --body-max 32MiB");
    buf_add_text(&body, "{\"model\": \"bert-tiny\", \"input\": \"");
    while (body.len < 17 << 20) buf_add_text(&body, "and so on for a long, long time ");
    buf_add_text(&body, "\"}");
    int fd = web_connect(s.port);
    cr_assert(send_post(fd, body.data));
    cr_assert(web_read(fd, &r, RUN_LIMIT_S), "no answer");
    cr_expect_eq(r.status, 200, "%d %.500s", r.status, buf_text(&r.body));
    close(fd);
    buf_fini(&body);
    web_reply_fini(&r);
    end(&s);
}

/* A line in the log is one line, whatever a client calls its method and its path. */
Test(serve, a_request_does_not_steer_the_terminal_that_shows_the_log, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    char line[4096];
    bool logged = false;
    static const char evil[] = "G\033[2JET /a%1b%5b%32J%c2%9b%0a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    begin(&s, "");
    int fd = web_connect(s.port);
    cr_assert(web_send(fd, evil, sizeof evil - 1));
    web_read(fd, &r, RUN_LIMIT_S);
    close(fd);
    expect_well(&s);
    FILE *log = fopen(s.err, "re");
    cr_assert_not_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        cr_expect(strchr(line, '\033') == NULL && strstr(line, "\xc2\x9b") == NULL, "%s", line);
        logged = logged || strstr(line, "?[2JET /a?[2J?? ") != NULL;
    }
    fclose(log);
    cr_expect(logged || r.status == 400, "%d", r.status); /* or the library refuses such a method */
    web_reply_fini(&r);
    end(&s);
}

Test(serve, more_than_the_queue_holds_is_told_to_try_again, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(400);
    begin(&s, "--queue 10");
    int first = web_connect(s.port), gone = web_connect(s.port);
    cr_assert(send_post(first, large)); /* alone it is let in, whatever its size */
    wait_for_work(&s);
    web_once(s.port, "POST", "/v1/embeddings", NULL, "{\"model\": \"thea-mini\", \"input\": \"x\"}", &r);
    cr_expect_eq(r.status, 429, "%d %s", r.status, buf_text(&r.body));
    cr_expect_not_null(strcasestr(buf_text(&r.head), "\r\nRetry-After: 1\r\n"), "%s", buf_text(&r.head));
    cr_expect_not_null(strstr(buf_text(&r.body), "rate_limit_error"), "%s", buf_text(&r.body));
    cr_assert(web_read(first, &r, RUN_LIMIT_S), "no answer");
    cr_expect_eq(r.status, 200);
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 399"));
    close(first);
    cr_assert(send_post(gone, large));
    close(gone); /* nobody waits for it; the others do not notice */
    web_once(s.port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

Test(serve, a_client_that_goes_away_takes_no_other_with_it, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    char *large = large_body(100);
    begin(&s, "");
    for (int i = 0; i < 8; i++) {
        int fd = web_connect(s.port);
        cr_assert(send_post(fd, large));
        close(fd);
    }
    expect_well(&s);
    free(large);
    end(&s);
}
