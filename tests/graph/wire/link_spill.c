/* Receivers whose frames may wait on disk. */
#include "tests/graph/wire/link_ends.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { SPILL = 1 << 20 };

TestSuite(link_spill, .timeout = 300);

static struct ends_options small_window(void)
{
    return (struct ends_options){.window_frames = 4, .spill_bytes = SPILL, .spill_dir = "/tmp"};
}

static void receive_checked(struct ends *e, uint64_t seq, uint64_t bytes)
{
    const struct frame *f = ends_receive(e);
    cr_assert_eq(f->seq, seq, "%lu came, not %lu", f->seq, seq);
    cr_assert_eq(f->tensors[0].size_bytes, bytes);
    const unsigned char *data = f->tensors[0].data;
    for (uint64_t i = 0; i < bytes; i++) cr_assert_eq(data[i], (unsigned char)i, "byte %lu", i);
    link_consume(e->rx);
}

static size_t count_threads(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n;
}

Test(link_spill, a_sender_goes_on_while_its_receiver_is_busy_and_all_arrives_in_order)
{
    struct ends e = ends_open(small_window());
    for (uint64_t i = 0; i < 300; i++) ends_send(&e, i, 1000 + i);
    cr_assert_gt(e.rx_status->spilled_bytes, 200 * 1000, "most of it is on disk");
    cr_assert_leq(e.rx_status->spilled_bytes, SPILL);
    cr_assert_eq(e.rx_status->spill_limit, SPILL);
    cr_assert_gt(e.rx_status->spilled_frames, 280);
    for (uint64_t i = 0; i < 300; i++) receive_checked(&e, i, 1000 + i);
    cr_assert_eq(e.rx_status->spilled_bytes, 0);
    ends_finish(&e);
    cr_assert_eq(e.rx_status->frames, 301);
    cr_assert_eq(e.rx_status->stale + e.rx_status->unwanted, 0);
    cr_assert_eq(e.rx_status->spilled_frames, 0);
    ends_free(&e);
}

Test(link_spill, a_receiver_that_keeps_up_writes_nothing)
{
    struct ends_options o = small_window();
    o.spill_dir = "/nonexistent";
    struct ends e = ends_open(o);
    for (uint64_t i = 0; i < 100; i++) {
        ends_send(&e, i, 1000);
        receive_checked(&e, i, 1000);
    }
    ends_finish(&e);
    ends_free(&e);
}

Test(link_spill, frames_come_and_go_at_once_for_long)
{
    struct ends e = ends_open(small_window());
    uint64_t sent = 0, received = 0;
    for (unsigned round = 0; round < 2000; round++) {
        unsigned burst = round * 7919 % 13;
        for (unsigned i = 0; i < burst && sent - received < 500; i++, sent++)
            ends_send(&e, sent, sent % 3000);
        for (unsigned i = 0; i < 6 && received < sent; i++, received++)
            receive_checked(&e, received, received % 3000);
    }
    for (; received < sent; received++) receive_checked(&e, received, received % 3000);
    cr_assert_gt(sent, 4000);
    ends_finish(&e);
    ends_free(&e);
}

Test(link_spill, a_full_spill_stops_the_credit_until_there_is_room)
{
    struct ends_options o = small_window();
    o.spill_bytes = 65536;
    struct ends e = ends_open(o);
    uint64_t sent = 0, received = 0;
    while (sent <= 4 + 4 + 10) ends_send(&e, sent++, 4000);
    for (bool more = true; more;) { /* until nothing has moved for a moment */
        while (link_ready(e.tx, 4000)) ends_send(&e, sent++, 4000);
        ends_settle(&e);
        more = link_ready(e.tx, 4000);
    }
    cr_assert_lt(sent, 65536 / 4000 + 4 + 4 + 1, "%lu frames for a window, a window in memory and 64 KiB",
                 sent);
    cr_assert_leq(e.rx_status->spilled_bytes, 65536);
    for (; received < sent; received++) receive_checked(&e, received, 4000);
    for (; sent < 100; sent++) {
        ends_send(&e, sent, 4000);
        receive_checked(&e, sent, 4000);
    }
    ends_finish(&e);
    ends_free(&e);
}

Test(link_spill, a_frame_larger_than_the_spill_waits_in_the_link_and_passes)
{
    struct ends_options o = small_window();
    o.spill_bytes = 65536;
    struct ends e = ends_open(o);
    for (uint64_t i = 0; i < 6; i++) ends_send(&e, i, 1000);
    ends_send(&e, 6, 200000);
    ends_send(&e, 7, 10);
    for (uint64_t i = 0; i < 6; i++) receive_checked(&e, i, 1000);
    receive_checked(&e, 6, 200000);
    receive_checked(&e, 7, 10);
    ends_finish(&e);
    ends_free(&e);
}

Test(link_spill, a_disk_that_takes_no_more_holds_the_sender_back_and_loses_nothing)
{
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){20000, 20000}), 0);
    struct ends e = ends_open(small_window());
    uint64_t sent = 0;
    ends_wait_ready(&e, 1000);
    for (bool more = true; more;) {
        while (link_ready(e.tx, 1000)) ends_send(&e, sent++, 1000);
        ends_settle(&e);
        more = link_ready(e.tx, 1000);
    }
    cr_assert_lt(sent, 20 + 4 + 4 + 1);
    for (uint64_t i = 0; i < sent; i++) receive_checked(&e, i, 1000);
    for (uint64_t i = sent; i < 2 * sent; i++) ends_send(&e, i, 1000);
    for (uint64_t i = sent; i < 2 * sent; i++) receive_checked(&e, i, 1000);
    ends_finish(&e);
    ends_free(&e);
}

Test(link_spill, what_waits_of_an_older_epoch_is_dropped_and_counted)
{
    struct ends_options o = small_window();
    o.epoch = 1;
    o.lasting = true;
    struct ends e = ends_open(o);
    for (uint64_t i = 0; i < 100; i++) ends_send(&e, i, 1000);
    cr_assert_eq(ends_receive(&e)->seq, 0);
    e.tx_options.epoch = 2;
    link_set_epoch(e.tx, 2);
    for (uint64_t i = 1000; i < 1050; i++) ends_send(&e, i, 500);
    while (link_epoch(e.rx) < 2) { /* it is heard of before its frames have their turn */
        const struct frame *f;
        cr_assert_eq(link_peek(e.rx, &f, NULL), THEA_OK);
        cr_assert_eq(f->epoch, 1);
        ends_poll(e.rx_set);
    }
    link_consume(e.rx);
    link_set_epoch(e.rx, 2);
    for (uint64_t i = 1000; i < 1050; i++) receive_checked(&e, i, 500);
    cr_assert_eq(e.rx_status->stale, 99);
    ends_free(&e);
}

Test(link_spill, a_sender_that_dies_is_an_error_only_after_all_that_it_sent)
{
    struct ends e = ends_open(small_window());
    for (uint64_t i = 0; i < 100; i++) ends_send(&e, i, 1000);
    while (e.rx_status->frames < 100) ends_settle(&e);
    link_abort(e.tx);
    e.tx = NULL;
    struct thea_err err = {0};
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_eq(link_check(e.rx, &err), THEA_OK, "%s", err.message);
        receive_checked(&e, i, 1000);
    }
    cr_assert_eq(ends_wait_trouble(e.rx, e.rx_set, &err), THEA_ECLOSED);
    cr_assert_not_null(strstr(err.message, "after 100 frames"), "%s", err.message);
    const struct frame *f;
    cr_assert_eq(link_peek(e.rx, &f, NULL), THEA_ECLOSED);
    ends_free(&e);
}

Test(link_spill, stop_discards_what_waits_and_the_end_still_comes)
{
    struct ends e = ends_open(small_window());
    for (uint64_t i = 0; i < 100; i++) ends_send(&e, i, 1000);
    receive_checked(&e, 0, 1000);
    link_stop(e.rx);
    ends_wait_stopped(&e);
    const struct frame *f;
    cr_assert_eq(link_send(e.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    f = ends_receive(&e);
    cr_assert_eq(f->kind, FRAME_EOF);
    link_consume(e.rx);
    ends_close_tx(&e);
    ends_close_rx(&e);
    cr_assert_eq(e.rx_status->unwanted, 99);
    ends_free(&e);
}

Test(link_spill, a_cancelled_stream_is_taken_out_of_what_waits)
{
    struct ends_options o = small_window();
    o.epoch = 1;
    o.lasting = true;
    struct ends e = ends_open(o);
    for (uint64_t i = 0; i < 100; i++) {
        struct frame f = {
            .kind = i % 10 == 9 ? FRAME_END : FRAME_DATA, .stream = i / 10, .seq = i, .epoch = 1};
        ends_wait_ready(&e, 0);
        cr_assert_eq(link_send(e.tx, &f, NULL), THEA_OK);
    }
    cr_assert_eq(ends_receive(&e)->seq, 0);
    link_consume(e.rx);
    link_cancel(e.rx, 0, 0);
    link_cancel(e.rx, 4, 0);
    for (uint64_t i = 10; i < 100; i++) {
        if (i / 10 == 4) continue;
        cr_assert_eq(ends_receive(&e)->seq, i);
        link_consume(e.rx);
    }
    ends_free(&e);
}

Test(link_spill, a_receiver_that_gives_up_leaves_no_thread_and_no_file)
{
    struct ends e = ends_open(small_window());
    size_t threads = 0;
    for (uint64_t i = 0; i < 100; i++) ends_send(&e, i, 1000);
    cr_assert_gt(e.rx_status->spilled_bytes, 0);
    threads = count_threads();
    link_abort(e.rx);
    e.rx = NULL;
    cr_assert_eq(count_threads(), threads - 1);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.tx, e.set, &err), THEA_ECLOSED);
    ends_free(&e);
}

Test(link_spill, slots_of_the_senders_pool_are_free_once_their_frames_wait_on_disk)
{
    struct ends_options o = small_window();
    struct ends e = ends_new(o);
    struct region_port *port = region_port_new("residual");
    e.tx_options.regions = port;
    ends_listen(&e);
    ends_dial(&e);
    ends_wait_ready(&e, 1);
    for (uint64_t i = 0; i < 60; i++) {
        while (!region_port_ready(port) || !link_ready(e.tx, 8192)) ends_poll(e.set);
        unsigned char *data = region_port_buffer(port, 8192);
        cr_assert_not_null(data);
        memset(data, (int)i, 8192);
        struct tensor t = tensor_1d("residual", TENSOR_U8, data, 8192);
        struct frame f = {.seq = i, .port = "residual", .tensors = &t, .tensor_count = 1};
        while (!link_ready(e.tx, 8192)) ends_poll(e.set);
        cr_assert_eq(link_send(e.tx, &f, NULL), THEA_OK);
        region_port_done(port);
    }
    while (region_port_in_use(port) > 0) {
        ends_poll(e.set);
        link_ready(e.tx, 1);
    }
    cr_assert_eq(e.tx_status->copied_bytes, 0, "they went in place");
    cr_assert_eq(e.rx_status->copied_bytes, 60 * 8192, "and were copied here");
    for (uint64_t i = 0; i < 60; i++) {
        const struct frame *f = ends_receive(&e);
        const unsigned char *data = f->tensors[0].data;
        for (size_t b = 0; b < 8192; b++) cr_assert_eq(data[b], (unsigned char)i);
        link_consume(e.rx);
    }
    ends_finish(&e);
    ends_free(&e);
    region_port_free(port);
}
