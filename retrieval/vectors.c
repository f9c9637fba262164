/* Vectors on disk: see vectors.h. */
#include "retrieval/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES = 128, PREFIX_BYTES = 10 };
#define HEADER_BEGIN "{'descr': '<f4', 'fortran_order': False, 'shape': ("
#define HEADER_TEXT  HEADER_BEGIN "%" PRIu64 ", %" PRIu64 "), }"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are written as they lie in memory: '<f4'");
static const char prefix[PREFIX_BYTES] = "\x93NUMPY\x01\x00\x76"; /* 0x76: bytes of the text behind it */

static thea_rc io_fail(const struct vectors *v, const char *what, struct thea_err *err)
{
    return thea_fail(err, THEA_EIO, "cannot %s '%s': %s", what, v->path, strerror(errno));
}

static thea_rc write_at(struct vectors *v, const void *bytes, size_t n, uint64_t at, struct thea_err *err)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t done = pwrite(v->fd, from, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_fail(v, "write", err);
        from += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return THEA_OK;
}

static void begin(struct vectors *v, const char *path, uint64_t dimension)
{
    *v = (struct vectors){.fd = -1, .path = strdup(path), .dimension = dimension};
    if (v->path == NULL) abort();
}

thea_rc vectors_create(struct vectors *v, const char *path, uint64_t dimension, struct thea_err *err)
{
    begin(v, path, dimension);
    v->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (v->fd < 0) return thea_fail(err, THEA_ECREATE, "cannot create '%s': %s", path, strerror(errno));
    thea_rc rc = vectors_stamp(v, 0, err);
    return rc == THEA_OK ? vectors_sync(v, err) : rc;
}

/* --- reading the header --- */

static thea_rc damaged(const struct vectors *v, const char *what, struct thea_err *err)
{
    return thea_fail(err, THEA_EDATA, "damaged: '%s': %s", v->path, what);
}

/* After `before` comes a number: what stands behind it, or NULL. */
static const char *scan_number(const char *at, const char *before, uint64_t *out)
{
    char *end;
    if (at == NULL || strncmp(at, before, strlen(before)) != 0) return NULL;
    at += strlen(before);
    *out = strtoull(at, &end, 10);
    return end > at && *at >= '0' && *at <= '9' ? end : NULL;
}

static thea_rc check_header(const struct vectors *v, struct thea_err *err)
{
    char header[HEADER_BYTES + 1] = {0}, what[160];
    uint64_t rows, columns;
    ssize_t n = pread(v->fd, header, HEADER_BYTES, 0);
    if (n < 0) return io_fail(v, "read", err);
    if (n < HEADER_BYTES || memcmp(header, prefix, PREFIX_BYTES) != 0)
        return damaged(v, "it does not begin as a .npy file of an index does", err);
    const char *end = scan_number(scan_number(header + PREFIX_BYTES, HEADER_BEGIN, &rows), ", ", &columns);
    if (end == NULL || strncmp(end, "), }", 4) != 0)
        return damaged(v, "its header is not that of f32 rows", err);
    if (columns == v->dimension) return THEA_OK;
    snprintf(what, sizeof what, "its rows are %" PRIu64 " wide, the index says %" PRIu64, columns,
             v->dimension);
    return damaged(v, what, err);
}

static thea_rc check_size(const struct vectors *v, uint64_t rows, struct thea_err *err)
{
    struct stat at;
    char what[160];
    if (fstat(v->fd, &at) != 0) return io_fail(v, "read", err);
    uint64_t room = ((uint64_t)at.st_size - HEADER_BYTES) / (v->dimension * sizeof(float));
    if (rows <= room) return THEA_OK;
    snprintf(what, sizeof what, "it ends after %" PRIu64 " rows, the index has %" PRIu64, room, rows);
    return damaged(v, what, err);
}

thea_rc vectors_open(struct vectors *v, const char *path, uint64_t dimension, uint64_t rows, bool write,
                     struct thea_err *err)
{
    begin(v, path, dimension);
    v->fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (v->fd < 0 && errno == ENOENT)
        return thea_fail(err, THEA_ENOINPUT, "damaged: '%s' is not there, and the index names it", path);
    if (v->fd < 0) return io_fail(v, "open", err);
    thea_rc rc = check_header(v, err);
    return rc == THEA_OK ? check_size(v, rows, err) : rc;
}

void vectors_close(struct vectors *v)
{
    if (v->map != NULL) munmap(v->map, v->map_bytes);
    if (v->path != NULL && v->fd >= 0) close(v->fd);
    free(v->path);
    *v = (struct vectors){.fd = -1};
}

/* --- rows --- */

thea_rc vectors_put(struct vectors *v, uint64_t row, const float *values, struct thea_err *err)
{
    uint64_t bytes = v->dimension * sizeof *values;
    return write_at(v, values, bytes, HEADER_BYTES + row * bytes, err);
}

thea_rc vectors_sync(struct vectors *v, struct thea_err *err)
{
    return fdatasync(v->fd) == 0 ? THEA_OK : io_fail(v, "flush", err);
}

thea_rc vectors_stamp(struct vectors *v, uint64_t rows, struct thea_err *err)
{
    char header[HEADER_BYTES + 1];
    memset(header, ' ', sizeof header);
    memcpy(header, prefix, PREFIX_BYTES);
    int n = snprintf(header + PREFIX_BYTES, HEADER_BYTES - PREFIX_BYTES, HEADER_TEXT, rows, v->dimension);
    header[PREFIX_BYTES + n] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    return write_at(v, header, HEADER_BYTES, 0, err);
}

thea_rc vectors_map(struct vectors *v, const float **out, uint64_t rows, struct thea_err *err)
{
    *out = NULL;
    if (rows == 0) return THEA_OK;
    v->map_bytes = HEADER_BYTES + rows * v->dimension * sizeof **out;
    void *map = mmap(NULL, v->map_bytes, PROT_READ, MAP_SHARED, v->fd, 0);
    if (map == MAP_FAILED) return thea_fail(err, THEA_EOS, "cannot map '%s': %s", v->path, strerror(errno));
    v->map = map;
    (void)madvise(map, v->map_bytes, MADV_SEQUENTIAL); /* a search reads all of it, in order */
    *out = (const float *)((const char *)map + HEADER_BYTES);
    return THEA_OK;
}
