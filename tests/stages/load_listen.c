/* load on a port: TCP lines and HTTP documents. */
#include "tests/stages/source.h"

#include "graph/http.h"
#include "stages/support/load_impl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

TestSuite(load_listen, .init = scratch_make, .fini = scratch_remove);

static struct load *load_of(struct harness *h)
{
    return stage_state(harness_stage(h));
}

static int call_up(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static struct harness *listen_tcp(const char *format)
{
    return open_source(ARGS("--listen", "tcp://127.0.0.1:0", "--format", format, "--max-bytes", "100B"),
                       "docs");
}

Test(load_listen, a_line_over_tcp_is_a_document)
{
    struct harness *h = listen_tcp("text");
    int fd = call_up(listen_port(load_of(h)->listener));
    say(fd, "one\r\n\ntwo: é\nthr");
    expect(h, "0 listen:1: one");
    expect(h, "1 listen:2: two: é");
    expect_quiet(h);
    say(fd, "ee");
    close(fd);
    expect(h, "2 listen:3: three");
    seek(h, 1);
    expect(h, "1 listen:2: two: é");
    harness_close(h);
}

Test(load_listen, json_lines_of_several_peers_are_records)
{
    struct harness *h = listen_tcp("jsonl");
    int a = call_up(listen_port(load_of(h)->listener)), b = call_up(listen_port(load_of(h)->listener));
    say(a, "{\"id\": \"a\", \"te");
    say(b, "{\"id\": \"b\", \"text\": \"B\"}\n");
    expect(h, "0 b: B");
    say(a, "xt\": \"A\"}\n");
    expect(h, "1 a: A");
    close(a);
    close(b);
    harness_close(h);
}

Test(load_listen, bad_lines_are_left_out_or_fail_and_the_next_is_taken)
{
    char longer[200];
    struct harness *h = listen_tcp("jsonl");
    int fd = call_up(listen_port(load_of(h)->listener));
    memset(longer, 'x', sizeof longer);
    longer[199] = '\0';
    say(fd, "not json\n\xFF\xFE\n{\"id\": 3.5}\n");
    say(fd, longer);
    say(fd, "\n{\"id\": \"good\", \"text\": \"G\"}\n");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "0 listen, record 1 ! listen:1: the id must be"), "%s", document);
    expect(h, "1 good: G");
    cr_assert_eq(harness_page(h)->skipped, 3);
    close(fd);
    harness_close(h);
}

Test(load_listen, what_was_taken_outlives_the_process)
{
    struct harness *h = listen_tcp("text");
    int fd = call_up(listen_port(load_of(h)->listener));
    say(fd, "one\ntwo\nhalf");
    expect(h, "0 listen:1: one");
    harness_close(h);
    close(fd);
    h = listen_tcp("text");
    expect(h, "0 listen:1: one");
    expect(h, "1 listen:2: two");
    fd = call_up(listen_port(load_of(h)->listener));
    say(fd, "three\n");
    expect(h, "2 listen:3: three");
    close(fd);
    harness_close(h);
}

Test(load_listen, by_hand_the_spool_has_no_name)
{
    struct harness *h;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &load_ops, ARGS("--listen", "tcp://localhost:0"), ARGS("docs"), &err),
                 THEA_OK, "%s", err.message);
    int fd = call_up(listen_port(load_of(h)->listener));
    say(fd, "one\ntwo\n");
    expect(h, "0 listen:1: one");
    expect(h, "1 listen:2: two");
    close(fd);
    harness_close(h);
    cr_assert_eq(rmdir(scratch), 0, "nothing is left in it");
}

Test(load_listen, addresses_are_checked)
{
    static const struct {
        const char *address, *part;
    } bad[] = {{"udp://127.0.0.1:1", "accepted"},
               {"127.0.0.1:1", "accepted"},
               {"tcp://127.0.0.1", "no HOST:PORT"},
               {"tcp://127.0.0.1:x", "the port"},
               {"tcp://127.0.0.1:70000", "the port"},
               {"tcp://0.0.0.0:0", "other machines"},
               {"tcp://example.org:80", "not an address"},
               {"tcp://[::]:0", "other machines"},
               {"http://0.0.0.0:0", "loopback"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct harness *h;
        struct thea_err err = {0};
        thea_rc rc = harness_open(&h, &load_ops, ARGS("--listen", bad[i].address), ARGS("docs"), &err);
        cr_assert_eq(rc, THEA_EUSAGE, "%s", bad[i].address);
        cr_assert_not_null(strstr(err.message, bad[i].part), "%s", err.message);
    }
}

Test(load_listen, a_port_in_use_is_an_error)
{
    struct harness *h = listen_tcp("text"), *second;
    struct thea_err err = {0};
    char address[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", listen_port(load_of(h)->listener));
    cr_assert_eq(harness_open(&second, &load_ops, ARGS("--listen", address), ARGS("docs"), &err), THEA_EBUSY);
    harness_close(h);
}

/* --- HTTP --- */

static struct harness *listen_http(void)
{
    return open_source(ARGS("--listen", "http://127.0.0.1:0", "--max-bytes", "1KiB", "--spool", "1MiB"),
                       "docs");
}

/* Status of a POST; the body of the answer in `answer`. */
static int post(struct harness *h, const char *path, const char *type, const char *body, char *answer,
                size_t size)
{
    const char *colon = strrchr(http_url(load_of(h)->http), ':');
    int fd = call_up(atoi(colon + 1)), status = 0;
    struct buf request = {0};
    buf_printf(&request,
               "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: "
               "%zu\r\nConnection: close\r\n\r\n%s",
               path, type, strlen(body), body);
    say(fd, request.data);
    buf_fini(&request);
    struct buf reply = {0};
    ssize_t n;
    while ((n = recv(fd, buf_reserve(&reply, 4096), 4096, 0)) > 0) reply.len += (size_t)n;
    close(fd);
    buf_add(&reply, "", 0);
    cr_assert_eq(sscanf(buf_text(&reply), "HTTP/1.1 %d", &status), 1, "%s", buf_text(&reply));
    const char *text = strstr(buf_text(&reply), "\r\n\r\n");
    snprintf(answer, size, "%s", text != NULL ? text + 4 : "");
    buf_fini(&reply);
    return status;
}

Test(load_listen, posted_documents_are_accepted_once_they_are_on_disk)
{
    char answer[512];
    struct harness *h = listen_http();
    cr_assert_eq(post(h, "/documents?id=letter", "text/plain; charset=utf-8", "Dear all,\nhello é", answer,
                      sizeof answer),
                 200, "%s", answer);
    cr_assert_str_eq(answer, "{\"accepted\": 1}\n");
    size_t size = 0;
    char *kept = get_file("spool/load.listen/00000000000000000000", &size);
    cr_assert_not_null(kept, "before any op of the source");
    cr_assert_gt(size, 10);
    free(kept);
    cr_assert_eq(post(h, "/documents", "application/json", "{\"id\": \"j\",\n \"text\": \"J\"}", answer,
                      sizeof answer),
                 200, "%s", answer);
    cr_assert_eq(post(h, "/documents", "application/x-ndjson",
                      "{\"id\": 1, \"text\": \"x\"}\n\n{\"text\": \"y\"}", answer, sizeof answer),
                 200, "%s", answer);
    cr_assert_str_eq(answer, "{\"accepted\": 2}\n");
    expect(h, "0 letter: Dear all,\nhello é");
    expect(h, "1 j: J");
    expect(h, "2 1: x");
    expect(h, "3 listen:4: y");
    seek(h, 1);
    expect(h, "1 j: J");
    harness_close(h);
}

Test(load_listen, a_bad_post_is_refused_whole)
{
    char answer[512], big[2000];
    struct harness *h = listen_http();
    memset(big, 'x', sizeof big);
    big[1999] = '\0';
    cr_assert_eq(post(h, "/documents", "application/x-ndjson", "{\"text\": \"x\"}\n{\"text\": 5}\n", answer,
                      sizeof answer),
                 400);
    cr_assert_not_null(strstr(answer, "body:2: text must be a string"), "%s", answer);
    cr_assert_eq(post(h, "/documents", "application/json", "{", answer, sizeof answer), 400);
    cr_assert_eq(post(h, "/documents", "text/plain", "caf\xE9", answer, sizeof answer), 400);
    cr_assert_eq(post(h, "/documents", "image/png", "x", answer, sizeof answer), 415);
    cr_assert_eq(post(h, "/documents", "text/plain", big, answer, sizeof answer), 413);
    cr_assert_eq(post(h, "/elsewhere", "text/plain", "x", answer, sizeof answer), 404);
    expect_quiet(h);
    harness_close(h);
}

Test(load_listen, a_full_spool_is_said_so_and_takes_more_when_it_was_emptied)
{
    char answer[512];
    struct harness *h = listen_http();
    struct load *l = load_of(h);
    cr_assert_eq(post(h, "/documents", "text/plain", "x", answer, sizeof answer), 200);
    l->net.spool.segment_bytes = 8; /* full at two segments and one byte */
    l->net.spool.max_bytes = 8;
    cr_assert_eq(post(h, "/documents", "text/plain", "y", answer, sizeof answer), 200);
    cr_assert_eq(post(h, "/documents", "text/plain", "z", answer, sizeof answer), 429);
    expect(h, "0 listen:1: x");
    expect(h, "1 listen:2: y");
    spool_trim(&l->net.spool, l->net.spool.end);
    l->net.spool.max_bytes = 1000;
    cr_assert_eq(post(h, "/documents", "text/plain", "z", answer, sizeof answer), 200);
    expect(h, "2 listen:3: z");
    harness_close(h);
}

static bool is_trimmed(struct harness *h)
{
    struct thea_err err = {0};
    struct load *l = load_of(h);
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN, "%s", err.message);
    return l->net.spool.begin > 0 && l->net.spool.count <= 2;
}

Test(load_listen, what_was_sent_by_hand_is_trimmed)
{
    struct harness *h;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &load_ops, ARGS("--listen", "tcp://127.0.0.1:0"), ARGS("docs"), &err),
                 THEA_OK, "%s", err.message);
    load_of(h)->net.spool.segment_bytes = 64;
    int fd = call_up(listen_port(load_of(h)->listener));
    for (int i = 0; i < 50; i++) {
        char line[32], document[64];
        snprintf(line, sizeof line, "line %d\n", i);
        say(fd, line);
        snprintf(document, sizeof document, "%d listen:%d: line %d", i, i + 1, i);
        expect(h, document);
    }
    uint64_t begin_ns = status_now_ns();
    while (!is_trimmed(h)) cr_assert(status_now_ns() - begin_ns < UINT64_C(60000000000));
    say(fd, "after\n");
    expect(h, "50 listen:51: after");
    close(fd);
    harness_close(h);
}
