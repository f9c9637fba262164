/* Peers that say nothing: stopped, cut off, or only busy. The far end is a stage in a process of its own,
 * that was started by hand, or our own in this one. */
#include "graph/wire/link_impl.h"
#include "tests/graph/wire/link_ends.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { SILENCE_MS = 300, IDLE_SILENCE_MS = 2000, FRAMES = 400 };

TestSuite(link_silence, .timeout = 300);

/* --- a sender in a process of its own --- */

static pid_t start_count(const struct ends *e)
{
    char out[200], frames[32];
    snprintf(out, sizeof out, "values=%s", e->tx_options.address.url);
    snprintf(frames, sizeof frames, "%d", FRAMES);
    const char *argv[] = {"thea-count", "--documents", "1", "--frames", frames, "--out", out, NULL};
    extern char **environ;
    pid_t pid;
    cr_assert_eq(
        posix_spawn(&pid, THEA_BIN_DIR "/tests/thea-count", NULL, NULL, (char **)(uintptr_t)argv, environ),
        0);
    return pid;
}

static int status_of(pid_t pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* Read to eof; the numbers follow each other. */
static void read_all(struct ends *e, uint64_t next)
{
    for (bool eof = false; !eof; next++) {
        const struct frame *f = ends_receive(e);
        cr_assert_eq(f->link_seq, next);
        eof = f->kind == FRAME_EOF;
        link_consume(e->rx);
    }
    cr_assert_eq(next, FRAMES + 2, "its end and eof");
    cr_assert_eq(e->rx_status->frames, FRAMES + 2);
}

static void wait_down(struct ends *e)
{
    while (e->rx->state != LINK_DOWN) {
        cr_assert_eq(link_check(e->rx, NULL), THEA_OK);
        ends_poll(e->rx_set);
    }
}

/* It goes on where it was: frames are neither lost nor repeated. */
Test(link_silence, a_stopped_sender_is_noticed_and_goes_on_when_it_is_continued)
{
    struct ends e = ends_half((struct ends_options){.silence_ms = SILENCE_MS});
    pid_t pid = start_count(&e);
    ends_receive(&e);
    link_consume(e.rx);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    wait_down(&e);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    read_all(&e, 1);
    ends_close_rx(&e);
    cr_assert_eq(status_of(pid), 0);
    ends_free(&e);
}

Test(link_silence, a_sender_that_is_stopped_for_good_is_given_up)
{
    struct ends e = ends_half((struct ends_options){.silence_ms = SILENCE_MS});
    pid_t pid = start_count(&e);
    ends_receive(&e);
    link_consume(e.rx);
    e.rx->o.reconnect_ms = 1000; /* from now on: it may have been slow to start */
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.rx, e.rx_set, &err), THEA_ETIMEOUT);
    char want[128];
    snprintf(want, sizeof want, "sender pid %d: the connection was lost, and not made again within 1.0 s",
             (int)pid);
    cr_assert_not_null(strstr(err.message, want), "%s", err.message);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    status_of(pid);
    ends_free(&e);
}

/* A process that was killed is a zombie until somebody asks for its status: it is dead all the same. */
Test(link_silence, a_killed_sender_is_an_error_at_once_though_nobody_has_reaped_it)
{
    struct ends e = ends_half((struct ends_options){.silence_ms = SILENCE_MS});
    pid_t pid = start_count(&e);
    ends_receive(&e);
    link_consume(e.rx);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.rx, e.rx_set, &err), THEA_ECLOSED);
    cr_assert_not_null(strstr(err.message, "lost before its eof frame"), "%s", err.message);
    status_of(pid);
    ends_free(&e);
}

Test(link_silence, a_connection_that_is_lost_while_the_sender_lives_is_made_again)
{
    struct ends e = ends_half((struct ends_options){.window_frames = 4});
    pid_t pid = start_count(&e);
    for (uint64_t i = 0; i < 200; i++) {
        const struct frame *f = ends_receive(&e);
        cr_assert_eq(f->link_seq, i);
        link_consume(e.rx);
        if (i % 20 == 10) link_pipe_drop(e.rx->pipe, e.rx->session);
    }
    read_all(&e, 200);
    ends_close_rx(&e);
    cr_assert_eq(status_of(pid), 0);
    ends_free(&e);
}

/* --- both in this process --- */

static uint64_t rtt_of(struct link *ln)
{
    pthread_mutex_lock(&ln->pipe->lock);
    uint64_t rtt = ln->pipe->rtt_ns;
    pthread_mutex_unlock(&ln->pipe->lock);
    return rtt;
}

/* Neither end's thread does anything meanwhile: nng's threads answer for it. An answer is speech too, so one
 * end alone may be the one that asks. A silence is long enough for threads that wait for the CPU. */
Test(link_silence, an_idle_pair_of_busy_stages_stays_connected)
{
    struct ends e = ends_open((struct ends_options){.silence_ms = IDLE_SILENCE_MS});
    ends_wait_ready(&e, 0);
    ends_settle(&e);
    uint32_t tx = e.tx->session, rx = e.rx->session;
    struct pollfd p = {.fd = link_set_fd(e.set), .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 3 * IDLE_SILENCE_MS), 0, "news in three silences");
    cr_assert(rtt_of(e.tx) > 0 || rtt_of(e.rx) > 0, "somebody asked and was answered");
    ends_send(&e, 0, 10);
    cr_assert_eq(ends_receive(&e)->seq, 0);
    link_consume(e.rx);
    cr_assert(e.tx->session == tx && e.rx->session == rx);
    ends_finish(&e);
    ends_free(&e);
}

static bool set_loopback(bool up)
{
    struct ifreq r = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &r) == 0;
    r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
    ok = ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

static void cut_and_mend_wire(void)
{
    cr_assert(set_loopback(true));
    struct ends e = ends_open((struct ends_options){.lasting = true, .tcp = true, .silence_ms = SILENCE_MS});
    for (uint64_t i = 0; i < 3; i++) ends_send(&e, i, 1000);
    cr_assert_eq(ends_receive(&e)->seq, 0);
    link_consume(e.rx);
    cr_assert(set_loopback(false));
    for (uint64_t i = 3; link_ready(e.tx, 1000); i++) ends_send(&e, i, 1000);
    while (e.rx->state != LINK_DOWN || e.tx->state != LINK_DOWN) ends_poll(e.set);
    uint64_t sent = e.tx_status->frames;
    cr_assert_gt(sent, 3);
    cr_assert(set_loopback(true));
    for (uint64_t i = 1; i < sent; i++) {
        cr_assert_eq(ends_receive(&e)->seq, i);
        link_consume(e.rx);
    }
    cr_assert_eq(link_check(e.tx, NULL), THEA_OK);
    ends_free(&e);
}

/* TCP says nothing when the wire is gone. In a network of its own a process can take it away; all its threads
 * must be in there, so this very test is run again. */
Test(link_silence, a_cut_wire_is_noticed_and_the_link_goes_on_when_it_is_mended)
{
    if (getenv("THEA_TEST_OWN_NETWORK") != NULL) {
        cut_and_mend_wire();
        return;
    }
    struct run_result r;
    run_shell(&r, NULL, RUN_LIMIT_S,
              "unshare -r -n true 2>/dev/null || exit 77\n"
              "unset BXFI_MAP # or Criterion takes itself for a test's process\n"
              "THEA_TEST_OWN_NETWORK=yes exec unshare -r -n " THEA_BIN_DIR
              "/test-graph-wire --filter 'link_silence/a_cut_wire*'");
    int status = r.status;
    bool one_passed =
        strstr(buf_text(&r.err), "Passing: 1 ") != NULL || strstr(buf_text(&r.out), "Passing: 1 ") != NULL;
    cr_expect(status == 77 || (status == 0 && one_passed), "status %d: %s%s", status, buf_text(&r.out),
              buf_text(&r.err));
    run_result_fini(&r);
    if (status == 77) cr_skip_test("no network namespace of our own here");
}
