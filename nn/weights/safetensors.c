/* The safetensors reader: see safetensors.h. Invariant: every weight handed out lies wholly inside the
 * mapping, and shape times dtype is its size. */
#include "nn/weights/safetensors.h"

#include "graph/json.h"
#include "nn/weights/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX_BYTES = 8, HEADER_MAX = 100 << 20 };

/* What an entry is checked against. */
struct reader {
    const char *path;
    const unsigned char *data; /* after the header */
    uint64_t data_bytes;
    struct thea_err *err;
};

static uint64_t read_u64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static thea_rc read_shape(struct weight *w, const struct json_node *shape, const struct reader *r)
{
    size_t rank = json_count(shape);
    if (json_kind(shape) != JSON_LIST_ || rank > TENSOR_RANK_MAX) {
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%s': shape must be a list of at most %d sizes, found %s", r->path,
                         w->name, TENSOR_RANK_MAX,
                         json_kind(shape) == JSON_LIST_ ? "more" : json_kind_name(json_kind(shape)));
    }
    w->rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        const struct json_node *item = json_item(shape, i);
        if (json_kind(item) != JSON_INT_ || json_int(item) < 0) {
            return thea_fail(r->err, THEA_EDATA,
                             "%s: tensor '%s': size %zu of its shape must be an integer, 0 or more", r->path,
                             w->name, i);
        }
        w->shape[i] = (uint64_t)json_int(item);
    }
    return THEA_OK;
}

/* Bytes that the shape needs; false on overflow, or when they are no whole number. */
static bool shape_bytes(uint64_t *out, const struct weight *w, uint32_t bits)
{
    uint64_t n = bits;
    for (uint32_t i = 0; i < w->rank; i++) {
        if (__builtin_mul_overflow(n, w->shape[i], &n)) return false;
    }
    *out = n / 8;
    return n % 8 == 0;
}

static thea_rc read_offsets(struct weight *w, const struct json_node *offsets, uint32_t bits,
                            const struct reader *r)
{
    const struct json_node *b = json_item(offsets, 0), *e = json_item(offsets, 1);
    if (json_count(offsets) != 2 || json_kind(b) != JSON_INT_ || json_kind(e) != JSON_INT_ ||
        json_int(b) < 0 || json_int(e) < json_int(b)) {
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%s': data_offsets must be [begin, end] with 0 <= begin <= end", r->path,
                         w->name);
    }
    uint64_t begin = (uint64_t)json_int(b), end = (uint64_t)json_int(e), need;
    if (end > r->data_bytes) {
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%s': its data ends at byte %llu, but the file has only %llu bytes of "
                         "data: truncated, or an unfinished download",
                         r->path, w->name, (unsigned long long)end, (unsigned long long)r->data_bytes);
    }
    if (!shape_bytes(&need, w, bits)) {
        return thea_fail(r->err, THEA_EDATA, "%s: tensor '%s': its shape is too large to exist", r->path,
                         w->name);
    }
    if (need != end - begin) {
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%s': its shape and dtype need %llu bytes, data_offsets give %llu",
                         r->path, w->name, (unsigned long long)need, (unsigned long long)(end - begin));
    }
    w->data = r->data + begin;
    w->size_bytes = need;
    return THEA_OK;
}

static thea_rc read_entry(struct weight *w, const struct json_iter *it, const struct reader *r)
{
    if (it->key_len == 0 || strlen(it->key) != it->key_len) {
        return thea_fail(r->err, THEA_EDATA, "%s: a tensor's name is empty or holds a zero byte", r->path);
    }
    if (json_kind(it->value) != JSON_MAP_) {
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%s': expected an object with dtype, shape and data_offsets, found %s",
                         r->path, it->key, json_kind_name(json_kind(it->value)));
    }
    w->name = strdup(it->key);
    if (w->name == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    const char *name = json_text(json_member(it->value, "dtype"), NULL);
    const struct dtype *dtype = dtype_named(name);
    if (dtype == NULL) {
        return thea_fail(r->err, THEA_EDATA, "%s: tensor '%s': dtype %s%.40s%s is not known; accepted: %s",
                         r->path, w->name, name != NULL ? "'" : "", name != NULL ? name : "(none)",
                         name != NULL ? "'" : "", dtype_names());
    }
    w->dtype = dtype->dtype;
    w->dtype_name = dtype->name;
    thea_rc rc = read_shape(w, json_member(it->value, "shape"), r);
    return rc != THEA_OK ? rc : read_offsets(w, json_member(it->value, "data_offsets"), dtype->bits, r);
}

static int by_address(const void *a, const void *b)
{
    const struct weight *x = *(const struct weight *const *)a, *y = *(const struct weight *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

/* The tensors must cover the data exactly: the format allows neither overlaps nor bytes that belong to
 * nobody. */
static thea_rc check_cover(const struct weight_file *s, const struct reader *r)
{
    const struct weight **order = calloc(s->count + 1, sizeof *order);
    if (order == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    for (size_t i = 0; i < s->count; i++) order[i] = &s->tensors[i];
    qsort(order, s->count, sizeof *order, by_address);
    const unsigned char *at = r->data;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < s->count && rc == THEA_OK; i++) {
        const unsigned char *begin = order[i]->data;
        if (begin < at) {
            rc = thea_fail(r->err, THEA_EDATA, "%s: tensors '%s' and '%s' overlap", r->path,
                           order[i - 1]->name, order[i]->name);
        } else if (begin > at) {
            rc = thea_fail(r->err, THEA_EDATA, "%s: %zu bytes before tensor '%s' belong to no tensor",
                           r->path, (size_t)(begin - at), order[i]->name);
        }
        at = begin + order[i]->size_bytes;
    }
    uint64_t covered = (uint64_t)(at - r->data);
    if (rc == THEA_OK && covered != r->data_bytes) {
        rc = thea_fail(r->err, THEA_EDATA, "%s: %llu bytes after the last tensor belong to no tensor",
                       r->path, (unsigned long long)(r->data_bytes - covered));
    }
    free(order);
    return rc;
}

/* Names that safetensors' save_model noted in place of a second copy: {other name: name that is there}. Other
 * entries of the metadata mean nothing here. */
static thea_rc read_shared(struct weight_file *s, const struct json_node *header, const struct reader *r)
{
    const struct json_node *metadata = json_member(header, "__metadata__");
    size_t stored = s->count;
    if (json_count(metadata) == 0 || stored == 0) return THEA_OK;
    struct weight *grown = reallocarray(s->tensors, stored + json_count(metadata), sizeof *grown);
    if (grown == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    s->tensors = grown;
    for (struct json_iter it = json_iter(metadata); json_next(&it);) {
        const char *name = json_text(it.value, NULL);
        if (name == NULL || json_member(header, name) == NULL || json_member(header, it.key) != NULL ||
            strcmp(name, "__metadata__") == 0 || strlen(it.key) != it.key_len)
            continue;
        size_t i = 0;
        while (strcmp(s->tensors[i].name, name) != 0) i++;
        s->tensors[s->count] = s->tensors[i];
        s->tensors[s->count].name = strdup(it.key);
        if (s->tensors[s->count++].name == NULL)
            return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    }
    return THEA_OK;
}

static thea_rc read_entries(struct weight_file *s, const struct json_node *header, const struct reader *r)
{
    s->tensors = calloc(json_count(header) + 1, sizeof *s->tensors);
    if (s->tensors == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    for (struct json_iter it = json_iter(header); json_next(&it);) {
        if (strcmp(it.key, "__metadata__") == 0) continue;
        thea_rc rc = read_entry(&s->tensors[s->count++], &it, r);
        if (rc != THEA_OK) return rc;
    }
    thea_rc rc = check_cover(s, r);
    return rc == THEA_OK ? read_shared(s, header, r) : rc;
}

static thea_rc check_prefix(uint64_t *header_bytes, const unsigned char *bytes, size_t size, const char *path,
                            struct thea_err *err)
{
    thea_rc rc = map_check_lfs(bytes, size, path, err);
    if (rc != THEA_OK) return rc;
    if (size < PREFIX_BYTES) {
        return thea_fail(err, THEA_EDATA,
                         "%s: %zu bytes are no safetensors file (8 bytes of header length come first)", path,
                         size);
    }
    uint64_t n = read_u64(bytes);
    if (n > HEADER_MAX || n > size - PREFIX_BYTES) {
        return thea_fail(
            err, THEA_EDATA, "%s: header length %llu is over %s (%llu): not a safetensors file, or truncated",
            path, (unsigned long long)n, n > HEADER_MAX ? "the format's limit" : "what the file holds",
            (unsigned long long)(n > HEADER_MAX ? HEADER_MAX : size - PREFIX_BYTES));
    }
    *header_bytes = n;
    return THEA_OK;
}

thea_rc safetensors_parse(struct weight_file *out, const void *bytes, size_t size, const char *path,
                          struct thea_err *err)
{
    *out = (struct weight_file){0};
    uint64_t header_bytes = 0;
    thea_rc rc = check_prefix(&header_bytes, bytes, size, path, err);
    if (rc != THEA_OK) return rc;
    const unsigned char *at = (const unsigned char *)bytes + PREFIX_BYTES;
    struct reader r = {path, at + header_bytes, size - PREFIX_BYTES - header_bytes, err};
    struct json_node *header = NULL;
    char what[512];
    snprintf(what, sizeof what, "%s: header", path);
    rc = json_parse(&header, (const char *)at, header_bytes, what, err);
    if (rc == THEA_OK && json_kind(header) != JSON_MAP_) {
        rc = thea_fail(err, THEA_EDATA, "%s: header: expected a JSON object, found %s", path,
                       json_kind_name(json_kind(header)));
    }
    if (rc == THEA_OK) rc = read_entries(out, header, &r);
    json_free(header);
    if (rc != THEA_OK) weight_file_close(out);
    return rc;
}

thea_rc safetensors_open(struct weight_file *out, const char *path, struct thea_err *err)
{
    return weight_file_open(out, path, safetensors_parse, err);
}
