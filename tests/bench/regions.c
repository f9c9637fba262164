/* Regions against copies and against this machine's memcpy: a chain of three processes, source > relay >
 * sink. The source writes each frame, the relay copies it from the frame that came into the frame that goes
 * (what a kernel's reading and writing costs at least), the sink reads it. So a chain without copies of its
 * own moves about one memcpy a frame, and what is printed is GB/s of frames over GB/s of memcpy in one core.
 *
 * Then latency, with one frame under way at a time: from before the source's link_send to the sink's
 * link_peek, against raw nng with messages of 64 bytes through a chain of the same form. Then the border
 * below which bytes are faster in the message.
 *
 * bench-regions [scale [rounds]]: 100 is the full number of frames. */
#include "graph/wire/link.h"
#include "graph/wire/region_impl.h"

#include <errno.h>
#include <fcntl.h>
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

enum { FRAME_BYTES = 3 << 19, RAW_BYTES = 64, WARM_UP = 32, PROCESSES = 3 };

/* What a run of the chain does; on the command lines of its processes. */
struct run {
    const char *way; /* "region", "copy", "raw" */
    size_t bytes;
    uint64_t frames;
    bool one_by_one, touch;
};

struct result {
    double frames_per_second;
    double cpu_us; /* a frame, of the three processes together: says more than time on a busy machine */
    double p50_us, p99_us; /* one by one */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-regions: %s: %s\n", what, why);
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

static volatile unsigned char sunk;

/* Read all of it, as a kernel would that only sums up. */
static void sink_bytes(const void *data, size_t n)
{
    const uint64_t *words = data;
    uint64_t sum[4] = {0};
    for (size_t i = 0; i + 4 <= n / 8; i += 4)
        for (size_t k = 0; k < 4; k++) sum[k] ^= words[i + k];
    sunk = (unsigned char)(sum[0] ^ sum[1] ^ sum[2] ^ sum[3]);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The sink's notes. */
struct notes {
    uint64_t seen, begin_ns, *ns;
};

static void note(struct notes *n, uint64_t sent_ns)
{
    uint64_t now = status_now_ns();
    if (n->seen == WARM_UP) n->begin_ns = now;
    if (n->seen >= WARM_UP) n->ns[n->seen - WARM_UP] = now - sent_ns;
    n->seen++;
}

static struct result conclude(struct notes *n, uint64_t frames)
{
    struct result r = {.frames_per_second =
                           (double)(frames - 1) * 1e9 / (double)(status_now_ns() - n->begin_ns)};
    qsort(n->ns, frames, sizeof *n->ns, by_size);
    r.p50_us = (double)n->ns[frames / 2] / 1e3;
    r.p99_us = (double)n->ns[frames * 99 / 100] / 1e3;
    free(n->ns);
    return r;
}

static struct notes notes_new(uint64_t frames)
{
    struct notes n = {.ns = calloc(frames + 1, sizeof *n.ns)};
    if (n.ns == NULL) die("memory", "out of it");
    return n;
}

/* --- links --- */

struct end {
    struct link_set *set;
    struct region_port *port;
    struct link *in, *out;
    struct status_link status;
};

static void sleep_until_news(struct link_set *set)
{
    struct pollfd p = {.fd = link_set_fd(set), .events = POLLIN};
    if (poll(&p, 1, -1) < 0 && errno != EINTR) die("poll", strerror(errno));
    link_set_clear(set);
}

static struct end end_open(const struct run *r, const char *in, const char *out)
{
    struct end e = {0};
    struct thea_err err;
    must(link_set_new(&e.set, &err), &err);
    if (in != NULL) {
        struct link_options o = {.port = "in", .stage = "bench"};
        must(link_address_parse(&o.address, in, &err), &err);
        must(link_listen(&e.in, e.set, &o, &err), &err);
    }
    if (out != NULL) {
        e.port = region_port_new("out");
        if (strcmp(r->way, "region") == 0)
            e.port->inline_max = 1;
        else
            e.port->failed = true;
        struct link_options o = {.port = "out", .stage = "bench", .regions = e.port};
        must(link_address_parse(&o.address, out, &err), &err);
        must(link_dial(&e.out, e.set, &o, &err), &err);
    }
    return e;
}

static void end_close(struct end *e)
{
    struct thea_err err;
    if (e->in != NULL) must(link_close(e->in, &err), &err);
    if (e->out != NULL) must(link_close(e->out, &err), &err);
    region_port_free(e->port);
    link_set_free(e->set);
}

static const struct frame *end_receive(struct end *e)
{
    const struct frame *f;
    struct thea_err err;
    for (thea_rc rc; (rc = link_peek(e->in, &f, &err)) != THEA_OK;) {
        if (rc == THEA_DONE) return NULL;
        if (rc != THEA_AGAIN) must(rc, &err);
        link_flush_credit(e->in);
        sleep_until_news(e->set);
    }
    return f;
}

static void wait_ready(struct end *e, uint64_t bytes)
{
    while (!link_ready(e->out, bytes) || !region_port_ready(e->port)) sleep_until_news(e->set);
}

/* Where the frame's bytes are written: shared memory if there is some. */
static void *room(struct end *e, size_t bytes)
{
    static void *own;
    void *at = region_port_buffer(e->port, bytes);
    if (at != NULL) return at;
    if (own == NULL) own = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (own == NULL) die("memory", "out of it");
    return own;
}

static void end_send(struct end *e, struct frame *f, uint64_t bytes)
{
    struct thea_err err;
    while (!link_ready(e->out, bytes)) sleep_until_news(e->set);
    must(link_send(e->out, f, &err), &err);
    region_port_done(e->port);
}

static void send_eof(struct end *e)
{
    wait_ready(e, 0);
    end_send(e, &(struct frame){.kind = FRAME_EOF}, 0);
}

/* One by one: the sink says through a pipe when it has seen the frame. */
static void wait_for_sink(bool one_by_one)
{
    char c;
    if (one_by_one && read(STDIN_FILENO, &c, 1) != 1) die("the sink", "gone");
}

static void source(const struct run *r, const char *out)
{
    struct end e = end_open(r, NULL, out);
    for (uint64_t i = 0; i < r->frames + WARM_UP; i++) {
        wait_ready(&e, r->bytes);
        char *data = room(&e, r->bytes);
        if (r->touch) memset(data, (int)i, r->bytes);
        struct tensor t = tensor_1d("x", TENSOR_U8, data, r->bytes);
        struct frame f = {.tensors = &t, .tensor_count = 1, .created_ns = status_now_ns()};
        end_send(&e, &f, r->bytes);
        wait_for_sink(r->one_by_one);
    }
    send_eof(&e);
    end_close(&e);
}

static void relay(const struct run *r, const char *in, const char *out)
{
    struct end e = end_open(r, in, out);
    for (const struct frame *f; (f = end_receive(&e)) != NULL;) {
        if (f->kind == FRAME_EOF) {
            link_consume(e.in);
            continue;
        }
        wait_ready(&e, r->bytes);
        char *data = room(&e, r->bytes);
        if (r->touch) memcpy(data, f->tensors[0].data, r->bytes);
        struct tensor t = tensor_1d("x", TENSOR_U8, data, r->bytes);
        struct frame g = {.tensors = &t, .tensor_count = 1, .created_ns = f->created_ns};
        end_send(&e, &g, r->bytes);
        link_consume(e.in);
    }
    send_eof(&e);
    end_close(&e);
}

static struct result sink(const struct run *r, const char *in, int to_source)
{
    struct end e = end_open(r, in, NULL);
    struct notes n = notes_new(r->frames);
    struct result result = {0};
    for (const struct frame *f; (f = end_receive(&e)) != NULL;) {
        if (f->kind != FRAME_EOF) {
            if (f->tensors[0].size_bytes != r->bytes) die("a frame", "of another size");
            note(&n, f->created_ns);
            if (r->touch) sink_bytes(f->tensors[0].data, r->bytes);
            if (n.seen == r->frames + WARM_UP) result = conclude(&n, r->frames);
        }
        link_consume(e.in);
        if (r->one_by_one && write(to_source, "", 1) != 1) die("the source", "gone");
    }
    end_close(&e);
    return result;
}

/* --- raw nng: the same chain, small messages with the time in them --- */

static nng_socket raw_open(const char *url, bool listens)
{
    nng_socket s;
    must_nng(nng_pair0_open(&s), "open");
    must_nng(listens ? nng_listen(s, url, NULL, 0) : nng_dial(s, url, NULL, NNG_FLAG_NONBLOCK), url);
    return s;
}

static void raw_source(const struct run *r, const char *out)
{
    nng_socket s = raw_open(out, false);
    for (uint64_t i = 0; i < r->frames + WARM_UP; i++) {
        nng_msg *m;
        must_nng(nng_msg_alloc(&m, RAW_BYTES), "alloc");
        uint64_t now = status_now_ns();
        memcpy(nng_msg_body(m), &now, sizeof now);
        must_nng(nng_sendmsg(s, m, 0), "send");
        wait_for_sink(true);
    }
    nng_close(s);
}

static void raw_relay(const struct run *r, const char *in, const char *out)
{
    nng_socket from = raw_open(in, true), to = raw_open(out, false);
    for (uint64_t i = 0; i < r->frames + WARM_UP; i++) {
        nng_msg *m;
        must_nng(nng_recvmsg(from, &m, 0), "receive");
        must_nng(nng_sendmsg(to, m, 0), "send");
    }
    wait_for_sink(true);
    nng_close(from);
    nng_close(to);
}

static struct result raw_sink(const struct run *r, const char *in, int to_source, int to_relay)
{
    nng_socket s = raw_open(in, true);
    struct notes n = notes_new(r->frames);
    for (uint64_t i = 0; i < r->frames + WARM_UP; i++) {
        nng_msg *m;
        uint64_t sent;
        must_nng(nng_recvmsg(s, &m, 0), "receive");
        memcpy(&sent, nng_msg_body(m), sizeof sent);
        note(&n, sent);
        nng_msg_free(m);
        if (write(to_source, "", 1) != 1) die("the source", "gone");
    }
    if (write(to_relay, "", 1) != 1) die("the relay", "gone");
    nng_close(s);
    return conclude(&n, r->frames);
}

/* --- the three processes --- */

static pid_t start(const char *role, const struct run *r, const char *in, const char *out, int stdin_fd)
{
    char bytes[32], frames[32], flags[8];
    posix_spawn_file_actions_t actions;
    snprintf(bytes, sizeof bytes, "%zu", r->bytes);
    snprintf(frames, sizeof frames, "%" PRIu64, r->frames);
    snprintf(flags, sizeof flags, "%d%d", r->one_by_one, r->touch);
    const char *argv[] = {"bench-regions", role, r->way, bytes, frames, flags, in, out, NULL};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, stdin_fd, STDIN_FILENO);
    pid_t pid;
    int rv = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rv != 0) die("spawn", strerror(rv));
    return pid;
}

static int play(int argc, char **argv)
{
    if (argc != 8) return 64;
    struct run r = {.way = argv[2],
                    .bytes = strtoull(argv[3], NULL, 10),
                    .frames = strtoull(argv[4], NULL, 10),
                    .one_by_one = argv[5][0] == '1',
                    .touch = argv[5][1] == '1'};
    bool raw = strcmp(r.way, "raw") == 0;
    if (strcmp(argv[1], "source") == 0)
        (raw ? raw_source : source)(&r, argv[7]);
    else
        (raw ? raw_relay : relay)(&r, argv[6], argv[7]);
    return 0;
}

static double cpu_of(int who)
{
    struct rusage u;
    if (getrusage(who, &u) != 0) die("getrusage", strerror(errno));
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* The processes' own beginning and end are in it: frames must be many. */
static double cpu_us(void)
{
    return cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN);
}

static struct result measure(const struct run *r)
{
    double cpu = cpu_us();
    static unsigned count;
    char first[96], second[96];
    int to_source[2], to_relay[2];
    pid_t pids[2];
    unsigned long long run = status_now_ns();
    snprintf(first, sizeof first, "abstract://thea-%016llx-%u", run, ++count);
    snprintf(second, sizeof second, "abstract://thea-%016llx-%u", run, ++count);
    if (pipe2(to_source, O_CLOEXEC) != 0 || pipe2(to_relay, O_CLOEXEC) != 0) die("pipe", strerror(errno));
    pids[0] = start("relay", r, first, second, to_relay[0]);
    pids[1] = start("source", r, "-", first, to_source[0]);
    struct result result = strcmp(r->way, "raw") == 0 ? raw_sink(r, second, to_source[1], to_relay[1])
                                                      : sink(r, second, to_source[1]);
    for (int i = 0; i < PROCESSES - 1; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) die("a process", "failed");
    }
    for (int i = 0; i < 2; i++) close(to_source[i]), close(to_relay[i]);
    result.cpu_us = (cpu_us() - cpu) / (double)(r->frames + WARM_UP);
    return result;
}

/* --- the report --- */

static double memcpy_gbs(size_t bytes)
{
    enum { BUFFERS = 10, TIMES = 400 };
    char *from = aligned_alloc(64, BUFFERS * bytes), *to = aligned_alloc(64, BUFFERS * bytes);
    if (from == NULL || to == NULL) die("memory", "out of it");
    memset(from, 1, BUFFERS * bytes);
    memset(to, 2, BUFFERS * bytes);
    uint64_t begin = status_now_ns();
    for (int i = 0; i < TIMES; i++) {
        memcpy(to + i % BUFFERS * bytes, from + i % BUFFERS * bytes, bytes);
        sunk = (unsigned char)to[i % BUFFERS * bytes];
    }
    double seconds = (double)(status_now_ns() - begin) / 1e9;
    free(from);
    free(to);
    return (double)bytes * TIMES / seconds / 1e9;
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
    printf("# %ld CPUs, %d processes\n", sysconf(_SC_NPROCESSORS_ONLN), PROCESSES);
}

/* Into best: the most frames and the least work of all runs. */
static void keep_best(struct result *best, struct result r)
{
    if (r.frames_per_second > best->frames_per_second) best->frames_per_second = r.frames_per_second;
    if (best->cpu_us == 0 || r.cpu_us < best->cpu_us) best->cpu_us = r.cpu_us;
}

static void throughput(uint64_t scale, int rounds)
{
    struct run region = {"region", FRAME_BYTES, 40 * scale, false, true}, copy = region;
    copy.way = "copy";
    double memory = 0, bytes = (double)FRAME_BYTES / 1e9;
    struct result with = {0}, without = {0};
    for (int i = 0; i < rounds; i++) {
        double gbs = memcpy_gbs(FRAME_BYTES);
        if (gbs > memory) memory = gbs;
        keep_best(&with, measure(&region));
        keep_best(&without, measure(&copy));
    }
    double w = with.frames_per_second * bytes, c = without.frames_per_second * bytes;
    printf("\n# frames of %d bytes through the chain, best of %d\n", FRAME_BYTES, rounds);
    printf("\tGB/s\tof memcpy\tCPU us a frame\n");
    printf("memcpy, one core\t%.2f\t1\t%.0f\n", memory, bytes / memory * 1e6);
    printf("regions\t%.2f\t%.2f\t%.0f\n", w, w / memory, with.cpu_us);
    printf("in messages\t%.2f\t%.2f\t%.0f\n", c, c / memory, without.cpu_us);
}

static void latency(uint64_t scale)
{
    struct run raw = {"raw", RAW_BYTES, 20 * scale, true, false}, region = raw, copy = raw;
    region.way = "region", region.bytes = FRAME_BYTES;
    copy.way = "copy", copy.bytes = FRAME_BYTES;
    struct result base = measure(&raw), with = measure(&region), without = measure(&copy);
    printf("\n# latency over the chain, one at a time\n\tp50 us\tp99 us\tp50 over raw\tp99 over raw\n");
    printf("raw nng, %d bytes\t%.1f\t%.1f\n", RAW_BYTES, base.p50_us, base.p99_us);
    printf("regions, %d bytes\t%.1f\t%.1f\t%.2f\t%.2f\n", FRAME_BYTES, with.p50_us, with.p99_us,
           with.p50_us / base.p50_us, with.p99_us / base.p99_us);
    printf("in messages, %d bytes\t%.1f\t%.1f\t%.2f\t%.2f\n", FRAME_BYTES, without.p50_us, without.p99_us,
           without.p50_us / base.p50_us, without.p99_us / base.p99_us);
}

static void border(uint64_t scale, int rounds)
{
    static const size_t sizes[] = {1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10};
    printf("\n# where bytes are faster in the message: best of %d\n", rounds);
    printf("bytes\tregions frames/s\tin messages\tregions CPU us a frame\tin messages\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct run region = {"region", sizes[i], 400 * scale, false, true}, copy = region;
        copy.way = "copy";
        struct result with = {0}, without = {0};
        for (int k = 0; k < rounds; k++) {
            keep_best(&with, measure(&region));
            keep_best(&without, measure(&copy));
        }
        printf("%zu\t%.0f\t%.0f\t%.1f\t%.1f\n", sizes[i], with.frames_per_second, without.frames_per_second,
               with.cpu_us, without.cpu_us);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    if (argc > 3) return play(argc, argv);
    uint64_t scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    if (scale == 0 || rounds <= 0) die("usage", "bench-regions [scale [rounds]]");
    print_cpu();
    throughput(scale, rounds);
    fflush(stdout);
    latency(scale);
    fflush(stdout);
    border(scale, rounds);
    return 0;
}
