/* Taps on a stage: what is copied, to whom, and that nobody who looks can hold it up. */
#include "graph/wire/stage_tap.h"
#include "graph/wire/frame_json.h"
#include "graph/wire/stage_core.h"
#include "tests/graph/wire/toy.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct looker {
    char name[64];
    int listener, fd;
};

static struct looker look(void)
{
    static int number;
    struct looker l = {.fd = -1};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(l.name, sizeof l.name, "thea-tap-test-%d-%d", (int)getpid(), number++);
    memcpy(a.sun_path + 1, l.name, strlen(l.name));
    l.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(l.name));
    cr_assert_eq(bind(l.listener, (const struct sockaddr *)&a, size), 0);
    cr_assert_eq(listen(l.listener, 4), 0);
    return l;
}

static void obey(struct harness *h, const char *word, const struct looker *l, const char *port, int values)
{
    struct json_node *m = json_new_map();
    struct thea_err err;
    json_put(m, "do", json_new_string(word));
    json_put(m, "address", json_new_string(l->name));
    if (port != NULL) json_put(m, "port", json_new_string(port));
    json_put(m, "values", json_new_int(values));
    cr_assert_eq(stage_tap_obey(harness_stage(h), m, &err), THEA_OK);
    json_free(m);
}

static void tap(struct harness *h, struct looker *l, const char *port, int values)
{
    obey(h, "tap", l, port, values);
    l->fd = accept(l->listener, NULL, NULL);
    cr_assert_geq(l->fd, 0);
}

/* The next copy; NULL: none is there. */
static struct json_node *next(const struct looker *l)
{
    static char packet[1 << 20];
    struct json_node *out = NULL;
    ssize_t n = recv(l->fd, packet, sizeof packet, MSG_DONTWAIT);
    if (n <= 0) return NULL;
    cr_assert_eq(json_parse(&out, packet, (size_t)n, "copy", NULL), THEA_OK);
    return out;
}

static struct harness *open_toy(void)
{
    struct harness *h = NULL;
    struct thea_err err;
    cr_assert_eq(harness_open(&h, &toy_ops, NULL, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static struct frame values_frame(struct tensor *t, const float *values, uint64_t n)
{
    *t = toy_values("values", values, n);
    return toy_frame(FRAME_DATA, 7, 0, t, 1);
}

Test(stage_tap, a_frame_that_leaves_is_told_with_its_header_alone)
{
    struct harness *h = open_toy();
    struct looker l = look();
    struct tensor t;
    float v[] = {1, 2, 3};
    struct frame f = values_frame(&t, v, 3);
    tap(h, &l, NULL, 0);
    stage_tap_out(harness_stage(h), 0, &f);
    struct json_node *copy = next(&l);
    cr_assert_not_null(copy);
    cr_expect_str_eq(json_text_or(copy, "side", ""), "out");
    cr_expect_str_eq(json_text_or(copy, "kind", ""), "data");
    cr_expect_eq(json_int_or(copy, "stream", 0), 7);
    cr_expect_eq(json_int_or(copy, "skipped", -1), 0);
    const struct json_node *tensor = json_item(json_member(copy, "tensors"), 0);
    cr_expect_eq(json_int(json_item(json_member(tensor, "shape"), 0)), 3);
    cr_expect_null(json_member(tensor, "values"));
    json_free(copy);
    cr_expect_null(next(&l), "one frame, one copy");
    harness_close(h);
}

Test(stage_tap, values_come_as_far_as_they_are_asked_for)
{
    struct harness *h = open_toy();
    struct looker l = look();
    struct tensor t;
    float v[] = {1, 2.5, 3};
    struct frame f = values_frame(&t, v, 3);
    tap(h, &l, NULL, 2);
    stage_tap_out(harness_stage(h), 0, &f);
    struct json_node *copy = next(&l);
    const struct json_node *values = json_member(json_item(json_member(copy, "tensors"), 0), "values");
    cr_assert_eq(json_count(values), 2);
    cr_expect_float_eq(json_number(json_item(values, 1)), 2.5, 0);
    json_free(copy);
    harness_close(h);
}

Test(stage_tap, a_stage_with_outputs_tells_of_its_inputs_only_by_port)
{
    struct harness *h = open_toy();
    struct looker all = look(), in = look(), other = look();
    struct tensor t;
    struct thea_err err;
    float v[] = {1};
    struct frame f = values_frame(&t, v, 1);
    tap(h, &all, NULL, 0);
    tap(h, &in, "values", 0);
    tap(h, &other, "other", 0);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK, "%s", err.message);
    struct json_node *copy = next(&in);
    cr_assert_not_null(copy);
    cr_expect_str_eq(json_text_or(copy, "side", ""), "in");
    json_free(copy);
    cr_expect_null(next(&all));
    cr_expect_null(next(&other));
    harness_close(h);
}

Test(stage_tap, one_who_reads_nothing_holds_nobody_up_and_is_told_what_it_missed)
{
    struct harness *h = open_toy();
    struct looker l = look();
    struct tensor t;
    float v[64] = {0};
    struct frame f = values_frame(&t, v, 64);
    int sent = 0;
    tap(h, &l, NULL, 64);
    for (int i = 0; i < 20000; i++) stage_tap_out(harness_stage(h), 0, &f); /* it would fill any socket */
    struct json_node *copy;
    for (; (copy = next(&l)) != NULL; sent++) json_free(copy);
    cr_expect(sent > 0 && sent < 20000, "%d copies", sent);
    /* Until its share of time allows one more. */
    for (int i = 0; i < 100000000 && (copy = next(&l)) == NULL; i++) stage_tap_out(harness_stage(h), 0, &f);
    cr_assert_not_null(copy);
    cr_expect_geq(json_int_or(copy, "skipped", 0), 20000 - sent);
    json_free(copy);
    harness_close(h);
}

Test(stage_tap, what_is_too_large_for_a_packet_comes_without_values)
{
    struct harness *h = open_toy();
    struct looker l = look();
    struct tensor t;
    float *v = calloc(100000, sizeof *v);
    for (int i = 0; i < 100000; i++) v[i] = 0.123456789f;
    struct frame f = values_frame(&t, v, 100000);
    tap(h, &l, NULL, 100000);
    stage_tap_out(harness_stage(h), 0, &f);
    struct json_node *copy = next(&l);
    cr_assert_not_null(copy);
    cr_expect_null(json_member(json_item(json_member(copy, "tensors"), 0), "values"));
    json_free(copy);
    free(v);
    harness_close(h);
}

Test(stage_tap, one_who_left_is_forgotten_and_so_is_one_who_is_untapped)
{
    struct harness *h = open_toy();
    struct looker gone = look(), stays = look();
    struct tensor t;
    float v[] = {1};
    struct frame f = values_frame(&t, v, 1);
    tap(h, &gone, NULL, 0);
    tap(h, &stays, NULL, 0);
    close(gone.fd);
    stage_tap_out(harness_stage(h), 0, &f);
    struct json_node *copy = next(&stays);
    cr_expect_not_null(copy, "the other's leaving cost it a frame");
    json_free(copy);
    obey(h, "untap", &stays, NULL, 0);
    cr_expect_null(harness_stage(h)->taps, "somebody is still tapping");
    stage_tap_out(harness_stage(h), 0, &f);
    harness_close(h);
}

Test(stage_tap, an_address_where_nobody_listens_is_no_failure)
{
    struct harness *h = open_toy();
    struct looker nobody = {.name = "thea-tap-nobody"}, nameless = {.name = ""};
    obey(h, "tap", &nobody, NULL, 0);
    obey(h, "tap", &nameless, NULL, 0);
    obey(h, "untap", &nobody, NULL, 0);
    cr_expect_null(harness_stage(h)->taps);
    harness_close(h);
}

Test(stage_tap, more_than_the_limit_are_not_taken)
{
    struct harness *h = open_toy();
    struct looker all[STAGE_TAPS_MAX + 1];
    for (int i = 0; i <= STAGE_TAPS_MAX; i++) {
        all[i] = look();
        obey(h, "tap", &all[i], NULL, 0);
    }
    struct pollfd p = {.fd = all[STAGE_TAPS_MAX].listener, .events = POLLIN};
    cr_expect_eq(poll(&p, 1, 0), 0, "it was taken");
    p.fd = all[STAGE_TAPS_MAX - 1].listener;
    cr_expect_eq(poll(&p, 1, 0), 1);
    harness_close(h);
}
