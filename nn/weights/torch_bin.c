/* Files of torch.save: see torch_bin.h. Invariant: every weight handed out lies wholly inside its member. */
#include "nn/weights/torch_bin.h"

#include "nn/weights/map.h"
#include "nn/weights/pickle.h"
#include "nn/weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEST_MAX = 4, TENSOR_NAME_MAX = 1024, NAME_SHOWN = 200 };

struct reader {
    const char *path;
    struct zip zip;
    char *root; /* of its members' names: "archive/" */
    struct thea_err *err;
};

/* Before 1.6 torch wrote pickles without a zip around them, which begin with this number. */
static const unsigned char legacy_mark[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c,
                                            0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static thea_rc check_start(const unsigned char *bytes, size_t size, const char *path, struct thea_err *err)
{
    thea_rc rc = map_check_lfs(bytes, size, path, err);
    if (rc != THEA_OK) return rc;
    if (size >= sizeof legacy_mark && memcmp(bytes, legacy_mark, sizeof legacy_mark) == 0)
        return thea_fail(err, THEA_EDATA,
                         "%s is in the format that torch had before 1.6, which is not read\n"
                         "  write it again  python -c \"import torch; f = '%s'; torch.save(torch.load(f, "
                         "map_location='cpu', weights_only=True), f)\"",
                         path, path);
    if (size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0) return THEA_OK;
    return thea_fail(err, THEA_EDATA, "%s is no file of torch.save: %s", path,
                     size == 0 ? "it is empty" : "it does not begin as zip files do (\"PK\\3\\4\")");
}

/* The members' common folder: that of the one data.pkl. */
static thea_rc find_root(struct reader *r)
{
    static const char file[] = "/data.pkl";
    for (size_t i = 0; i < r->zip.count; i++) {
        const char *name = r->zip.members[i].name, *slash = strchr(name, '/');
        if (slash == NULL || slash == name || strcmp(slash, file) != 0) continue;
        if (r->root != NULL)
            return thea_fail(r->err, THEA_EDATA,
                             "%s: two members are a data.pkl: '%.200sdata.pkl' and '%.200s'", r->path,
                             r->root, name);
        r->root = strndup(name, (size_t)(slash - name) + 1);
        if (r->root == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    }
    if (r->root != NULL) return THEA_OK;
    return thea_fail(r->err, THEA_EDATA,
                     "%s: a zip file of %zu members, but none is ROOT/data.pkl: not of torch.save", r->path,
                     r->zip.count);
}

static const struct zip_member *find_member(const struct reader *r, const char *name, size_t len)
{
    char full[2 * TENSOR_NAME_MAX];
    int n = snprintf(full, sizeof full, "%s%.*s", r->root,
                     (int)(len < TENSOR_NAME_MAX ? len : TENSOR_NAME_MAX), name);
    return n > 0 && (size_t)n < sizeof full ? zip_find(&r->zip, full) : NULL;
}

static thea_rc check_byte_order(const struct reader *r)
{
    const struct zip_member *m = find_member(r, "byteorder", 9);
    if (m == NULL || (m->size == 6 && memcmp(m->data, "little", 6) == 0)) return THEA_OK;
    return thea_fail(r->err, THEA_EDATA, "%s: its byte order is '%.*s'; accepted: little", r->path,
                     m->size == 3 && memcmp(m->data, "big", 3) == 0 ? 3 : 0, (const char *)m->data);
}

static bool has_tensor(const struct pickle_value *dict)
{
    for (size_t i = 0; i < dict->items.count; i += 2)
        if (dict->items.at[i + 1]->kind == PICKLE_TENSOR) return true;
    return false;
}

/* Training code keeps the state dict among other things. NULL: there is none. */
static const struct pickle_value *find_state_dict(const struct pickle_value *root)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "state", "model", "module", NULL};
    for (int depth = 0; depth < NEST_MAX && root != NULL && root->kind == PICKLE_DICT; depth++) {
        if (has_tensor(root)) return root;
        const struct pickle_value *inner = NULL;
        for (size_t i = 0; names[i] != NULL && inner == NULL; i++) {
            inner = pickle_member(root, names[i]);
            if (inner != NULL && inner->kind != PICKLE_DICT) inner = NULL;
        }
        root = inner;
    }
    return NULL;
}

static thea_rc find_storage(const unsigned char **data, const struct weight *w,
                            const struct pickle_storage *s, const struct reader *r)
{
    char name[TENSOR_NAME_MAX];
    size_t len = s->key->text.len;
    if (len == 0 || len > TENSOR_NAME_MAX / 2 || memchr(s->key->text.bytes, 0, len) != NULL)
        return thea_fail(r->err, THEA_EDATA, "%s: tensor '%.200s': its storage's key is no name", r->path,
                         w->name);
    snprintf(name, sizeof name, "data/%.*s", (int)len, s->key->text.bytes);
    const struct zip_member *m = find_member(r, name, strlen(name));
    if (m == NULL)
        return thea_fail(r->err, THEA_EDATA, "%s: tensor '%.200s': its storage '%.200s' is not in the file",
                         r->path, w->name, name);
    uint64_t bits;
    if (__builtin_mul_overflow(s->elements, s->dtype->bits, &bits) || bits / 8 != m->size)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%.200s': its storage '%.200s' has %llu bytes, not %llu elements of %s",
                         r->path, w->name, name, (unsigned long long)m->size, (unsigned long long)s->elements,
                         s->dtype->name);
    *data = m->data;
    return THEA_OK;
}

/* Elements of the storage that the tensor reaches, from its first; false on overflow. An empty one reaches
 * none. */
static bool reach(uint64_t *out, uint64_t *elements, const struct pickle_tensor *t)
{
    uint64_t last = 0, step, count = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (__builtin_mul_overflow(count, t->shape[i], &count)) return false;
        if (t->shape[i] == 0) continue;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return false;
    }
    *elements = count;
    *out = count > 0 ? last + 1 : 0;
    return *out > 0 || count == 0;
}

/* In C order, without gaps? Strides of dimensions of size 1 mean nothing. */
static bool is_contiguous(const struct pickle_tensor *t, uint64_t elements)
{
    uint64_t expected = 1;
    for (uint32_t i = t->rank; elements > 0 && i-- > 0;) {
        if (t->shape[i] != 1 && t->stride[i] != expected) return false;
        expected *= t->shape[i];
    }
    return true;
}

static thea_rc place(struct weight *w, const struct pickle_tensor *t, const struct reader *r)
{
    const unsigned char *data;
    thea_rc rc = find_storage(&data, w, t->storage, r);
    if (rc != THEA_OK) return rc;
    uint64_t span, elements, bytes = t->dtype->bits / 8,
                             storage = t->storage->elements * (t->storage->dtype->bits / 8);
    if (!reach(&span, &elements, t))
        return thea_fail(r->err, THEA_EDATA, "%s: tensor '%.200s': its shape is too large to exist", r->path,
                         w->name);
    if (t->offset > storage / bytes || span > storage / bytes - t->offset)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: tensor '%.200s': elements %llu to %llu are beyond its storage of %llu", r->path,
                         w->name, (unsigned long long)t->offset, (unsigned long long)(t->offset + span),
                         (unsigned long long)(storage / bytes));
    w->dtype = t->dtype->dtype;
    w->dtype_name = t->dtype->name;
    w->rank = t->rank;
    memcpy(w->shape, t->shape, sizeof w->shape);
    w->strided = !is_contiguous(t, elements);
    memcpy(w->stride, t->stride, sizeof w->stride);
    w->data = data + t->offset * bytes;
    w->size_bytes = span * bytes;
    return THEA_OK;
}

static thea_rc add_tensor(struct weight *w, const struct pickle_value *key, const struct pickle_tensor *t,
                          const struct reader *r)
{
    if (key->kind != PICKLE_TEXT || key->text.len == 0 || key->text.len > TENSOR_NAME_MAX ||
        memchr(key->text.bytes, 0, key->text.len) != NULL)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: a tensor's name is empty, no text, longer than %d bytes, or holds a zero byte",
                         r->path, TENSOR_NAME_MAX);
    w->name = strndup(key->text.bytes, key->text.len);
    if (w->name == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    return place(w, t, r);
}

static thea_rc add_tensors(struct weight_file *out, const struct pickle_value *dict, const struct reader *r)
{
    out->tensors = calloc(dict->items.count / 2 + 1, sizeof *out->tensors);
    if (out->tensors == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    for (size_t i = 0; i < dict->items.count; i += 2) {
        const struct pickle_value *key = dict->items.at[i], *value = dict->items.at[i + 1];
        if (value->kind != PICKLE_TENSOR) continue; /* counters and the like */
        thea_rc rc = add_tensor(&out->tensors[out->count++], key, value->tensor, r);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

static thea_rc read_tensors(struct weight_file *out, const struct reader *r)
{
    const struct zip_member *m = find_member(r, "data.pkl", 8);
    struct pickle pickle;
    thea_rc rc = zip_verify(m, r->path, r->err);
    if (rc != THEA_OK) return rc;
    rc = pickle_parse(&pickle, m->data, m->size, r->path, r->err);
    if (rc != THEA_OK) return rc;
    const struct pickle_value *dict = find_state_dict(pickle.root);
    if (dict != NULL)
        rc = add_tensors(out, dict, r);
    else
        rc = thea_fail(r->err, THEA_EDATA, "%s: it holds %s, but no tensors by name; accepted: a state dict",
                       r->path, pickle_kind_name(pickle.root->kind));
    pickle_close(&pickle);
    return rc;
}

thea_rc torch_bin_parse(struct weight_file *out, const void *bytes, size_t size, const char *path,
                        struct thea_err *err)
{
    *out = (struct weight_file){0};
    struct reader r = {.path = path, .err = err};
    thea_rc rc = check_start(bytes, size, path, err);
    if (rc == THEA_OK) rc = zip_parse(&r.zip, bytes, size, path, err);
    if (rc == THEA_OK) rc = find_root(&r);
    if (rc == THEA_OK) rc = check_byte_order(&r);
    if (rc == THEA_OK) rc = read_tensors(out, &r);
    zip_close(&r.zip);
    free(r.root);
    if (rc != THEA_OK) weight_file_close(out);
    return rc;
}

thea_rc torch_bin_open(struct weight_file *out, const char *path, struct thea_err *err)
{
    return weight_file_open(out, path, torch_bin_parse, err);
}

thea_rc torch_bin_verify(const struct weight_file *b, const char *path, struct thea_err *err)
{
    struct zip zip;
    thea_rc rc = zip_parse(&zip, b->map, b->map_bytes, path, err);
    for (size_t i = 0; i < zip.count && rc == THEA_OK; i++) rc = zip_verify(&zip.members[i], path, err);
    zip_close(&zip);
    return rc;
}
