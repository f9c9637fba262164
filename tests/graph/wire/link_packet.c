/* Packets: shared without a copy, renumbered without harm to who shares them, large blocks used again. */
#include "graph/wire/link_impl.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LARGE = 1 << 20 };

static struct link_packet *frame_packet(uint64_t link_seq)
{
    struct thea_err err;
    struct link_packet *p = NULL;
    struct frame f = {.stream = 7, .link_seq = link_seq, .port = "x"};
    cr_assert_eq(link_encode_frame(&p, &f, &err), THEA_OK, "%s", err.message);
    return p;
}

static uint64_t seq_of(const struct link_packet *p)
{
    struct frame f;
    struct thea_err err;
    struct codec_arena *arena = codec_arena_new();
    cr_assert_eq(codec_decode_frame(&f, p->bytes, p->size, arena, &err), THEA_OK, "%s", err.message);
    codec_arena_free(arena);
    return f.link_seq;
}

Test(link_packet, begins_at_a_border_of_64_bytes_whatever_its_size)
{
    for (size_t size = 0; size < 200; size++) {
        struct link_packet *p = link_packet_new(size);
        cr_assert_eq((uintptr_t)p->bytes % 64, 0);
        cr_assert_eq(p->size, size);
        memset(p->bytes, 1, size);
        link_packet_free(p);
    }
    cr_expect_null(link_packet_new(SIZE_MAX - 10));
    link_packet_free(NULL);
}

Test(link_packet, lives_as_long_as_one_who_holds_it)
{
    struct link_packet *p = frame_packet(3);
    cr_expect_not(link_packet_is_shared(p));
    cr_expect_eq(link_packet_share(p), p);
    cr_expect(link_packet_is_shared(p));
    link_packet_free(p);
    cr_expect_not(link_packet_is_shared(p));
    cr_expect_eq(seq_of(p), 3);
    link_packet_free(p);
}

Test(link_packet, that_is_still_written_is_not_changed_when_its_frame_gets_another_number)
{
    struct link_kept kept = {0};
    struct link_packet *old = frame_packet(4), *written = frame_packet(5), *alone = frame_packet(6);
    link_kept_push(&kept, (struct link_kept_frame){old, 4, 0, 1});
    link_kept_push(&kept, (struct link_kept_frame){link_packet_share(written), 5, 0, 2});
    link_kept_push(&kept, (struct link_kept_frame){alone, 6, 0, 2});
    cr_expect_eq(link_kept_restart(&kept, 2), 1);
    cr_expect_eq(kept.count, 2);
    cr_expect_eq(seq_of(written), 5);
    cr_expect_neq(link_kept_at(&kept, 0)->packet, written);
    cr_expect_eq(seq_of(link_kept_at(&kept, 0)->packet), 0);
    cr_expect_eq(link_kept_at(&kept, 1)->packet, alone, "nobody else has it");
    cr_expect_eq(seq_of(alone), 1);
    link_packet_free(written);
    link_kept_fini(&kept);
}

Test(link_packet, of_a_large_size_gets_the_block_of_the_last_that_was_about_as_large)
{
    struct link_packet *p = link_packet_new(LARGE), *q;
    link_packet_free(p);
    cr_expect_neq(q = link_packet_new(LARGE / 4), p, "three quarters would be wasted");
    link_packet_free(q);
    cr_expect_neq(q = link_packet_new(LARGE + 1), p, "it does not fit");
    link_packet_free(q);
    cr_expect_eq(q = link_packet_new(LARGE - 1000), p);
    cr_expect_eq(q->size, LARGE - 1000);
    cr_expect_not(link_packet_is_shared(q));
    link_packet_free(q);
}

Test(link_packet, numbers_of_large_frames_are_dropped_from_the_first_on)
{
    struct link_seqs s = {0};
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 0; i < 50; i++) link_seqs_push(&s, round * 100 + i);
        link_seqs_drop(&s, round * 100 + 30);
        cr_expect_eq(s.count, 20);
    }
    link_seqs_drop(&s, 0);
    cr_expect_eq(s.count, 20, "none is below");
    link_seqs_drop(&s, UINT64_MAX);
    cr_expect_eq(s.count, 0);
    link_seqs_fini(&s);
}
