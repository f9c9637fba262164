/* The queue on disk. */
#include "graph/wire/spill.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER = 16 };

static void put(struct spill *s, unsigned char byte, uint64_t size, uint64_t epoch)
{
    unsigned char bytes[4096];
    struct thea_err err = {0};
    memset(bytes, byte, sizeof bytes);
    cr_assert_eq(spill_put(s, bytes, size, epoch, &err), THEA_OK, "%s", err.message);
}

/* All bytes of the first string must be `byte`; returns their number. */
static uint64_t take(struct spill *s, unsigned char byte)
{
    unsigned char bytes[4096];
    uint64_t size = 0;
    struct thea_err err = {0};
    cr_assert_eq(spill_next(s, &size, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(spill_take(s, bytes, size, &err), THEA_OK, "%s", err.message);
    for (uint64_t i = 0; i < size; i++) cr_assert_eq(bytes[i], byte, "byte %lu of %lu", i, size);
    return size;
}

/* The file has no name: it is found among the descriptors. -1: there is none. */
static int find_file(void)
{
    char path[64], target[64];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target);
        if (n > 6 && (memcmp(target, "/tmp/#", 6) == 0 || memcmp(target, "/tmp/.", 6) == 0)) return fd;
    }
    return -1;
}

static off_t file_size(void)
{
    struct stat st;
    int fd = find_file();
    return fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : -1;
}

Test(spill, strings_come_out_as_they_went_in_however_the_file_wraps)
{
    struct spill *s = spill_new("/tmp", 1000);
    unsigned in = 0, out = 0;
    for (unsigned round = 0; round < 2000; round++) {
        for (; spill_fits(s, 1 + in * 7 % 300); in++) put(s, (unsigned char)in, 1 + in * 7 % 300, 0);
        cr_assert_gt(in, out);
        cr_assert_eq(take(s, (unsigned char)out), 1 + out * 7 % 300);
        out++;
    }
    for (; out < in; out++) cr_assert_eq(take(s, (unsigned char)out), 1 + out * 7 % 300);
    cr_assert_eq(spill_count(s), 0);
    spill_free(s);
}

Test(spill, neither_queue_nor_file_is_ever_larger_than_the_limit)
{
    struct spill *s = spill_new("/tmp", 5000);
    unsigned in = 0, out = 0;
    for (unsigned round = 0; round < 500; round++) {
        uint64_t size = 1 + (round * 131) % 900;
        if (spill_fits(s, size)) put(s, (unsigned char)in++, size, 0);
        if (round % 3 == 2) take(s, (unsigned char)out++);
        cr_assert_leq(spill_bytes(s), 5000);
        cr_assert_leq(file_size(), 5000);
        cr_assert_eq(spill_count(s), in - out);
    }
    spill_free(s);
}

Test(spill, what_does_not_fit_is_refused_and_fits_when_there_is_room)
{
    struct spill *s = spill_new("/tmp", 200);
    put(s, 1, 200 - HEADER - HEADER - 10, 0);
    cr_assert_not(spill_fits(s, 11));
    cr_assert_eq(spill_put(s, "eleven bytes", 11, 0, NULL), THEA_AGAIN);
    cr_assert_eq(spill_count(s), 1);
    put(s, 2, 10, 0);
    cr_assert_eq(spill_bytes(s), 200);
    cr_assert_eq(spill_put(s, "", 0, 0, NULL), THEA_AGAIN, "not even a header");
    take(s, 1);
    put(s, 3, 11, 0);
    cr_assert_eq(take(s, 2), 10);
    cr_assert_eq(take(s, 3), 11);
    cr_assert_eq(spill_put(s, "x", 185, 0, NULL), THEA_AGAIN, "never");
    spill_free(s);
}

Test(spill, strings_of_older_epochs_are_forgotten_and_only_those)
{
    struct spill *s = spill_new("/tmp", 10000);
    for (unsigned char i = 0; i < 12; i++) put(s, i, 100, 1 + i / 4);
    take(s, 0);
    cr_assert_eq(spill_drop(s, 1), 0);
    cr_assert_eq(spill_drop(s, 3), 7);
    cr_assert_eq(spill_count(s), 4);
    cr_assert_eq(spill_bytes(s), 4 * (100 + HEADER));
    for (unsigned char i = 8; i < 12; i++) take(s, i);
    put(s, 40, 100, 3);
    cr_assert_eq(spill_drop(s, 9), 1);
    cr_assert_eq(spill_count(s), 0);
    cr_assert_eq(file_size(), 0, "its disk space went back");
    put(s, 41, 50, 9);
    cr_assert_eq(take(s, 41), 50);
    spill_free(s);
}

Test(spill, an_empty_queue_takes_no_disk_space_and_says_that_it_is_empty)
{
    struct spill *s = spill_new("/tmp", 10000);
    uint64_t size;
    cr_assert_eq(spill_next(s, &size, NULL), THEA_AGAIN);
    cr_assert_eq(file_size(), -1, "no file before it is needed");
    put(s, 1, 1000, 0);
    cr_assert_gt(file_size(), 1000);
    take(s, 1);
    cr_assert_eq(file_size(), 0);
    cr_assert_eq(spill_next(s, &size, NULL), THEA_AGAIN);
    spill_free(s);
    cr_assert_eq(file_size(), -1);
}

Test(spill, a_directory_that_is_not_there_is_an_error_and_takes_nothing)
{
    struct spill *s = spill_new("/nonexistent/dir", 10000);
    struct thea_err err = {0};
    cr_assert_eq(spill_put(s, "a", 1, 0, &err), THEA_ECREATE);
    cr_assert_not_null(strstr(err.message, "/nonexistent/dir: No such file"), "%s", err.message);
    cr_assert_eq(spill_count(s), 0);
    cr_assert_eq(spill_bytes(s), 0);
    spill_free(s);
}

Test(spill, a_string_that_the_disk_does_not_take_leaves_the_others_whole)
{
    struct spill *s = spill_new("/tmp", 100000);
    struct thea_err err = {0};
    char large[8192] = "";
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096}), 0);
    put(s, 1, 2000, 0);
    cr_assert_eq(spill_put(s, large, sizeof large, 0, &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "cannot write"), "%s", err.message);
    put(s, 2, 1000, 0);
    cr_assert_eq(take(s, 1), 2000);
    cr_assert_eq(take(s, 2), 1000);
    spill_free(s);
}

Test(spill, a_file_that_was_cut_is_an_error_and_no_frame)
{
    struct spill *s = spill_new("/tmp", 100000);
    struct thea_err err = {0};
    uint64_t size;
    put(s, 1, 2000, 0);
    cr_assert_eq(ftruncate(find_file(), 8), 0);
    cr_assert_eq(spill_next(s, &size, &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "too short"), "%s", err.message);
    spill_free(s);
}
