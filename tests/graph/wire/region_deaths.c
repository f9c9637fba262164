/* Processes that are killed while they own or read regions. No nng here, so a test may fork. */
#include "tests/graph/wire/region_pair.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(region_deaths, .timeout = 300);

enum { SLOT = 64 << 10, SLOTS = 3, ROUNDS = 20 };

struct told { /* what one process says to the other */
    struct region_offer offer;
    struct tensor_region region;
};

static void kill_and_reap(pid_t child)
{
    int status;
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct told receive(int fd)
{
    struct told t;
    cr_assert_eq(read(fd, &t, sizeof t), (ssize_t)sizeof t);
    t.offer.host = region_host();
    return t;
}

static void own_until_killed(int to)
{
    struct region_pool *pool = NULL;
    struct told t = {.region = {.pool = 1}};
    if (region_pool_open(&pool, SLOTS, SLOT, NULL) != THEA_OK || !region_pool_take(pool, &t.region.slot))
        _exit(1);
    pool->number = 1;
    t.region.generation = pool->slot[t.region.slot].generation;
    memset(pool->base + t.region.slot * pool->slot_bytes, 42, SLOT);
    t.offer = region_pool_offer(pool);
    if (write(to, &t, sizeof t) != (ssize_t)sizeof t) _exit(1);
    for (;;) pause();
}

Test(region_deaths, a_reader_reads_on_when_the_owner_is_killed)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    pid_t owner = fork();
    if (owner == 0) own_until_killed(fds[1]);
    struct told told = receive(fds[0]);
    struct region_maps *m = region_maps_new();
    struct thea_err err = {0};
    cr_assert_eq(region_maps_add(m, &told.offer, &err), THEA_OK, "%s", err.message);
    kill_and_reap(owner);
    struct tensor t = {.name = "x", .size_bytes = SLOT, .in_region = true, .region = told.region};
    cr_assert_eq(region_maps_resolve(m, &(struct frame){.tensors = &t, .tensor_count = 1}, &err), THEA_OK);
    for (size_t i = 0; i < SLOT; i++) cr_assert_eq(((const char *)t.data)[i], 42);
    cr_assert_neq(region_maps_add(region_maps_new(), &told.offer, &err), THEA_OK, "nothing is left of it");
    region_maps_free(m);
}

static void read_until_killed(const struct told *t, int to)
{
    struct region_maps *m = region_maps_new();
    struct tensor x = {.name = "x", .size_bytes = SLOT, .in_region = true, .region = t->region};
    struct frame f = {.tensors = &x, .tensor_count = 1};
    if (region_maps_add(m, &t->offer, NULL) != THEA_OK || region_maps_resolve(m, &f, NULL) != THEA_OK)
        _exit(1);
    unsigned sum = 0;
    bool said = false;
    for (;;) {
        for (size_t i = 0; i < SLOT; i++) sum += ((const volatile unsigned char *)x.data)[i];
        if (!said && write(to, &sum, 1) != 1) _exit(1);
        said = true;
    }
}

/* A reader that is killed in the middle of reading, again and again: the owner goes on, and keeps no more
 * memory than one pool for it. */
Test(region_deaths, an_owner_goes_on_when_readers_are_killed)
{
    struct region_port *port = region_port_new("x");
    struct region_link *link = region_link_new(port);
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2];
        char c;
        uint64_t copied, inlined;
        region_link_open(link, 8, (uint64_t)64 << 20);
        cr_assert_eq(region_port_in_use(port), 0, "what the dead one held was given back");
        char *data = region_port_buffer(port, SLOT);
        cr_assert_not_null(data);
        memset(data, round, SLOT);
        struct told told = {0};
        cr_assert(region_link_offer(link, &told.offer) && told.offer.slots > 0);
        cr_assert(region_link_answer(link, told.offer.number, true));
        struct tensor t = tensor_1d("x", TENSOR_U8, data, SLOT);
        told.region =
            region_link_take(link, &(struct frame){.tensors = &t, .tensor_count = 1}, 0, &copied, &inlined)
                ->region;
        region_port_done(port);
        cr_assert_eq(pipe(fds), 0);
        pid_t reader = fork();
        if (reader == 0) read_until_killed(&told, fds[1]);
        cr_assert_eq(read(fds[0], &c, 1), 1);
        cr_assert_eq(region_port_in_use(port), 1);
        kill_and_reap(reader);
        close(fds[0]);
        close(fds[1]);
    }
    cr_assert_eq(region_port_pools(port), 1);
    region_link_free(link);
    cr_assert_eq(region_port_pools(port), 0);
    region_port_free(port);
}
