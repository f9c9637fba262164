/* Writing safetensors: see safetensors_writer.h. */
#include "stages/support/safetensors_writer.h"

#include "graph/json.h"
#include "stages/support/outlet.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

struct extent {
    uint64_t at, bytes;
};

struct gathered {
    char *name; /* first: compared by the tree */
    tensor_dtype dtype;
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX];
    struct extent *extents;
    size_t count, cap;
    uint64_t bytes;
    bool removed;
    struct gathered *next;
};

struct safetensors_writer {
    struct outlet file, spill;
    struct gathered *first, *last; /* in the order of their first pieces */
    void *by_name;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct gathered *)a)->name, ((const struct gathered *)b)->name);
}

/* spill: a descriptor to take over, or -1 to make one. */
static thea_rc open_writer(struct safetensors_writer **out, const char *path, int spill, struct thea_err *err)
{
    struct safetensors_writer *w = calloc(1, sizeof *w);
    if (w == NULL || (w->spill.path = strdup(path)) == NULL) abort();
    w->spill.fd = spill;
    thea_rc rc = outlet_open(&w->file, path, OUTLET_WHOLE, err);
    if (rc == THEA_OK && spill < 0) rc = outlet_spill(&w->spill.fd, path, err);
    if (rc == THEA_OK)
        *out = w;
    else
        safetensors_writer_close(w);
    return rc;
}

thea_rc safetensors_writer_open(struct safetensors_writer **out, const char *path, struct thea_err *err)
{
    return open_writer(out, path, -1, err);
}

thea_rc safetensors_writer_open_rows(struct safetensors_writer **out, const char *path, int rows,
                                     struct thea_err *err)
{
    int fd = fcntl(rows, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return thea_fail(err, THEA_EOS, "cannot write '%s': %s", path, strerror(errno));
    return open_writer(out, path, fd, err);
}

static struct gathered *find(const struct safetensors_writer *w, const char *name)
{
    struct gathered key = {.name = (char *)(uintptr_t)name};
    struct gathered **found = tfind(&key, &w->by_name, compare);
    return found != NULL ? *found : NULL;
}

bool safetensors_writer_has(const struct safetensors_writer *w, const char *name)
{
    return find(w, name) != NULL;
}

static const char *dtype_name(tensor_dtype dtype)
{
    switch (dtype) {
    case TENSOR_F32: return "F32";
    case TENSOR_F16: return "F16";
    case TENSOR_BF16: return "BF16";
    case TENSOR_I8: return "I8";
    case TENSOR_U8: return "U8";
    case TENSOR_I32: return "I32";
    case TENSOR_I64: return "I64";
    default: return NULL;
    }
}

static struct gathered *add_tensor(struct safetensors_writer *w, const char *name, const struct tensor *t)
{
    struct gathered *g = calloc(1, sizeof *g);
    if (g == NULL || (g->name = strdup(name)) == NULL) abort();
    g->dtype = t->dtype;
    g->rank = t->rank;
    memcpy(g->shape, t->shape, sizeof g->shape);
    g->shape[0] = 0;
    if (tsearch(g, &w->by_name, compare) == NULL) abort();
    if (w->last != NULL)
        w->last->next = g;
    else
        w->first = g;
    w->last = g;
    return g;
}

static bool same_rows(const struct gathered *g, const struct tensor *t)
{
    if (g->dtype != t->dtype || g->rank != t->rank) return false;
    return memcmp(g->shape + 1, t->shape + 1, (t->rank - 1) * sizeof *t->shape) == 0;
}

static void add_extent(struct gathered *g, uint64_t at, uint64_t bytes)
{
    struct extent *last = g->count > 0 ? &g->extents[g->count - 1] : NULL;
    g->bytes += bytes;
    if (last != NULL && last->at + last->bytes == at) {
        last->bytes += bytes;
        return;
    }
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 4 : g->cap * 2;
        g->extents = reallocarray(g->extents, g->cap, sizeof *g->extents);
        if (g->extents == NULL) abort();
    }
    assert(g->extents != NULL);
    g->extents[g->count++] = (struct extent){at, bytes};
}

thea_rc safetensors_writer_check(const char *name, const struct tensor *t, struct thea_err *err)
{
    char what[128];
    if (dtype_name(t->dtype) != NULL && t->rank > 0) return THEA_OK;
    return thea_fail(err, THEA_EDOC, "'%s' is %s, which safetensors cannot hold in rows", name,
                     tensor_describe(what, t));
}

/* The tensor that t's rows belong to. */
static thea_rc find_place(struct gathered **out, struct safetensors_writer *w, const char *name,
                          const struct tensor *t, struct thea_err *err)
{
    char what[128];
    thea_rc rc = safetensors_writer_check(name, t, err);
    if (rc != THEA_OK) return rc;
    struct gathered *g = find(w, name);
    if (g == NULL) g = add_tensor(w, name, t);
    if (!same_rows(g, t))
        return thea_fail(err, THEA_EDOC, "'%s': %s does not continue what came before", name,
                         tensor_describe(what, t));
    *out = g;
    return THEA_OK;
}

static void note(struct gathered *g, const struct tensor *t, uint64_t at)
{
    g->shape[0] += t->shape[0];
    if (t->size_bytes > 0) add_extent(g, at, t->size_bytes);
}

thea_rc safetensors_writer_add(struct safetensors_writer *w, const char *name, const struct tensor *t,
                               struct thea_err *err)
{
    struct gathered *g = NULL;
    uint64_t at = w->spill.bytes;
    thea_rc rc = find_place(&g, w, name, t, err);
    if (rc == THEA_OK) rc = outlet_write(&w->spill, t->data, t->size_bytes, err);
    if (rc == THEA_OK) note(g, t, at);
    return rc;
}

thea_rc safetensors_writer_note(struct safetensors_writer *w, const struct tensor *t, uint64_t at,
                                struct thea_err *err)
{
    struct gathered *g = NULL;
    thea_rc rc = find_place(&g, w, t->name, t, err);
    if (rc == THEA_OK) note(g, t, at);
    return rc;
}

void safetensors_writer_remove(struct safetensors_writer *w, const char *name)
{
    struct gathered *g = find(w, name);
    if (g == NULL) return;
    g->removed = true;
    tdelete(g, &w->by_name, compare);
}

static struct json_node *entry(const struct gathered *g, uint64_t offset)
{
    struct json_node *map = json_new_map(), *shape = json_new_list(), *offsets = json_new_list();
    for (uint32_t i = 0; i < g->rank; i++) json_append(shape, json_new_int((int64_t)g->shape[i]));
    json_append(offsets, json_new_int((int64_t)offset));
    json_append(offsets, json_new_int((int64_t)(offset + g->bytes)));
    json_put(map, "dtype", json_new_string(dtype_name(g->dtype)));
    json_put(map, "shape", shape);
    json_put(map, "data_offsets", offsets);
    return map;
}

static thea_rc write_header(struct safetensors_writer *w, struct thea_err *err)
{
    struct json_node *header = json_new_map();
    uint64_t offset = 0;
    for (const struct gathered *g = w->first; g != NULL; g = g->next) {
        if (g->removed) continue;
        json_put(header, g->name, entry(g, offset));
        offset += g->bytes;
    }
    char *text = json_print(header, 0, 0);
    uint64_t len = strlen(text), padded = (len + 7) / 8 * 8; /* so that the data is aligned */
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(padded >> (8 * i));
    thea_rc rc = outlet_write(&w->file, size, sizeof size, err);
    if (rc == THEA_OK) rc = outlet_write(&w->file, text, len, err);
    if (rc == THEA_OK) rc = outlet_write(&w->file, "       ", padded - len, err);
    free(text);
    json_free(header);
    return rc;
}

static thea_rc copy_extent(struct safetensors_writer *w, const struct extent *e, char *buffer,
                           struct thea_err *err)
{
    for (uint64_t done = 0; done < e->bytes;) {
        size_t want = e->bytes - done < COPY_BYTES ? (size_t)(e->bytes - done) : COPY_BYTES;
        ssize_t got = pread(w->spill.fd, buffer, want, (off_t)(e->at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return thea_fail(err, THEA_EIO, "cannot read back what '%s' is made from: %s", w->spill.path,
                             got < 0 ? strerror(errno) : "it is shorter");
        thea_rc rc = outlet_write(&w->file, buffer, (size_t)got, err);
        if (rc != THEA_OK) return rc;
        done += (uint64_t)got;
    }
    return THEA_OK;
}

thea_rc safetensors_writer_finish(struct safetensors_writer *w, uint64_t *bytes, struct thea_err *err)
{
    thea_rc rc = write_header(w, err);
    char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL) abort();
    for (const struct gathered *g = w->first; rc == THEA_OK && g != NULL; g = g->next) {
        for (size_t k = 0; rc == THEA_OK && !g->removed && k < g->count; k++)
            rc = copy_extent(w, &g->extents[k], buffer, err);
    }
    free(buffer);
    if (bytes != NULL) *bytes = w->file.bytes;
    return rc == THEA_OK ? outlet_commit(&w->file, err) : rc;
}

static void keep(void *g)
{
    (void)g; /* the list frees it */
}

void safetensors_writer_close(struct safetensors_writer *w)
{
    if (w == NULL) return;
    outlet_close(&w->file);
    outlet_close(&w->spill);
    tdestroy(w->by_name, keep);
    for (struct gathered *g = w->first, *next = NULL; g != NULL; g = next) {
        next = g->next;
        free(g->name);
        free(g->extents);
        free(g);
    }
    free(w);
}
