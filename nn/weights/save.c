/* Writing weights: see save.h. Tensors lie in the file by falling element size, then by name, so that each is
 * aligned to its element (the order in which Hugging Face's writer puts them). */
#include "nn/weights/save.h"

#include "graph/buf.h"
#include "graph/json.h"
#include "nn/weights/loader.h"
#include "nn/weights/narrow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 16, PREFIX_BYTES = 8 }; /* elements written at once */

struct item {
    const struct weight *weight;
    const struct dtype *from, *to;
    uint64_t elements, bytes;
    const char *same_as; /* only noted: the name that is written */
};

struct saver {
    const struct save_options *options;
    struct item *items; /* in the order of the file */
    size_t count;
    uint64_t total, done;
    struct save_report *report;
    int fd;
    const char *path;
    float *floats;        /* [PIECE] */
    unsigned char *piece; /* [PIECE * 16 bytes] */
    struct thea_err *err;
};

static bool is_floating(const struct dtype *d)
{
    return d->dtype == TENSOR_F32 || d->dtype == TENSOR_F16 || d->dtype == TENSOR_BF16 ||
           strcmp(d->name, "F64") == 0;
}

static bool is_words(const char *name)
{
    static const char *const ends[] = {"embed_tokens.weight", "word_embeddings.weight", "wte.weight",
                                       "tok_embeddings.weight"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n >= m && strcmp(name + n - m, ends[i]) == 0) return true;
    }
    return false;
}

/* The table of words that lies where w does, under another name; NULL if there is none. */
static const char *find_words(const struct weights *all, const struct weight *w)
{
    for (size_t i = 0; i < weights_count(all); i++) {
        const struct weight *o = weights_at(all, i);
        if (o != w && o->data == w->data && o->size_bytes == w->size_bytes && o->strided == w->strided &&
            is_words(o->name) && !is_words(w->name))
            return o->name;
    }
    return NULL;
}

static thea_rc make_item(struct item *item, const struct weight *w, const struct weights *all,
                         const struct saver *s)
{
    *item = (struct item){.weight = w, .from = dtype_named(w->dtype_name), .elements = 1};
    item->to = s->options->dtype != NULL && is_floating(item->from) ? s->options->dtype : item->from;
    bool fits = true;
    for (uint32_t i = 0; i < w->rank; i++)
        fits = fits && !__builtin_mul_overflow(item->elements, w->shape[i], &item->elements);
    uint64_t bits;
    fits =
        fits && !__builtin_mul_overflow(item->elements, item->from->bits, &bits) && bits / 8 <= w->size_bytes;
    if (!fits)
        return thea_fail(s->err, THEA_EDATA, "tensor '%.200s' has more elements than are stored (%llu bytes)",
                         w->name, (unsigned long long)w->size_bytes);
    if (strcmp(item->from->name, "C128") == 0)
        return thea_fail(s->err, THEA_EDATA,
                         "tensor '%.200s' is of complex128, which safetensors does not have", w->name);
    item->bytes = item->elements * item->to->bits / 8;
    item->same_as = s->options->tied ? find_words(all, w) : NULL;
    return THEA_OK;
}

static int by_alignment(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->to->bits != y->to->bits) return x->to->bits > y->to->bits ? -1 : 1;
    return strcmp(x->weight->name, y->weight->name);
}

static thea_rc make_items(struct saver *s, const struct weights *w)
{
    s->items = calloc(weights_count(w) + 1, sizeof *s->items);
    if (s->items == NULL) return thea_fail(s->err, THEA_EOS, "out of memory");
    for (size_t i = 0; i < weights_count(w); i++) {
        struct item *item = &s->items[s->count++];
        thea_rc rc = make_item(item, weights_at(w, i), w, s);
        if (rc != THEA_OK) return rc;
        if (item->same_as == NULL) {
            s->total += item->bytes;
            s->report->tensors++;
        } else {
            s->report->shared++;
        }
    }
    qsort(s->items, s->count, sizeof *s->items, by_alignment);
    return THEA_OK;
}

static thea_rc write_all(struct saver *s, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(s->fd, (const char *)bytes + at, n - at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return thea_fail(s->err, THEA_EIO, "cannot write %s: %s", s->path, strerror(errno));
        at += (size_t)wrote;
    }
    return THEA_OK;
}

static struct json_node *describe(const struct item *item, uint64_t at)
{
    struct json_node *map = json_new_map(), *shape = json_new_list(), *offsets = json_new_list();
    for (uint32_t i = 0; i < item->weight->rank; i++)
        json_append(shape, json_new_int((int64_t)item->weight->shape[i]));
    json_append(offsets, json_new_int((int64_t)at));
    json_append(offsets, json_new_int((int64_t)(at + item->bytes)));
    json_put(map, "dtype", json_new_string(item->to->name));
    json_put(map, "shape", shape);
    json_put(map, "data_offsets", offsets);
    return map;
}

static thea_rc write_header(struct saver *s)
{
    struct json_node *header = json_new_map(), *metadata = json_new_map();
    json_put(metadata, "format", json_new_string("pt"));
    uint64_t at = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        if (item->same_as != NULL) json_put(metadata, item->weight->name, json_new_string(item->same_as));
    }
    json_put(header, "__metadata__", metadata);
    for (size_t i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        if (item->same_as != NULL) continue;
        json_put(header, item->weight->name, describe(item, at));
        at += item->bytes;
    }
    struct buf text = {0};
    char *json = json_print(header, 0, 0);
    json_free(header);
    uint64_t bytes = (strlen(json) + 7) / 8 * 8;
    for (int i = 0; i < PREFIX_BYTES; i++) buf_add_char(&text, (char)(bytes >> (8 * i)));
    buf_printf(&text, "%-*s", (int)bytes, json);
    free(json);
    thea_rc rc = write_all(s, text.data, text.len);
    s->report->bytes = text.len + s->total;
    buf_fini(&text);
    return rc;
}

/* n elements of a tensor, as they are, from element `at` in C order. */
static void gather(unsigned char *dst, const struct item *item, uint64_t at, size_t n)
{
    const struct weight *w = item->weight;
    size_t bytes = item->from->bits / 8;
    for (size_t i = 0; i < n; i++) {
        uint64_t place = 0, rest = at + i;
        for (uint32_t d = w->rank; d-- > 0; rest /= w->shape[d]) place += rest % w->shape[d] * w->stride[d];
        memcpy(dst + i * bytes, (const unsigned char *)w->data + place * bytes, bytes);
    }
}

static void read_floats(float *dst, const struct item *item, uint64_t at, size_t n, struct saver *s)
{
    if (item->from->dtype != DTYPE_OTHER) {
        weight_widen(dst, item->weight, at, n, s->options->kernels);
        return;
    }
    const unsigned char *doubles = (const unsigned char *)item->weight->data + at * sizeof(double);
    if (item->weight->strided) {
        gather(s->piece, item, at, n);
        doubles = s->piece;
    }
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, doubles + i * sizeof x, sizeof x);
        dst[i] = (float)x;
    }
}

/* What is written for n elements from `at`: in s->piece, or where the tensor lies. */
static const void *convert(struct saver *s, const struct item *item, uint64_t at, size_t n)
{
    if (item->from == item->to && !item->weight->strided)
        return (const unsigned char *)item->weight->data + at * item->from->bits / 8;
    if (item->from == item->to) {
        gather(s->piece, item, at, n);
        return s->piece;
    }
    read_floats(s->floats, item, at, n, s);
    uint16_t *out = (uint16_t *)(void *)s->piece;
    size_t beyond = 0;
    if (item->to->dtype == TENSOR_F32) return s->floats;
    beyond = item->to->dtype == TENSOR_F16 ? narrow_f16(out, s->floats, n) : narrow_bf16(out, s->floats, n);
    if (beyond > 0 && s->report->infinite == 0)
        snprintf(s->report->infinite_name, sizeof s->report->infinite_name, "%s", item->weight->name);
    s->report->infinite += beyond;
    return s->piece;
}

static thea_rc write_item(struct saver *s, const struct item *item)
{
    for (uint64_t at = 0; at < item->elements; at += PIECE) {
        size_t n = item->elements - at < PIECE ? item->elements - at : PIECE;
        thea_rc rc = write_all(s, convert(s, item, at, n), (n * item->to->bits + 7) / 8);
        if (rc != THEA_OK) return rc;
        s->done += n * item->to->bits / 8;
        if (s->options->progress != NULL && !s->options->progress(s->options->context, s->done, s->total))
            return thea_fail(s->err, THEA_ECLOSED, "interrupted");
    }
    return THEA_OK;
}

static thea_rc write_file(struct saver *s)
{
    thea_rc rc = write_header(s);
    for (size_t i = 0; i < s->count && rc == THEA_OK; i++)
        if (s->items[i].same_as == NULL) rc = write_item(s, &s->items[i]);
    if (rc == THEA_OK && fsync(s->fd) != 0)
        rc = thea_fail(s->err, THEA_EIO, "cannot write %s: %s", s->path, strerror(errno));
    if (close(s->fd) != 0 && rc == THEA_OK)
        rc = thea_fail(s->err, THEA_EIO, "cannot write %s: %s", s->path, strerror(errno));
    if (rc != THEA_OK) unlink(s->path);
    return rc;
}

thea_rc weights_save(const struct weights *w, const char *path, const struct save_options *options,
                     struct save_report *report, struct thea_err *err)
{
    *report = (struct save_report){0};
    struct saver s = {.options = options, .report = report, .path = path, .err = err, .fd = -1};
    s.floats = malloc(PIECE * sizeof *s.floats);
    s.piece = malloc((size_t)PIECE * 16);
    thea_rc rc =
        s.floats != NULL && s.piece != NULL ? make_items(&s, w) : thea_fail(err, THEA_EOS, "out of memory");
    if (rc == THEA_OK) {
        s.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        rc = s.fd >= 0 ? write_file(&s)
                       : thea_fail(err, THEA_ECREATE, "cannot create %s: %s", path, strerror(errno));
    }
    free(s.items);
    free(s.floats);
    free(s.piece);
    return rc;
}
