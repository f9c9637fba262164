/* What the tests of stages share: a scratch directory a test, files in it, frames to feed. */
#ifndef TESTS_STAGES_HELPERS_H
#define TESTS_STAGES_HELPERS_H

#include "graph/buf.h"
#include "graph/wire/stage.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char scratch[PATH_MAX]; /* absolute, no links; the current directory while a test runs */

__attribute__((unused)) static void scratch_make(void)
{
    char name[] = "/tmp/thea-test-XXXXXX";
    cr_assert_not_null(mkdtemp(name));
    cr_assert_not_null(realpath(name, scratch));
    cr_assert_eq(chdir(scratch), 0);
}

__attribute__((unused)) static int scratch_remove_one(const char *path, const struct stat *at, int kind,
                                                      struct FTW *walk)
{
    (void)at, (void)kind, (void)walk;
    return remove(path);
}

__attribute__((unused)) static void scratch_remove(void)
{
    cr_assert_eq(chdir("/"), 0);
    nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void put_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

__attribute__((unused)) static void put_text_file(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

/* All of a file, with a NUL behind; free it. NULL if there is none. */
__attribute__((unused)) static char *get_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    struct buf b = {0};
    size_t n = 0;
    do {
        n = fread(buf_reserve(&b, 4096), 1, 4096, f);
        b.len += n;
    } while (n > 0);
    fclose(f);
    if (size != NULL) *size = b.len;
    buf_add(&b, "", 0);
    return buf_take(&b);
}

/* The same words on fd 0 and in front of what is written to fd 1: a pipe as stdin, a file as stdout. */
__attribute__((unused)) static void stdin_is(const char *text)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
}

__attribute__((unused)) static void stdout_is_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert(fd >= 0);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    close(fd);
}

__attribute__((unused)) static void feed(struct harness *h, const char *port, const struct frame *f)
{
    struct thea_err err = {0};
    cr_assert_eq(harness_feed(h, port, f, &err), THEA_OK, "%s", err.message);
}

/* One tensor of a stream whose id attribute is `id` (NULL: none). */
__attribute__((unused)) static void feed_tensors(struct harness *h, const char *port, uint64_t stream,
                                                 const char *id, uint64_t position, struct tensor *tensors,
                                                 size_t count)
{
    struct attr attr = {.key = "id", .type = ATTR_TEXT, .text = id};
    struct frame f = {.kind = FRAME_DATA,
                      .stream = stream,
                      .position = position,
                      .port = port,
                      .tensors = tensors,
                      .tensor_count = count,
                      .attrs = &attr,
                      .attr_count = id != NULL};
    feed(h, port, &f);
}

__attribute__((unused)) static void feed_kind(struct harness *h, const char *port, uint64_t stream,
                                              frame_kind kind)
{
    struct frame f = {.kind = kind, .stream = stream, .port = port};
    feed(h, port, &f);
}

/* The error of a document, if frame i of the port is its error frame; else NULL. */
__attribute__((unused)) static const char *error_of(const struct harness *h, const char *port, size_t i)
{
    const struct frame *f = harness_frame(h, port, i);
    return f != NULL && f->kind == FRAME_ERROR ? frame_attr_text(f, "error", "") : NULL;
}

#endif
