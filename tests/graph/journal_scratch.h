/* What the journal's tests share: a directory in memory that is the current one, and the journal in it. */
#ifndef TESTS_GRAPH_JOURNAL_SCRATCH_H
#define TESTS_GRAPH_JOURNAL_SCRATCH_H

#include "graph/buf.h"
#include "graph/crc32c.h"
#include "graph/journal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[PATH_MAX];
static struct journal_options options; /* what open_journal uses */

static void scratch_make(void)
{
    bool memory = access("/dev/shm", W_OK) == 0;
    snprintf(scratch, sizeof scratch, "%s/thea-test-XXXXXX", memory ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(scratch));
    cr_assert_eq(chdir(scratch), 0);
    options = (struct journal_options){.path = "journal",
                                       .run = "test",
                                       .output = "out",
                                       .format = "jsonl",
                                       .order = "input",
                                       .sync_interval_ns = UINT64_MAX};
}

static int scratch_remove_one(const char *path, const struct stat *at, int kind, struct FTW *walk)
{
    (void)at, (void)kind, (void)walk;
    return remove(path);
}

static void scratch_remove(void)
{
    cr_assert_eq(chdir("/"), 0);
    nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct journal *open_journal(void)
{
    struct journal *j = NULL;
    struct thea_err err = {0};
    cr_assert_eq(journal_open(&j, &options, &err), THEA_OK, "%s", err.message);
    return j;
}

static void expect_refused(thea_rc expected, const char *part)
{
    struct journal *j = NULL;
    struct thea_err err = {0};
    thea_rc rc = journal_open(&j, &options, &err);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

static void commit(struct journal *j, uint64_t stream, const char *result)
{
    struct iovec part = {(void *)(uintptr_t)result, strlen(result)};
    struct thea_err err = {0};
    cr_assert_eq(journal_commit(j, stream, 0, &part, 1, &err), THEA_OK, "%s", err.message);
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* With a NUL behind; free it. */
static char *read_file(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0, "no file %s", path);
    struct stat at;
    cr_assert_eq(fstat(fd, &at), 0);
    char *text = calloc(1, (size_t)at.st_size + 1);
    cr_assert_eq(read(fd, text, (size_t)at.st_size), at.st_size);
    close(fd);
    *size = (size_t)at.st_size;
    return text;
}

static size_t file_size(const char *path)
{
    struct stat at;
    cr_assert_eq(stat(path, &at), 0, "no file %s", path);
    return (size_t)at.st_size;
}

static void expect_file(const char *path, const char *expected)
{
    size_t size = 0;
    char *text = read_file(path, &size);
    cr_assert_eq(size, strlen(expected), "%s has %zu bytes, not %zu", path, size, strlen(expected));
    cr_assert_str_eq(text, expected);
    free(text);
}

#endif
