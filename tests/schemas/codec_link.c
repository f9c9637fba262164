/* Link messages through the codec, good and damaged. */
#include "tests/schemas/frames.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(codec_link, .timeout = 60);

Test(codec_link, every_field_of_a_link_message_survives)
{
    struct link_message m = {.kind = LINK_CREDIT,
                             .version = 1,
                             .run = 1ull << 63,
                             .link = 4,
                             .port = "p",
                             .pattern = "f32 [n]",
                             .host = "h",
                             .token = "t",
                             .role = LINK_RECEIVER,
                             .epoch = 5,
                             .incarnation = 6,
                             .peer_incarnation = 7,
                             .next_seq = 8,
                             .pid = -9,
                             .clock_ns = 10,
                             .ack_seq = 11,
                             .limit_seq = 12,
                             .limit_bytes = 13,
                             .stream = 14,
                             .time_ns = 15,
                             .echo_ns = 16,
                             .pool = 17,
                             .oldest_pool = 18,
                             .large = 20,
                             .slots = 19,
                             .slot_bytes = 1ull << 40,
                             .fd = -20,
                             .inode = 1ull << 41,
                             .reason = "r",
                             .expected = "e",
                             .found = "f"};
    struct encoded e = {0};
    cr_assert_eq(codec_encode_link(&m, encoded_alloc, &e, &e.offset, &e.size, NULL), THEA_OK);
    struct link_message g;
    cr_assert_eq(codec_decode_link(&g, encoded_bytes(&e), e.size, NULL), THEA_OK);
    cr_assert(g.kind == LINK_CREDIT && g.version == 1 && g.run == 1ull << 63 && g.link == 4 &&
              g.role == LINK_RECEIVER && g.epoch == 5);
    cr_assert(g.incarnation == 6 && g.peer_incarnation == 7 && g.next_seq == 8 && g.pid == -9 &&
              g.clock_ns == 10 && g.ack_seq == 11);
    cr_assert(g.limit_seq == 12 && g.limit_bytes == 13 && g.stream == 14 && g.time_ns == 15 &&
              g.echo_ns == 16);
    cr_assert(g.pool == 17 && g.oldest_pool == 18 && g.large == 20 && g.slots == 19 &&
              g.slot_bytes == 1ull << 40 && g.fd == -20 && g.inode == 1ull << 41);
    cr_assert(strcmp(g.port, "p") == 0 && strcmp(g.pattern, "f32 [n]") == 0 && strcmp(g.host, "h") == 0 &&
              strcmp(g.token, "t") == 0);
    cr_assert(strcmp(g.reason, "r") == 0 && strcmp(g.expected, "e") == 0 && strcmp(g.found, "f") == 0);
    encoded_fini(&e);
}

Test(codec_link, a_link_message_cut_or_flipped_anywhere_is_refused_or_still_safe)
{
    struct link_message m = {.kind = LINK_HELLO,
                             .version = 1,
                             .run = 77,
                             .port = "residual",
                             .pattern = "f32 [n, 128]"},
                        g;
    struct encoded e = {0};
    cr_assert_eq(codec_encode_link(&m, encoded_alloc, &e, &e.offset, &e.size, NULL), THEA_OK);
    volatile size_t sink = 0;
    cr_assert_eq(codec_decode_link(&g, encoded_bytes(&e), e.size, NULL), THEA_OK);
    size_t used = (size_t)(g.port + strlen(g.port) + 1 -
                           (const char *)encoded_bytes(&e)); /* behind it is only padding */
    cr_assert(used > e.size - 64 && used <= e.size);
    for (size_t n = 0; n < e.size * 8; n++) {
        void *exact = exact_copy(encoded_bytes(&e), e.size);
        ((unsigned char *)exact)[n / 8] ^= (unsigned char)(1u << n % 8);
        struct thea_err err = {0};
        thea_rc rc = codec_decode_link(&g, exact, e.size, &err);
        if (rc == THEA_OK)
            sink += strlen(g.port) + strlen(g.pattern) + strlen(g.reason);
        else
            cr_assert(rc == THEA_EFRAME && strlen(err.message) > 10);
        if (n % 8 == 0 && n / 8 < used)
            cr_assert_eq(codec_decode_link(&g, encoded_bytes(&e), n / 8, &err), THEA_EFRAME, "cut at %zu",
                         n / 8);
        free(exact);
    }
    (void)sink;
    encoded_fini(&e);
}

Test(codec_link, messages_are_told_apart_by_their_identifier)
{
    struct wire w = {0};
    wire_good(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_FRAME);
    wire_fini(&w);
    wire_link_message(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_LINK);
    struct link_message m;
    struct thea_err err = {0};
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_OK, "%s", err.message);
    wire_fini(&w);
    wire_text(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_UNKNOWN);
    cr_assert_eq(codec_identify(w.bytes, 7), CODEC_UNKNOWN);
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "link message: identifier is"));
    wire_fini(&w);
}

Test(codec_link, link_messages_have_limits_too)
{
    static char text[LINK_MESSAGE_MAX_BYTES + 1];
    memset(text, 'r', LINK_MESSAGE_MAX_BYTES);
    struct encoded e = {0};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_link(&(struct link_message){.reason = text}, encoded_alloc, &e, &e.offset,
                                   &e.size, &err),
                 THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "at most 65536"), "%s", err.message);
    struct link_message m;
    struct wire w = {0};
    wire_link_kind(&w);
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "link message: unknown kind 99"), "%s", err.message);
    wire_fini(&w);
}
