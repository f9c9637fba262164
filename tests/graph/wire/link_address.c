/* Addresses of links: what is taken, and what is said of the rest. */
#include "graph/wire/link.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

/* No pointers: parameters cross into another process. */
struct good {
    char text[96], url[96];
    uint64_t run;
    uint32_t number;
};

ParameterizedTestParameters(link_address, is_cut_into_url_run_and_number)
{
    static struct good cases[] = {
        {"abstract://thea-00000000000000ff-3", "abstract://thea-00000000000000ff-3", 255, 3},
        {"abstract://thea-ABCDEF0123456789-0", "abstract://thea-ABCDEF0123456789-0", 0xABCDEF0123456789, 0},
        {"ipc:///tmp/a.sock", "ipc:///tmp/a.sock", 0, 0},
        {"ipc:///tmp/a.sock#0000000000000010-7", "ipc:///tmp/a.sock", 16, 7},
        {"tcp://127.0.0.1:9000", "tcp://127.0.0.1:9000", 0, 0},
        {"tcp://127.1.2.3:65535#0000000000000001-2", "tcp://127.1.2.3:65535", 1, 2},
        {"tcp://localhost:1", "tcp://localhost:1", 0, 0},
        {"tls+tcp://node-3.example.org:9000#0000000000000002-5", "tls+tcp://node-3.example.org:9000", 2, 5},
        {"tcp://[::1]:80#0000000000000001-4294967295", "tcp://[::1]:80", 1, UINT32_MAX},
    };
    return cr_make_param_array(struct good, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct good *c, link_address, is_cut_into_url_run_and_number)
{
    struct link_address a;
    struct thea_err err = {0};
    cr_assert_eq(link_address_parse(&a, c->text, &err), THEA_OK, "%s", err.message);
    cr_assert_str_eq(a.url, c->url);
    cr_assert_eq(a.run, c->run);
    cr_assert_eq(a.number, c->number);
    cr_assert_eq(a.tls, strncmp(c->text, "tls+", 4) == 0);
}

struct bad {
    char text[200], want[120];
};

ParameterizedTestParameters(link_address, that_is_wrong_is_refused_with_what_is_accepted)
{
    static struct bad cases[] = {
        {"", "unknown form; accepted are abstract://"},
        {"127.0.0.1:9000", "unknown form"},
        {"udp://127.0.0.1:9000", "unknown form"},
        {"abstract://", "is not thea-<run: 16 hex digits>-<link number>"},
        {"abstract://thea-00ff-3", "'thea-00ff-3' is not thea-<run: 16 hex digits>"},
        {"abstract://thea-00000000000000ff", "is not thea-"},
        {"abstract://thea-00000000000000ff-", "is not thea-"},
        {"abstract://thea-00000000000000ff-x", "is not thea-"},
        {"abstract://thea-00000000000000ff-4294967296", "is not thea-"},
        {"abstract://thea-00000000000000fg-1", "is not thea-"},
        {"abstract://other-00000000000000ff-1", "is not thea-"},
        {"ipc://", "no path"},
        {"tcp://127.0.0.1", "no port from 1 to 65535"},
        {"tcp://127.0.0.1:", "no port from 1 to 65535"},
        {"tcp://127.0.0.1:0", "no port from 1 to 65535"},
        {"tcp://127.0.0.1:65536", "no port from 1 to 65535"},
        {"tcp://127.0.0.1:80x", "no port from 1 to 65535"},
        {"tcp://10.0.0.1:80", "'10.0.0.1' is not this machine"},
        {"tcp://10.0.0.1:80#00-3", "is not #<run: 16"},
        {"tcp://10.0.0.2:80", "because nothing protects them on a network; try tls+tcp://10.0.0.2:80"},
        {"tls+tcp://:80", "no host"},
        {"tls+tcp://node", "no port from 1 to 65535"},
        {"tcp://127.0.0.1.example.org:80", "'127.0.0.1.example.org' is not this machine"},
        {"tcp://localhost.example.org:80", "is not this machine"},
        {"tcp://0.0.0.0:80", "is not this machine"},
        {"tcp://:80", "is not this machine"},
        {"tcp://127.0.0.1:80#12-3", "'#12-3' is not #<run: 16 hex digits>-<link number>"},
        {"ipc:///tmp/a#", "'#' is not #<run"},
    };
    return cr_make_param_array(struct bad, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct bad *c, link_address, that_is_wrong_is_refused_with_what_is_accepted)
{
    struct link_address a;
    struct thea_err err = {0};
    cr_assert_eq(link_address_parse(&a, c->text, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, c->want), "'%s' is not in '%s'", c->want, err.message);
    cr_assert_not_null(strstr(err.message, c->text), "it names the address: %s", err.message);
}

Test(link_address, a_path_that_no_socket_can_have_is_refused)
{
    struct link_address a;
    struct thea_err err = {0};
    char text[160];
    snprintf(text, sizeof text, "ipc:///%0106d", 0);
    cr_assert_eq(link_address_parse(&a, text, &err), THEA_OK, "107 bytes: %s", err.message);
    snprintf(text, sizeof text, "ipc:///%0107d", 0);
    cr_assert_eq(link_address_parse(&a, text, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "at most 107 bytes, this one has 108"), "%s", err.message);
}

Test(link_address, one_that_is_too_long_is_refused_and_cut_in_the_message)
{
    struct link_address a;
    struct thea_err err = {0};
    char text[400];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    cr_assert_eq(link_address_parse(&a, text, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "...' has 399 bytes, at most"), "%s", err.message);
}
