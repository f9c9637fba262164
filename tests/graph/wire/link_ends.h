/* Two ends of a link for tests. Every wait has a deadline; a test that reaches it fails. */
#ifndef TESTS_GRAPH_WIRE_LINK_ENDS_H
#define TESTS_GRAPH_WIRE_LINK_ENDS_H

#include "graph/wire/link.h"

#include <unistd.h>

struct ends_options {
    uint64_t window_frames, window_bytes, epoch;
    uint64_t spill_bytes;
    const char *spill_dir;
    bool two_sets; /* each end has a set of its own, for two threads */
    bool tcp, ipc;
    bool lasting;
    int silence_ms;
    const char *tx_pattern, *rx_pattern;
    int reconnect_ms;
};

struct ends {
    struct link_options tx_options, rx_options;
    struct link_set *set, *rx_set; /* of tx; of rx (the same one unless two_sets) */
    struct link *tx, *rx;
    struct status_link *tx_status, *rx_status;
    char dir[32];
    bool own_sets;
};

struct ends ends_new(struct ends_options o); /* not connected yet; the address is one of a kind */
void ends_use_sets(struct ends *e, struct link_set *tx_set, struct link_set *rx_set);
void ends_listen(struct ends *e);
void ends_dial(struct ends *e);
struct ends ends_half(struct ends_options o); /* new and listen */
struct ends ends_open(struct ends_options o); /* new, listen, dial */
void ends_free(struct ends *e);               /* what is still open is aborted */

void ends_poll(struct link_set *set); /* until news, which it takes in; a minute at most */
void ends_settle(
    struct ends *e); /* until nothing has happened for a moment: before saying that something did not */
void ends_wait_ready(struct ends *e, uint64_t bytes);
void ends_wait_stopped(struct ends *e);
void ends_wait_queued(struct ends *e, uint32_t frames); /* here and not consumed; the first may be peeked */
void ends_send(struct ends *e, uint64_t seq,
               size_t bytes); /* waits for credit; a frame with one u8 tensor whose byte i is i */
const struct frame *ends_receive(struct ends *e); /* waits; not consumed */
void ends_finish(struct ends *e);                 /* eof, read to the end, close both */
void ends_close_tx(struct ends *e);
void ends_close_rx(struct ends *e);
void *ends_loop_far(void *two_ends); /* the other side of the loop of two links */
/* The link's error, when it comes. */
thea_rc ends_wait_trouble(struct link *ln, struct link_set *set, struct thea_err *err);

#endif
