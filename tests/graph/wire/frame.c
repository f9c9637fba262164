/* Frames: lookup, copies, and the stdio form over real pipes. */
#include "graph/wire/frame.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(frame, .timeout = 300);

static float values[6] = {1, 2, 3, 4, 5, 6};
static int64_t ends[3] = {4, 9, 12};

/* A frame of two tensors and three attributes over static memory. */
static struct frame sample(struct tensor *tensors, struct attr *attrs)
{
    tensors[0] = tensor_2d("residual", TENSOR_F32, values, 2, 3);
    tensors[1] = tensor_1d("ends", TENSOR_I64, ends, 3);
    attrs[0] = (struct attr){.key = "id", .type = ATTR_TEXT, .text = "notes/a.md"};
    attrs[1] = (struct attr){.key = "bytes", .type = ATTR_INT, .integer = -7};
    attrs[2] = (struct attr){.key = "weight", .type = ATTR_FLOAT, .number = 0.25};
    return (struct frame){.kind = FRAME_DATA,
                          .stream = 5,
                          .seq = 1,
                          .position = 512,
                          .port = "residual",
                          .tensors = tensors,
                          .tensor_count = 2,
                          .attrs = attrs,
                          .attr_count = 3};
}

static void expect_sample(const struct frame *f)
{
    cr_assert_eq(f->kind, FRAME_DATA);
    cr_assert_eq(f->stream, 5);
    cr_assert_eq(f->position, 512);
    cr_assert_str_eq(f->port, "residual");
    const struct tensor *t = frame_tensor(f, "residual");
    cr_assert_not_null(t);
    cr_assert_eq(t->rank, 2);
    cr_assert_eq(t->shape[1], 3);
    cr_assert_eq(memcmp(t->data, values, sizeof values), 0);
    cr_assert_eq(memcmp(frame_tensor(f, "ends")->data, ends, sizeof ends), 0);
    cr_assert_str_eq(frame_attr_text(f, "id", "?"), "notes/a.md");
    cr_assert_eq(frame_attr_int(f, "bytes", 0), -7);
    cr_assert_eq(frame_attr(f, "weight")->number, 0.25);
}

Test(frame, what_is_not_there_is_not_found)
{
    struct tensor t[2];
    struct attr a[3];
    struct frame f = sample(t, a);
    expect_sample(&f);
    cr_assert_null(frame_tensor(&f, "Residual"));
    cr_assert_null(frame_attr(&f, "i"));
    cr_assert_str_eq(frame_attr_text(&f, "bytes", "none"), "none", "an int is not a text");
    cr_assert_eq(frame_attr_int(&f, "id", 3), 3, "a text is not an int");
    cr_assert_eq(frame_tensor_bytes(&f), sizeof values + sizeof ends);
}

Test(frame, a_copy_lives_after_its_original_is_gone)
{
    struct tensor *t = malloc(2 * sizeof *t);
    struct attr *a = malloc(3 * sizeof *a);
    struct frame f = sample(t, a);
    struct frame *copy = frame_copy(&f);
    memset(t, 0xff, 2 * sizeof *t);
    memset(a, 0xff, 3 * sizeof *a);
    free(t);
    free(a);
    expect_sample(copy);
    cr_assert_eq((uintptr_t)copy->tensors[0].data % 64, 0);
    cr_assert_neq(copy->tensors[0].data, (void *)values);
    free(copy);
}

static int pipe_of(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

/* Bytes a writer makes of n sample frames and, if wanted, an eof. */
static size_t bytes_of(char *out, size_t size, int n, bool eof)
{
    int fds[2];
    cr_assert_eq(pipe_of(fds), 0);
    struct frame_writer *w;
    cr_assert_eq(frame_writer_open(&w, fds[1], NULL), THEA_OK);
    struct tensor t[2];
    struct attr a[3];
    struct frame f = sample(t, a), end = {.kind = FRAME_EOF};
    for (int i = 0; i < n; i++) cr_assert_eq(frame_write(w, &f, NULL), THEA_OK);
    if (eof) cr_assert_eq(frame_write(w, &end, NULL), THEA_OK);
    frame_writer_close(w);
    close(fds[1]);
    size_t got = 0;
    for (ssize_t k; (k = read(fds[0], out + got, size - got)) > 0;) got += (size_t)k;
    close(fds[0]);
    return got;
}

/* Read all frames of a byte sequence; the last result. */
static thea_rc read_all(const char *bytes, size_t n, int *frames, struct thea_err *err)
{
    int fds[2];
    cr_assert_eq(pipe_of(fds), 0);
    struct frame_reader *r;
    cr_assert_eq(frame_reader_open(&r, fds[0], NULL), THEA_OK);
    cr_assert_eq(write(fds[1], bytes, n), (ssize_t)n);
    close(fds[1]);
    struct frame f;
    thea_rc rc;
    for (*frames = 0; (rc = frame_read(r, &f, err)) == THEA_OK; ++*frames)
        if (f.kind == FRAME_DATA) {
            expect_sample(&f);
            cr_assert_eq((uintptr_t)f.tensors[0].data % 64, 0, "tensor bytes are aligned in the reader");
        }
    frame_reader_close(r);
    close(fds[0]);
    return rc;
}

Test(frame, what_is_written_is_read_and_then_it_is_done)
{
    char bytes[8192];
    size_t n = bytes_of(bytes, sizeof bytes, 3, true);
    cr_assert_eq(memcmp(bytes, "THEA\1\0\0\0", 8), 0);
    struct thea_err err = {0};
    int frames;
    cr_assert_eq(read_all(bytes, n, &frames, &err), THEA_DONE, "%s", err.message);
    cr_assert_eq(frames, 4);
}

Test(frame, input_cut_at_every_byte_is_an_error_that_says_so)
{
    char bytes[8192];
    size_t n = bytes_of(bytes, sizeof bytes, 1, true);
    for (size_t cut = 0; cut < n; cut++) {
        struct thea_err err = {0};
        int frames;
        cr_assert_eq(read_all(bytes, cut, &frames, &err), THEA_EFRAME, "cut at %zu", cut);
        cr_assert(strstr(err.message, "input") != NULL && strlen(err.message) > 20, "cut at %zu: %s", cut,
                  err.message);
    }
}

Test(frame, text_instead_of_frames_is_named)
{
    struct thea_err err = {0};
    int frames;
    cr_assert_eq(read_all("# A heading\n", 12, &frames, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "begins with '# A head'"), "%s", err.message);
    cr_assert_eq(read_all("\033[2J", 4, &frames, &err), THEA_EFRAME);
    cr_assert_null(strchr(err.message, '\033'), "no control characters reach a terminal");
    cr_assert_eq(read_all("THEA\2\0\0\0", 8, &frames, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "version 2"), "%s", err.message);
}

Test(frame, lengths_that_cannot_be_are_refused_before_memory_is_taken)
{
    struct thea_err err = {0};
    int frames;
    char bytes[16] = "THEA\1\0\0\0";
    memset(bytes + 8, 0xff, 8);
    cr_assert_eq(read_all(bytes, 16, &frames, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "claims 18446744073709551615 bytes"), "%s", err.message);
    memset(bytes + 8, 0, 8);
    cr_assert_eq(read_all(bytes, 16, &frames, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "claims 0 bytes"), "%s", err.message);
}

Test(frame, a_damaged_frame_is_named_by_its_number)
{
    char bytes[8192];
    size_t n = bytes_of(bytes, sizeof bytes, 2, true);
    uint64_t first;
    memcpy(&first, bytes + 8, 8);
    bytes[8 + 8 + first + 8 + 4] = 'X'; /* the identifier of the second */
    struct thea_err err = {0};
    int frames;
    cr_assert_eq(read_all(bytes, n, &frames, &err), THEA_EFRAME);
    cr_assert_eq(frames, 1);
    cr_assert_not_null(strstr(err.message, "frame 1: frame: identifier is 'XHF1', expected 'THF1'"), "%s",
                       err.message);
}

Test(frame, bytes_after_eof_are_an_error)
{
    char bytes[8192];
    size_t n = bytes_of(bytes, sizeof bytes - 1, 1, true);
    memset(bytes + n, 0, 8);
    struct thea_err err = {0};
    int frames;
    cr_assert_eq(read_all(bytes, n + 8, &frames, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "after its eof"), "%s", err.message);
}

Test(frame, a_reader_that_went_away_is_closed_not_broken)
{
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    cr_assert_eq(pipe_of(fds), 0);
    close(fds[0]);
    struct frame_writer *w;
    cr_assert_eq(frame_writer_open(&w, fds[1], NULL), THEA_OK);
    struct frame f = {.kind = FRAME_EOF};
    struct thea_err err = {0};
    cr_assert_eq(frame_write(w, &f, &err), THEA_ECLOSED);
    frame_writer_close(w);
    close(fds[1]);
}

Test(frame, a_full_device_is_an_io_error)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    struct frame_writer *w;
    cr_assert_eq(frame_writer_open(&w, fd, NULL), THEA_OK);
    struct frame f = {.kind = FRAME_EOF};
    struct thea_err err = {0};
    cr_assert_eq(frame_write(w, &f, &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "No space left"), "%s", err.message);
    frame_writer_close(w);
    close(fd);
}

static void *write_big(void *context)
{
    struct frame_writer *w = context;
    static char big[3 << 20];
    memset(big, 'x', sizeof big);
    struct tensor t = tensor_1d("text", TENSOR_U8, big, sizeof big);
    struct frame f = {.tensors = &t, .tensor_count = 1}, end = {.kind = FRAME_EOF};
    for (int i = 0; i < 3; i++) cr_assert_eq(frame_write(w, &f, NULL), THEA_OK);
    cr_assert_eq(frame_write(w, &end, NULL), THEA_OK);
    return NULL;
}

Test(frame, frames_larger_than_a_pipe_pass_even_when_descriptors_do_not_block)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct frame_reader *r;
    struct frame_writer *w;
    cr_assert_eq(frame_reader_open(&r, fds[0], NULL), THEA_OK);
    cr_assert_eq(frame_writer_open(&w, fds[1], NULL), THEA_OK);
    pthread_t thread;
    pthread_create(&thread, NULL, write_big, w);
    struct frame f;
    struct thea_err err = {0};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(frame_read(r, &f, &err), THEA_OK, "%s", err.message);
        cr_assert_eq(f.tensors[0].size_bytes, 3 << 20);
        cr_assert_eq(((const char *)f.tensors[0].data)[(3 << 20) - 1], 'x');
    }
    cr_assert_eq(frame_read(r, &f, &err), THEA_OK);
    pthread_join(thread, NULL);
    close(fds[1]);
    cr_assert_eq(frame_read(r, &f, &err), THEA_DONE);
    frame_reader_close(r);
    frame_writer_close(w);
    close(fds[0]);
}
