/* What a reader refuses to map, and what it refuses to read: everything that is announced may be wrong. */
#include "tests/graph/wire/region_pair.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(region_map, .timeout = 300);

enum { SLOT = 8192, SLOTS = 4, NOBODY = 65534 };

static thea_rc add(const struct region_offer *o, struct thea_err *err)
{
    struct region_maps *m = region_maps_new();
    thea_rc rc = region_maps_add(m, o, err);
    cr_assert_eq(region_maps_count(m), rc == THEA_OK);
    region_maps_free(m);
    return rc;
}

static void refused(const struct region_offer *o, thea_rc rc, const char *why)
{
    struct thea_err err = {0};
    cr_assert_eq(add(o, &err), rc, "%s", err.message);
    cr_assert_not_null(strstr(err.message, why), "'%s' has no '%s'", err.message, why);
}

static struct region_pool *pool_new(void)
{
    struct region_pool *pool = NULL;
    struct thea_err err = {0};
    cr_assert_eq(region_pool_open(&pool, SLOTS, SLOT, &err), THEA_OK, "%s", err.message);
    pool->number = 1;
    return pool;
}

/* The offer of a file of our making. */
static struct region_offer offer_of(int fd)
{
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    return (struct region_offer){.number = 1,
                                 .oldest = 1,
                                 .slots = SLOTS,
                                 .slot_bytes = SLOT,
                                 .pid = (int32_t)getpid(),
                                 .fd = fd,
                                 .inode = st.st_ino,
                                 .host = region_host()};
}

Test(region_map, what_is_announced_as_it_is_can_be_mapped)
{
    struct region_pool *pool = pool_new();
    struct region_offer o = region_pool_offer(pool);
    struct thea_err err = {0};
    cr_assert_eq(add(&o, &err), THEA_OK, "%s", err.message);
    region_pool_close(pool);
}

Test(region_map, another_host_or_pid_namespace_is_refused)
{
    struct region_pool *pool = pool_new();
    struct region_offer o = region_pool_offer(pool);
    o.host = "c0ffee/4026531836";
    refused(&o, THEA_EPERM, "another host");
    region_pool_close(pool);
}

Test(region_map, another_file_than_the_one_announced_is_refused)
{
    struct region_pool *pool = pool_new();
    struct region_offer o = region_pool_offer(pool);
    o.inode++;
    refused(&o, THEA_EFRAME, "is not what was announced: inode ");
    region_pool_close(pool);
}

Test(region_map, a_process_that_is_gone_and_a_descriptor_that_is_closed_are_refused)
{
    struct region_pool *pool = pool_new();
    struct region_offer o = region_pool_offer(pool);
    pid_t child = fork();
    if (child == 0) _exit(0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    o.pid = child;
    refused(&o, THEA_EOS, "No such file");
    o = region_pool_offer(pool);
    region_pool_close(pool);
    refused(&o, THEA_EOS, "No such file");
}

Test(region_map, memory_that_could_be_cut_short_is_refused)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(posix_fallocate(fd, 0, SLOTS * SLOT), 0);
    struct region_offer o = offer_of(fd);
    refused(&o, THEA_EFRAME, "is not sealed");
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    refused(&o, THEA_EFRAME, "is not sealed");
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    struct thea_err err = {0};
    cr_assert_eq(add(&o, &err), THEA_OK, "%s", err.message);
    close(fd);
}

Test(region_map, a_file_of_another_size_is_refused)
{
    struct region_pool *pool = pool_new();
    struct region_offer o = region_pool_offer(pool);
    o.slots = SLOTS + 1;
    refused(&o, THEA_EFRAME, "has 32768 bytes, expected 40960");
    o.slots = SLOTS - 1;
    refused(&o, THEA_EFRAME, "has 32768 bytes, expected 24576");
    region_pool_close(pool);
}

Test(region_map, memory_that_is_not_there_is_refused)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(fd, SLOTS * SLOT), 0); /* a hole: reading it would cost memory, or a fault */
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    struct region_offer o = offer_of(fd);
    refused(&o, THEA_EFRAME, "has 0 bytes of memory, expected 32768");
    close(fd);
}

Test(region_map, what_is_no_memory_at_all_is_refused_and_opening_it_does_not_wait)
{
    char name[] = "/tmp/thea-region-XXXXXX";
    int fds[2], file = mkstemp(name);
    unlink(name);
    cr_assert(pipe(fds) == 0 && file >= 0 && posix_fallocate(file, 0, SLOTS * SLOT) == 0);
    struct region_offer o = offer_of(fds[0]);
    refused(&o, THEA_EFRAME, "is not sealed");
    o = offer_of(file);
    refused(&o, THEA_EFRAME, "is not sealed");
    close(fds[0]);
    close(fds[1]);
    close(file);
}

/* As root: memory of another user. Else: a process of another user. */
Test(region_map, another_users_memory_is_refused)
{
    int told[2], hold[2], fd;
    if (geteuid() != 0) {
        struct region_offer o = offer_of(STDIN_FILENO);
        o.pid = 1;
        refused(&o, THEA_EPERM, "Permission denied");
        return;
    }
    cr_assert(pipe(told) == 0 && pipe(hold) == 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        close(hold[1]);
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) _exit(1);
        struct region_pool *pool = pool_new();
        struct region_offer o = region_pool_offer(pool);
        if (write(told[1], &o, sizeof o) != (ssize_t)sizeof o) _exit(1);
        fd = (int)read(hold[0], &c, 1);
        _exit(fd);
    }
    struct region_offer o;
    cr_assert_eq(read(told[0], &o, sizeof o), (ssize_t)sizeof o);
    o.host = region_host();
    refused(&o, THEA_EPERM, "belongs to user 65534, expected 0");
    close(hold[1]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(region_map, impossible_numbers_are_refused)
{
    struct region_pool *pool = pool_new();
    struct region_offer good = region_pool_offer(pool), o;
    o = good, o.number = 0;
    refused(&o, THEA_EFRAME, "expected up to 65536 slots");
    o = good, o.slots = 0;
    refused(&o, THEA_EFRAME, "expected up to 65536 slots");
    o = good, o.slots = REGION_SLOTS_MAX + 1;
    refused(&o, THEA_EFRAME, "expected up to 65536 slots");
    o = good, o.slot_bytes = 0;
    refused(&o, THEA_EFRAME, "pool 1 of 4 slots of 0 bytes");
    o = good, o.slot_bytes = SLOT + 1;
    refused(&o, THEA_EFRAME, "a multiple of 64 bytes");
    o = good, o.slot_bytes = UINT64_MAX - 63;
    refused(&o, THEA_EFRAME, "up to 4294967296");
    o = good, o.pid = 0;
    refused(&o, THEA_EFRAME, "expected");
    o = good, o.fd = -1;
    refused(&o, THEA_EFRAME, "expected");
    region_pool_close(pool);
}

Test(region_map, a_pool_that_is_offered_again_is_mapped_once)
{
    struct region_pool *pool = pool_new(), *next = pool_new();
    struct region_maps *m = region_maps_new();
    struct region_offer o = region_pool_offer(pool);
    cr_assert(region_maps_add(m, &o, NULL) == THEA_OK && region_maps_add(m, &o, NULL) == THEA_OK);
    cr_assert_eq(region_maps_count(m), 1);
    o = region_pool_offer(next); /* another owner counts from 1 too */
    cr_assert_eq(region_maps_add(m, &o, NULL), THEA_OK);
    cr_assert_eq(region_maps_count(m), 1);
    o = (struct region_offer){.oldest = 2, .host = region_host()};
    cr_assert_eq(region_maps_add(m, &o, NULL), THEA_OK);
    cr_assert_eq(region_maps_count(m), 0);
    region_maps_free(m);
    region_pool_close(pool);
    region_pool_close(next);
}

/* --- reading --- */

struct wrong {
    const char *what;
    struct tensor_region region;
    uint64_t bytes;
    const char *want;
};

static const struct wrong wrongs[] = {
    {"pool 0", {0, 0, 1, 0}, 64, "lies in pool 0, which was not offered on this link"},
    {"a pool that nobody offered", {2, 0, 1, 0}, 64, "lies in pool 2, which was not offered on this link"},
    {"a pool whose place is another's", {65, 0, 1, 0}, 64, "lies in pool 65, which was not offered"},
    {"a slot beyond the last", {1, SLOTS, 1, 0}, 64, "slot 4, pool 1 has 4 slots of 8192"},
    {"a slot far beyond", {1, UINT32_MAX, 1, 0}, 64, "slot 4294967295, pool 1 has 4 slots"},
    {"bytes beyond the slot", {1, 0, 1, SLOT - 32}, 64, "bytes 8160 to 8224 of slot 0"},
    {"an offset beyond the slot", {1, 0, 1, SLOT + 64}, 0, "slot 0, pool 1 has 4 slots of 8192"},
    {"bytes beyond the pool", {1, SLOTS - 1, 1, 0}, SLOT + 64, "slot 3, pool 1 has 4 slots of 8192"},
    {"an end that overflows", {1, 0, 1, UINT64_MAX - 63}, 128, "slot 0, pool 1 has 4 slots of 8192"},
    {"a size that overflows", {1, 0, 1, 64}, UINT64_MAX - 63, "slot 0, pool 1 has 4 slots of 8192"},
    {"an earlier use of a slot", {1, 1, 4, 0}, 64, "use 4 of slot 1, of which use 5 was seen"},
};

Test(region_map, a_frame_that_names_what_is_not_there_is_refused)
{
    struct region_pool *pool = pool_new();
    struct region_maps *m = region_maps_new();
    struct region_offer o = region_pool_offer(pool);
    struct tensor t = {.name = "x",
                       .size_bytes = SLOT,
                       .in_region = true,
                       .region = {.pool = 1, .slot = 1, .generation = 5}};
    struct frame f = {.tensors = &t, .tensor_count = 1};
    struct thea_err err = {0};
    cr_assert_eq(region_maps_add(m, &o, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(region_maps_resolve(m, &f, &err), THEA_OK, "%s", err.message);
    cr_assert(!t.in_region && t.data != NULL);
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        t = (struct tensor){
            .name = "x", .size_bytes = wrongs[i].bytes, .in_region = true, .region = wrongs[i].region};
        cr_expect_eq(region_maps_resolve(m, &f, &err), THEA_EFRAME, "%s was taken", wrongs[i].what);
        cr_expect_not_null(strstr(err.message, wrongs[i].want), "%s: '%s'", wrongs[i].what, err.message);
        cr_expect(t.in_region && t.data == NULL, "%s got data", wrongs[i].what);
    }
    region_maps_free(m);
    region_pool_close(pool);
}

Test(region_map, tensors_in_the_message_are_left_alone)
{
    struct region_maps *m = region_maps_new();
    struct tensor t = tensor_1d("x", TENSOR_U8, "hello", 5);
    const void *data = t.data;
    cr_assert_eq(region_maps_resolve(m, &(struct frame){.tensors = &t, .tensor_count = 1}, NULL), THEA_OK);
    cr_assert_eq(t.data, data);
    region_maps_free(m);
}
