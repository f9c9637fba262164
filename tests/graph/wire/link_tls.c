/* Links between machines, here both on this one: certificates made by openssl, and a token. */
#include "graph/wire/link_impl.h"
#include "tests/graph/wire/link_ends.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(link_tls, .timeout = 300);

/* A directory with a CA in "ca" and what it signs, for "localhost", in "here" and "there"; "other" has all
 * from another CA. */
static char *make_cluster(void)
{
    char *dir = run_temp_dir();
    struct run_result r;
    run_shell(
        &r, dir, RUN_LIMIT_S,
        "set -e; umask 077\n"
        "key() { openssl ecparam -name prime256v1 -genkey -noout -out $1; }\n"
        "ca() { mkdir $1; key $1/key.pem\n"
        "  openssl req -x509 -new -key $1/key.pem -days 2 -subj /CN=$1 -out $1/ca.pem; }\n"
        "member() { mkdir $2; key $2/key.pem; cp $1/ca.pem $2/ca.pem\n"
        "  openssl req -new -key $2/key.pem -subj /CN=localhost -out $2/request\n"
        "  openssl x509 -req -in $2/request -CA $1/ca.pem -CAkey $1/key.pem -CAcreateserial -days 2 -out "
        "$2/cert.pem\n"
        "  echo a-token-of-sufficient-length >$2/token; }\n"
        "{ ca ca; ca ca2; member ca here; member ca there; member ca2 other; } 2>err || { cat err; exit 1; "
        "}");
    cr_assert_eq(r.status, 0, "%s%s", buf_text(&r.out), buf_text(&r.err));
    run_result_fini(&r);
    return dir;
}

static char *sub(const char *dir, const char *name)
{
    static char texts[32][512];
    static int turn;
    char *text = texts[turn++ % 32];
    snprintf(text, sizeof texts[0], "%s/%s", dir, name);
    return text;
}

/* Two ends on a TLS address, not open yet, with these directories. */
static struct ends secure(const char *dir, const char *tx, const char *rx, int reconnect_ms)
{
    struct ends e = ends_new((struct ends_options){.tcp = true, .reconnect_ms = reconnect_ms});
    struct link_address a;
    struct thea_err err = {0};
    char text[200];
    snprintf(text, sizeof text, "tls+tcp://localhost%s#%016llx-3", strrchr(e.tx_options.address.url, ':'),
             (unsigned long long)e.tx_options.address.run);
    cr_assert_eq(link_address_parse(&a, text, &err), THEA_OK, "%s", err.message);
    e.tx_options.address = e.rx_options.address = a;
    e.tx_options.tls_dir = sub(dir, tx);
    e.rx_options.tls_dir = sub(dir, rx);
    return e;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

Test(link_tls, frames_pass_between_two_of_one_cluster)
{
    char *dir = make_cluster();
    struct ends e = secure(dir, "here", "there", 0);
    ends_listen(&e);
    ends_dial(&e);
    for (uint64_t i = 0; i < 50; i++) {
        ends_send(&e, i, 100 + 3000 * i);
        const struct frame *f = ends_receive(&e);
        cr_assert_eq(f->seq, i);
        cr_assert_eq(f->tensors[0].size_bytes, 100 + 3000 * i);
        cr_assert_eq(((const unsigned char *)f->tensors[0].data)[99 + 3000 * i],
                     (unsigned char)(99 + 3000 * i));
        link_consume(e.rx);
        link_flush_credit(e.rx);
    }
    cr_assert_str_eq(e.rx->pipe->hello.token, "", "who listens does not say it");
    ends_finish(&e);
    ends_free(&e);
    free(dir);
}

Test(link_tls, a_wrong_token_is_refused_and_the_right_one_still_served)
{
    char *dir = make_cluster();
    struct ends e = secure(dir, "here", "there", 0);
    struct thea_err err = {0};
    write_text(sub(dir, "here/token"), "another-token-of-sufficient-length\n");
    ends_listen(&e);
    ends_dial(&e);
    cr_assert_eq(ends_wait_trouble(e.tx, e.set, &err), THEA_EPERM, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "not permitted: expected the token of this run, found another"),
                       "%s", err.message);
    cr_assert_null(strstr(err.message, "sufficient"), "no token in a message: %s", err.message);
    link_abort(e.tx);
    e.tx_options.tls_dir = sub(dir, "there");
    ends_dial(&e);
    ends_send(&e, 1, 10);
    cr_assert_eq(ends_receive(&e)->seq, 1);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
    free(dir);
}

Test(link_tls, a_certificate_of_another_authority_opens_nothing)
{
    char *dir = make_cluster();
    struct ends e = secure(dir, "other", "there", 1500);
    struct thea_err err = {0};
    ends_listen(&e);
    ends_dial(&e);
    cr_assert_eq(ends_wait_trouble(e.rx, e.set, &err), THEA_ETIMEOUT, "%s", err.message);
    cr_assert_str_eq(link_peer(e.rx), "nobody yet");
    cr_assert_eq(ends_wait_trouble(e.tx, e.set, &err), THEA_ETIMEOUT, "%s", err.message);
    ends_free(&e);
    free(dir);
}

Test(link_tls, without_certificates_no_link_leaves_the_machine)
{
    struct ends e = secure("/nowhere", "here", "there", 0);
    struct thea_err err = {0};
    unsetenv("THEA_TLS_DIR");
    e.tx_options.tls_dir = NULL;
    cr_assert_eq(link_dial(&e.tx, e.set, &e.tx_options, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "needs certificates and a token\n  set  THEA_TLS_DIR"), "%s",
                       err.message);
    e.tx = NULL;
    cr_assert_eq(link_listen(&e.rx, e.set, &e.rx_options, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "/nowhere/there/token: No such file"), "%s", err.message);
    e.rx = NULL;
    ends_free(&e);
}

static void expect_refused(struct ends *e, thea_rc want, const char *text)
{
    struct thea_err err = {0};
    cr_assert_eq(link_listen(&e->rx, e->set, &e->rx_options, &err), want, "%s", err.message);
    cr_assert_not_null(strstr(err.message, text), "'%s' is not in '%s'", text, err.message);
    e->rx = NULL;
}

Test(link_tls, secrets_that_others_may_read_are_refused)
{
    char *dir = make_cluster();
    struct ends e = secure(dir, "here", "there", 0);
    cr_assert_eq(chmod(sub(dir, "there/key.pem"), 0640), 0);
    expect_refused(&e, THEA_EPERM, "there/key.pem: others may read it (mode 640)\n  try  chmod 600");
    cr_assert_eq(chmod(sub(dir, "there/key.pem"), 0600), 0);
    cr_assert_eq(chmod(sub(dir, "there/token"), 0604), 0);
    expect_refused(&e, THEA_EPERM, "there/token: others may read it (mode 604)");
    ends_free(&e);
    free(dir);
}

Test(link_tls, files_that_are_no_certificates_or_tokens_are_refused)
{
    char *dir = make_cluster();
    struct ends e = secure(dir, "here", "there", 0);
    write_text(sub(dir, "there/cert.pem"), "not a certificate\n");
    expect_refused(&e, THEA_EUSAGE, "there: ca.pem, cert.pem and key.pem cannot be used together");
    write_text(sub(dir, "there/token"), "short\n");
    expect_refused(&e, THEA_EUSAGE, "there/token: its line has 5 bytes; 16 to 1024 are accepted");
    write_text(sub(dir, "there/token"), "");
    expect_refused(&e, THEA_EUSAGE, "there/token: not a file of 1 byte to 1 MiB");
    cr_assert_eq(unlink(sub(dir, "there/ca.pem")), 0);
    write_text(sub(dir, "there/token"), "a-token-of-sufficient-length\n");
    expect_refused(&e, THEA_EUSAGE, "there/ca.pem: No such file or directory");
    ends_free(&e);
    free(dir);
}

Test(link_tls, tokens_are_equal_only_if_all_of_them_is)
{
    cr_assert(link_token_equal("abcdefgh", "abcdefgh"));
    const char *const others[] = {"", "abcdefg", "abcdefghi", "Abcdefgh", "abcdefgH", "abcdefghabcdefgh"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_assert_not(link_token_equal("abcdefgh", others[i]), "'%s'", others[i]);
}
