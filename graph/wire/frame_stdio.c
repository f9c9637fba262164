/* Frames on stdin and stdout: a magic, then u64 length and frame, again and again (fabric.md section 11). The
 * blocking read or write is the back-pressure. Invariant: a frame starts 64-byte aligned in the reader's
 * buffer. */
#include "graph/wire/frame.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIPE_BYTES = 1 << 20, MAGIC_BYTES = 8, ALIGNMENT = 64 };
static const unsigned char magic[MAGIC_BYTES] = {'T', 'H', 'E', 'A', 1, 0, 0, 0};

/* 64-byte aligned memory that is kept from frame to frame. */
struct block {
    void *data;
    size_t size;
};

static bool block_grow(struct block *b, size_t size)
{
    if (size <= b->size) return true;
    free(b->data);
    *b = (struct block){0};
    size_t rounded = (size + 4095) & ~(size_t)4095;
    if (posix_memalign(&b->data, ALIGNMENT, rounded) != 0) {
        b->data = NULL;
        return false;
    }
    b->size = rounded;
    return true;
}

static void raise_pipe(int fd)
{
    (void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* only an improvement: not a pipe, or not allowed, is fine */
}

/* Descriptors may be shared with a program that made them non-blocking. */
static bool wait_ready(int fd, short events)
{
    if (errno == EINTR) return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

/* --- reader --- */

struct frame_reader {
    int fd;
    bool begun, eof_seen;
    uint64_t frames;
    struct block block;
    struct codec_arena *arena;
};

thea_rc frame_reader_open(struct frame_reader **out, int fd, struct thea_err *err)
{
    struct frame_reader *r = calloc(1, sizeof *r);
    if (r != NULL) r->arena = codec_arena_new();
    if (r == NULL || r->arena == NULL) {
        free(r);
        return thea_fail(err, THEA_EOS, "out of memory");
    }
    r->fd = fd;
    raise_pipe(fd);
    *out = r;
    return THEA_OK;
}

void frame_reader_close(struct frame_reader *r)
{
    if (r == NULL) return;
    codec_arena_free(r->arena);
    free(r->block.data);
    free(r);
}

/* Read until size bytes or the end; *got says how many. */
static thea_rc read_full(struct frame_reader *r, void *to, size_t size, size_t *got, struct thea_err *err)
{
    *got = 0;
    while (*got < size) {
        ssize_t n = read(r->fd, (char *)to + *got, size - *got);
        if (n == 0) return THEA_OK;
        if (n > 0)
            *got += (size_t)n;
        else if (!wait_ready(r->fd, POLLIN))
            return thea_fail(err, THEA_EIO, "input: read failed: %s", strerror(errno));
    }
    return THEA_OK;
}

static thea_rc read_magic(struct frame_reader *r, struct thea_err *err)
{
    unsigned char head[MAGIC_BYTES];
    size_t got;
    thea_rc rc = read_full(r, head, sizeof head, &got, err);
    if (rc != THEA_OK) return rc;
    if (got == 0)
        return thea_fail(
            err, THEA_EFRAME,
            "input is empty: the stage before died before its first frame, or nothing is connected");
    if (got == sizeof head && memcmp(head, magic, 4) == 0 && memcmp(head, magic, sizeof head) != 0)
        return thea_fail(err, THEA_EFRAME, "input: frames of stream version %d; this build reads version %d",
                         head[4], magic[4]);
    if (got < sizeof head || memcmp(head, magic, sizeof head) != 0) {
        char shown[MAGIC_BYTES + 1] = "";
        for (size_t i = 0; i < got; i++) shown[i] = isprint(head[i]) ? (char)head[i] : '?';
        return thea_fail(err, THEA_EFRAME,
                         "input is not a stream of frames: it begins with '%s', expected 'THEA' and a "
                         "version; text goes in through `thea load`",
                         shown);
    }
    r->begun = true;
    return THEA_OK;
}

static thea_rc read_length(struct frame_reader *r, uint64_t *length, struct thea_err *err)
{
    uint64_t word;
    size_t got;
    thea_rc rc = read_full(r, &word, sizeof word, &got, err);
    if (rc != THEA_OK) return rc;
    unsigned long long n = r->frames;
    if (got == 0 && r->eof_seen) return THEA_DONE;
    if (r->eof_seen)
        return thea_fail(err, THEA_EFRAME, "input goes on after its eof frame (frame %llu)", n - 1);
    if (got == 0)
        return thea_fail(err, THEA_EFRAME,
                         "input ended after %llu frames without its eof frame: the stage before died", n);
    if (got < sizeof word)
        return thea_fail(err, THEA_EFRAME,
                         "input ended inside the length of frame %llu: the stage before died", n);
    *length = le64toh(word);
    if (*length == 0 || *length > FRAME_MAX_BYTES)
        return thea_fail(err, THEA_EFRAME, "input: frame %llu claims %llu bytes; frames have 1 to %d", n,
                         (unsigned long long)*length, FRAME_MAX_BYTES);
    return THEA_OK;
}

static thea_rc read_frame(struct frame_reader *r, uint64_t length, struct frame *out, struct thea_err *err)
{
    if (!block_grow(&r->block, length))
        return thea_fail(err, THEA_EOS, "out of memory for a frame of %llu bytes",
                         (unsigned long long)length);
    size_t got;
    thea_rc rc = read_full(r, r->block.data, length, &got, err);
    if (rc != THEA_OK) return rc;
    if (got < length)
        return thea_fail(err, THEA_EFRAME,
                         "input ended inside frame %llu (%zu of %llu bytes): the stage before died",
                         (unsigned long long)r->frames, got, (unsigned long long)length);
    rc = codec_decode_frame(out, r->block.data, length, r->arena, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "input, frame %llu", (unsigned long long)r->frames);
    r->frames++;
    r->eof_seen = out->kind == FRAME_EOF;
    return THEA_OK;
}

thea_rc frame_read(struct frame_reader *r, struct frame *out, struct thea_err *err)
{
    uint64_t length = 0;
    thea_rc rc = r->begun ? THEA_OK : read_magic(r, err);
    if (rc == THEA_OK) rc = read_length(r, &length, err);
    if (rc == THEA_OK) rc = read_frame(r, length, out, err);
    return rc;
}

/* --- writer --- */

struct frame_writer {
    int fd;
    bool begun;
    struct block block;
};

thea_rc frame_writer_open(struct frame_writer **out, int fd, struct thea_err *err)
{
    struct frame_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    w->fd = fd;
    raise_pipe(fd);
    *out = w;
    return THEA_OK;
}

void frame_writer_close(struct frame_writer *w)
{
    if (w == NULL) return;
    free(w->block.data);
    free(w);
}

/* Drop the first n bytes of an iovec array of three. */
static void advance(struct iovec *iov, size_t n)
{
    for (int i = 0; i < 3 && n > 0; i++) {
        size_t part = n < iov[i].iov_len ? n : iov[i].iov_len;
        iov[i].iov_base = (char *)iov[i].iov_base + part;
        iov[i].iov_len -= part;
        n -= part;
    }
}

static thea_rc write_full(int fd, struct iovec *iov, struct thea_err *err)
{
    size_t left = iov[0].iov_len + iov[1].iov_len + iov[2].iov_len;
    while (left > 0) {
        ssize_t n = writev(fd, iov, 3);
        if (n >= 0) {
            left -= (size_t)n;
            advance(iov, (size_t)n);
        } else if (errno == EPIPE) {
            return thea_fail(err, THEA_ECLOSED, "the reader of the output is gone");
        } else if (!wait_ready(fd, POLLOUT)) {
            return thea_fail(err, THEA_EIO, "output: write failed: %s", strerror(errno));
        }
    }
    return THEA_OK;
}

static void *block_alloc(void *context, size_t size)
{
    struct block *b = context;
    return block_grow(b, size) ? b->data : NULL;
}

thea_rc frame_write(struct frame_writer *w, const struct frame *f, struct thea_err *err)
{
    size_t offset, size;
    thea_rc rc = codec_encode_frame(f, block_alloc, &w->block, &offset, &size, err);
    if (rc != THEA_OK) return rc;
    uint64_t length = htole64(size);
    struct iovec iov[3] = {{.iov_base = (void *)(uintptr_t)magic, .iov_len = w->begun ? 0 : sizeof magic},
                           {.iov_base = &length, .iov_len = sizeof length},
                           {.iov_base = (char *)w->block.data + offset, .iov_len = size}};
    w->begun = true;
    return write_full(w->fd, iov, err);
}
