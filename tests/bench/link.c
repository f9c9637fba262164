/* A link against raw nng PAIR0 with messages of the same size, each between two processes, in turn within one
 * run: frames/s, GB/s and their ratio; and CPU time a frame, of both processes, which a busy machine spoils
 * less. The raw side fills its messages from a buffer as the link does, and reads nothing of them. */
#include "graph/wire/link.h"

#include <errno.h>
#include <inttypes.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-link: %s: %s\n", what, why);
    exit(1);
}

static void must(thea_rc rc, const struct thea_err *err)
{
    if (rc != THEA_OK) die("link", thea_err_message(err));
}

static void must_nng(int rv, const char *what)
{
    if (rv != 0) die(what, nng_strerror(rv));
}

/* --- raw: one message more than counted says that the count begins, so that starting is not measured --- */

static void raw_send(const char *url, size_t size, uint64_t count)
{
    nng_socket s;
    char *data = calloc(1, size);
    must_nng(nng_pair0_open(&s), "open");
    must_nng(nng_dial(s, url, NULL, 0), "dial");
    for (uint64_t i = 0; i <= count; i++) {
        nng_msg *m;
        must_nng(nng_msg_alloc(&m, size), "alloc");
        memcpy(nng_msg_body(m), data, size);
        must_nng(nng_sendmsg(s, m, 0), "send");
    }
    nng_msg *m;
    must_nng(nng_recvmsg(s, &m, 0), "the end"); /* nng_close does not linger */
    nng_msg_free(m);
    free(data);
}

static double raw_receive(const char *url, uint64_t count, void (*start)(void *), void *context)
{
    nng_socket s;
    nng_msg *m;
    uint64_t begin = 0;
    must_nng(nng_pair0_open(&s), "open");
    must_nng(nng_socket_set_size(s, NNG_OPT_RECVMAXSZ, FRAME_MAX_BYTES), "limit");
    must_nng(nng_listen(s, url, NULL, 0), "listen");
    start(context);
    for (uint64_t i = 0; i <= count; i++) {
        must_nng(nng_recvmsg(s, &m, 0), "receive");
        nng_msg_free(m);
        if (i == 0) begin = status_now_ns();
    }
    double seconds = (double)(status_now_ns() - begin) / 1e9;
    must_nng(nng_msg_alloc(&m, 1), "alloc");
    must_nng(nng_sendmsg(s, m, 0), "the end");
    nng_msg *never;
    nng_socket_set_ms(s, NNG_OPT_RECVTIMEO, 100);
    if (nng_recvmsg(s, &never, 0) == 0) nng_msg_free(never);
    nng_close(s);
    return seconds;
}

/* --- link --- */

static void sleep_until_news(struct link_set *set)
{
    struct pollfd p = {.fd = link_set_fd(set), .events = POLLIN};
    if (poll(&p, 1, -1) < 0 && errno != EINTR) die("poll", strerror(errno));
    link_set_clear(set);
}

static void link_sends(const char *url, size_t size, uint64_t count)
{
    struct thea_err err;
    struct link_set *set;
    struct link *ln;
    struct link_options o = {.port = "out", .stage = "bench"};
    must(link_address_parse(&o.address, url, &err), &err);
    must(link_set_new(&set, &err), &err);
    must(link_dial(&ln, set, &o, &err), &err);
    struct tensor t = tensor_1d("x", TENSOR_U8, calloc(1, size), size);
    for (uint64_t i = 0; i <= count + 1; i++) {
        struct frame f = {
            .kind = i <= count ? FRAME_DATA : FRAME_EOF, .tensors = &t, .tensor_count = i <= count};
        while (!link_ready(ln, frame_tensor_bytes(&f))) sleep_until_news(set);
        must(link_send(ln, &f, &err), &err);
    }
    must(link_close(ln, &err), &err);
}

static double link_receives(const char *url, uint64_t window, void (*start)(void *), void *context)
{
    struct thea_err err;
    struct link_set *set;
    struct link *ln;
    struct link_options o = {.port = "in", .stage = "bench", .window_frames = window};
    must(link_address_parse(&o.address, url, &err), &err);
    must(link_set_new(&set, &err), &err);
    must(link_listen(&ln, set, &o, &err), &err);
    start(context);
    uint64_t begin = 0;
    for (;;) {
        const struct frame *f;
        thea_rc rc = link_peek(ln, &f, &err);
        if (rc == THEA_DONE) break;
        if (rc == THEA_AGAIN) {
            link_flush_credit(ln);
            sleep_until_news(set);
            continue;
        }
        must(rc, &err);
        link_consume(ln);
        if (begin == 0) begin = status_now_ns();
    }
    double seconds = (double)(status_now_ns() - begin) / 1e9;
    must(link_close(ln, &err), &err);
    link_set_free(set);
    return seconds;
}

/* --- both --- */

struct child {
    const char *self, *mode, *url;
    char size[32], count[32];
    pid_t pid;
};

static void start_sender(void *context)
{
    struct child *c = context;
    char *argv[] = {(char *)(uintptr_t)c->self,
                    (char *)(uintptr_t)c->mode,
                    (char *)(uintptr_t)c->url,
                    c->size,
                    c->count,
                    NULL};
    int rv = posix_spawn(&c->pid, c->self, NULL, NULL, argv, environ);
    if (rv != 0) die("spawn", strerror(rv));
}

struct figures {
    double per_s, cpu_us; /* frames; of a frame */
};

static double cpu_us(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static struct figures measure(const char *mode, size_t size, uint64_t count, uint64_t window)
{
    static unsigned run;
    char url[128];
    snprintf(url, sizeof url, "abstract://thea-%016llx-%u", (unsigned long long)status_now_ns(), ++run);
    struct child c = {.self = "/proc/self/exe", .mode = mode, .url = url};
    snprintf(c.size, sizeof c.size, "%zu", size);
    snprintf(c.count, sizeof c.count, "%" PRIu64, count);
    double before_us = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN);
    double seconds = strcmp(mode, "raw") == 0 ? raw_receive(url, count, start_sender, &c)
                                              : link_receives(url, window, start_sender, &c);
    int status;
    if (waitpid(c.pid, &status, 0) != c.pid || status != 0) die("sender", "failed");
    double used_us = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN) - before_us;
    return (struct figures){(double)count / seconds, used_us / (double)count};
}

static void print_cpu(void)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "model name", 10) == 0) {
            printf("# CPU: %s", strchr(line, ':') + 2);
            break;
        }
    if (f != NULL) fclose(f);
    printf("# %ld CPUs; best of %s\n", sysconf(_SC_NPROCESSORS_ONLN), "several rounds, raw and link in turn");
}

static void keep_best(struct figures *best, struct figures now)
{
    if (now.per_s > best->per_s) best->per_s = now.per_s;
    if (best->cpu_us == 0 || now.cpu_us < best->cpu_us) best->cpu_us = now.cpu_us;
}

/* bench-link [rounds [scale [bytes]]]: scale 100 is the full count of messages; bytes: of that size alone. */
int main(int argc, char **argv)
{
    if (argc == 5) {
        size_t size = strtoull(argv[3], NULL, 10);
        uint64_t count = strtoull(argv[4], NULL, 10);
        if (strcmp(argv[1], "raw") == 0)
            raw_send(argv[2], size, count);
        else
            link_sends(argv[2], size, count);
        return 0;
    }
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    uint64_t scale = argc > 2 ? strtoull(argv[2], NULL, 10) : 100,
             only = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    static const struct {
        size_t size;
        uint64_t count;
    } sizes[] = {{64, 1000}, {4096, 1000}, {256 << 10, 60}, {3 << 19, 15}};
    static const uint64_t windows[] = {LINK_WINDOW_FRAMES, 64};
    print_cpu();
    printf(
        "bytes\twindow\traw frames/s\tlink frames/s\traw GB/s\tlink GB/s\tratio\traw CPU us\tlink CPU us\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof windows / sizeof *windows; k++) {
            struct figures raw = {0}, ours = {0};
            if (only != 0 && sizes[i].size != only) continue;
            for (int r = 0; r < rounds; r++) {
                keep_best(&raw, measure("raw", sizes[i].size, sizes[i].count * scale, 0));
                keep_best(&ours, measure("link", sizes[i].size, sizes[i].count * scale, windows[k]));
            }
            double bytes = (double)sizes[i].size / 1e9;
            printf("%zu\t%" PRIu64 "\t%.0f\t%.0f\t%.3f\t%.3f\t%.2f\t%.1f\t%.1f\n", sizes[i].size, windows[k],
                   raw.per_s, ours.per_s, raw.per_s * bytes, ours.per_s * bytes, ours.per_s / raw.per_s,
                   raw.cpu_us, ours.cpu_us);
            fflush(stdout);
        }
    }
    return 0;
}
