/* Fingerprints of models: see fingerprint.h. */
#include "retrieval/fingerprint.h"

#include "graph/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 64 << 10, PIECE_BYTES = 1 << 10, PIECES = 256 };

static thea_rc add_range(struct sha256 *h, int fd, uint64_t at, uint64_t n, const char *path,
                         struct thea_err *err)
{
    char bytes[HEAD_BYTES];
    while (n > 0) {
        ssize_t got = pread(fd, bytes, n < sizeof bytes ? (size_t)n : sizeof bytes, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return thea_fail(err, THEA_EIO, "cannot read '%s': %s", path,
                             got < 0 ? strerror(errno) : "it became shorter");
        sha256_add(h, bytes, (size_t)got);
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return THEA_OK;
}

/* The first bytes and evenly spread pieces of the rest. */
static thea_rc add_pieces(struct sha256 *h, int fd, uint64_t size, const char *path, struct thea_err *err)
{
    uint64_t room = size - HEAD_BYTES - PIECE_BYTES;
    thea_rc rc = add_range(h, fd, 0, HEAD_BYTES, path, err);
    for (uint64_t i = 0; rc == THEA_OK && i < PIECES; i++)
        rc = add_range(h, fd, HEAD_BYTES + room * i / (PIECES - 1), PIECE_BYTES, path, err);
    return rc;
}

static thea_rc add_open_file(struct sha256 *h, int fd, const char *path, const char *name, bool whole,
                             struct thea_err *err)
{
    struct stat at;
    struct buf head = {0};
    if (fstat(fd, &at) != 0) return thea_fail(err, THEA_EIO, "cannot read '%s': %s", path, strerror(errno));
    uint64_t size = (uint64_t)at.st_size;
    buf_printf(&head, "%s %llu\n", name, (unsigned long long)size);
    sha256_add(h, head.data, head.len);
    buf_fini(&head);
    if (whole || size <= HEAD_BYTES + PIECES * PIECE_BYTES) return add_range(h, fd, 0, size, path, err);
    return add_pieces(h, fd, size, path, err);
}

/* *there: is there such a file? */
static thea_rc add_file(struct sha256 *h, const char *dir, const char *name, bool whole, bool *there,
                        struct thea_err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    int fd = open(path.data, O_RDONLY | O_CLOEXEC);
    thea_rc rc = THEA_OK;
    *there = fd >= 0;
    if (fd >= 0)
        rc = add_open_file(h, fd, path.data, name, whole, err);
    else if (errno != ENOENT)
        rc = thea_fail(err, THEA_EIO, "cannot read '%s': %s", path.data, strerror(errno));
    if (fd >= 0) close(fd);
    buf_fini(&path);
    return rc;
}

static int is_weights(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    if (dot == NULL || e->d_name[0] == '.') return 0;
    return strcmp(dot, ".safetensors") == 0 ||
           (strcmp(dot, ".bin") == 0 && strncmp(e->d_name, "pytorch_model", strlen("pytorch_model")) == 0);
}

/* The containers in the order in which they are looked for: the first that is there is the model. */
static thea_rc add_weights(struct sha256 *h, const char *dir, struct thea_err *err)
{
    bool there = false;
    thea_rc rc = add_file(h, dir, "model.safetensors", false, &there, err);
    if (rc != THEA_OK || there) return rc;
    struct dirent **names;
    int count = scandir(dir, &names, is_weights, alphasort);
    if (count < 0) return thea_fail(err, THEA_EIO, "cannot read '%s': %s", dir, strerror(errno));
    for (int i = 0; i < count; i++) {
        if (rc == THEA_OK) rc = add_file(h, dir, names[i]->d_name, false, &there, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

thea_rc fingerprint_of(char out[SHA256_HEX], const char *dir, struct thea_err *err)
{
    static const char *const small[] = {"config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json",
                                        "sentence_bert_config.json"};
    struct sha256 h;
    bool there = false, tokenizer = false;
    thea_rc rc = THEA_OK;
    sha256_init(&h);
    for (size_t i = 0; rc == THEA_OK && i < sizeof small / sizeof *small; i++) {
        if (strcmp(small[i], "vocab.txt") == 0 && tokenizer) continue;
        rc = add_file(&h, dir, small[i], true, &there, err);
        if (strcmp(small[i], "tokenizer.json") == 0) tokenizer = there;
        if (rc == THEA_OK && i == 0 && !there)
            rc = thea_fail(err, THEA_ENOINPUT, "there is no model in '%s': it has no config.json", dir);
    }
    if (rc == THEA_OK) rc = add_weights(&h, dir, err);
    if (rc == THEA_OK) sha256_hex(&h, out);
    return rc;
}
