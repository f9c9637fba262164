/* A model's weights: one file, or the shards that an index names, as one sorted set. */
#include "nn/weights/weights.h"

#include "graph/buf.h"
#include "graph/json.h"
#include "nn/weights/safetensors.h"
#include "nn/weights/torch_bin.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INDEX_MAX = 64 << 20, SHARDS_MAX = 4096 };

/* What a directory may have, the first that is there. */
static const struct container {
    const char *file, *index;
    bool torch;
} containers[] = {
    {"model.safetensors", "model.safetensors.index.json", false},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", true},
};

struct shard {
    char *file; /* name in the directory */
    struct weight_file open;
};

struct weights {
    const struct container *container;
    struct shard *shards;
    size_t shard_count;
    struct weight *sorted; /* copies; names are the shards' */
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

static char *join(const char *dir, const char *file)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", dir, file);
    return buf_take(&b);
}

static bool exists(const char *dir, const char *file)
{
    char *path = join(dir, file);
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

static struct shard *find_shard(struct weights *w, const char *file)
{
    for (size_t i = 0; i < w->shard_count; i++) {
        if (strcmp(w->shards[i].file, file) == 0) return &w->shards[i];
    }
    return NULL;
}

static thea_rc add_shard(struct weights *w, const char *dir, const char *file, struct thea_err *err)
{
    struct shard *grown = reallocarray(w->shards, w->shard_count + 1, sizeof *grown);
    if (grown == NULL) return thea_fail(err, THEA_EOS, "%s: out of memory", dir);
    w->shards = grown;
    char *path = join(dir, file);
    struct shard shard = {0};
    thea_rc rc = w->container->torch ? torch_bin_open(&shard.open, path, err)
                                     : safetensors_open(&shard.open, path, err);
    free(path);
    if (rc != THEA_OK) return rc;
    shard.file = strdup(file);
    grown[w->shard_count++] = shard;
    return shard.file != NULL ? THEA_OK : thea_fail(err, THEA_EOS, "%s: out of memory", dir);
}

static size_t shard_tensors(const struct shard *s, const struct weight **tensors)
{
    *tensors = s->open.tensors;
    return s->open.count;
}

/* A shard's name comes from a file: it must stay in the directory. */
static bool plain_name(const char *file, size_t len)
{
    return len > 0 && strlen(file) == len && strchr(file, '/') == NULL && strcmp(file, "..") != 0 &&
           strcmp(file, ".") != 0;
}

static thea_rc open_shards(struct weights *w, const char *dir, const char *path, const struct json_node *map,
                           struct thea_err *err)
{
    struct buf missing = {0};
    size_t missing_count = 0;
    thea_rc rc = THEA_OK;
    const char *last = NULL;
    for (struct json_iter it = json_iter(map); rc == THEA_OK && json_next(&it);) {
        size_t len;
        const char *file = json_text(it.value, &len);
        if (file == NULL || !plain_name(file, len)) {
            rc = thea_fail(err, THEA_EDATA, "%s: weight_map: '%s' must name a file of this directory", path,
                           it.key);
        } else if ((last != NULL && strcmp(last, file) == 0) || find_shard(w, file) != NULL) {
            continue;
        } else if (!exists(dir, file)) {
            missing_count++;
            if (missing_count <= 8) buf_printf(&missing, "\n  missing  %s", file);
            last = file;
        } else if (w->shard_count == SHARDS_MAX) {
            rc = thea_fail(err, THEA_EDATA, "%s: more than %d shards", path, SHARDS_MAX);
        } else {
            rc = add_shard(w, dir, file, err);
        }
    }
    if (rc == THEA_OK && missing_count > 0) {
        rc = thea_fail(err, THEA_ENOINPUT, "%s names files that are not there: an unfinished download%s",
                       path, buf_text(&missing));
    }
    buf_fini(&missing);
    return rc;
}

static thea_rc check_index(const struct weights *w, const char *path, const struct json_node *map,
                           struct thea_err *err)
{
    for (struct json_iter it = json_iter(map); json_next(&it);) {
        if (weights_find(w, it.key) == NULL) {
            return thea_fail(err, THEA_EDATA, "%s: tensor '%s' is not in %s, which the index says holds it",
                             path, it.key, json_text(it.value, NULL));
        }
    }
    return THEA_OK;
}

static thea_rc sort_weights(struct weights *w, const char *dir, struct thea_err *err)
{
    size_t total = 0;
    const struct weight *tensors;
    for (size_t i = 0; i < w->shard_count; i++) total += shard_tensors(&w->shards[i], &tensors);
    w->sorted = calloc(total + 1, sizeof *w->sorted);
    if (w->sorted == NULL) return thea_fail(err, THEA_EOS, "%s: out of memory", dir);
    for (size_t i = 0; i < w->shard_count; i++) {
        size_t n = shard_tensors(&w->shards[i], &tensors);
        if (n > 0) memcpy(w->sorted + w->count, tensors, n * sizeof *tensors);
        w->count += n;
    }
    qsort(w->sorted, w->count, sizeof *w->sorted, by_name);
    for (size_t i = 1; i < w->count; i++) {
        if (strcmp(w->sorted[i - 1].name, w->sorted[i].name) == 0)
            return thea_fail(err, THEA_EDATA, "%s: tensor '%s' is there twice%s", dir, w->sorted[i].name,
                             w->shard_count > 1 ? ", in two shards" : "");
    }
    return THEA_OK;
}

static thea_rc open_index(struct weights *w, const char *dir, struct thea_err *err)
{
    char *path = join(dir, w->container->index);
    struct json_node *index = NULL;
    thea_rc rc = json_read_file(&index, path, INDEX_MAX, err);
    const struct json_node *map = json_member(index, "weight_map");
    if (rc == THEA_OK && (json_kind(map) != JSON_MAP_ || json_count(map) == 0)) {
        rc = thea_fail(err, THEA_EDATA,
                       "%s: weight_map: expected an object that names each tensor's file, found %s", path,
                       json_kind(map) == JSON_MAP_ ? "an empty one" : json_kind_name(json_kind(map)));
    }
    if (rc == THEA_OK) rc = open_shards(w, dir, path, map, err);
    if (rc == THEA_OK) rc = sort_weights(w, dir, err);
    if (rc == THEA_OK) rc = check_index(w, path, map, err);
    json_free(index);
    free(path);
    return rc;
}

static const struct container *find_container(const char *dir)
{
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++)
        if (exists(dir, containers[i].index) || exists(dir, containers[i].file)) return &containers[i];
    return NULL;
}

thea_rc weights_check(const char *dir, struct thea_err *err)
{
    if (find_container(dir) != NULL) return THEA_OK;
    return thea_fail(
        err, THEA_ENOINPUT,
        "%s has no weights\n  needed  model.safetensors, or model.safetensors.index.json with its shards; or "
        "pytorch_model.bin likewise",
        dir);
}

thea_rc weights_open(struct weights **out, const char *dir, struct thea_err *err)
{
    *out = NULL;
    thea_rc rc = weights_check(dir, err);
    if (rc != THEA_OK) return rc;
    struct weights *w = calloc(1, sizeof *w);
    if (w == NULL) return thea_fail(err, THEA_EOS, "%s: out of memory", dir);
    w->container = find_container(dir);
    if (exists(dir, w->container->index)) {
        rc = open_index(w, dir, err);
    } else {
        rc = add_shard(w, dir, w->container->file, err);
        if (rc == THEA_OK) rc = sort_weights(w, dir, err);
    }
    if (rc != THEA_OK) {
        weights_close(w);
        return rc;
    }
    *out = w;
    return THEA_OK;
}

thea_rc weights_verify(const struct weights *w, const char *dir, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < w->shard_count && w->container->torch && rc == THEA_OK; i++) {
        char *path = join(dir, w->shards[i].file);
        rc = torch_bin_verify(&w->shards[i].open, path, err);
        free(path);
    }
    return rc;
}

static bool fits(const char *name, const char *const *patterns)
{
    for (; patterns != NULL && *patterns != NULL; patterns++)
        if (fnmatch(*patterns, name, 0) == 0) return true;
    return false;
}

static const char *strip(const char *name, const char *const *prefixes)
{
    for (; prefixes != NULL && *prefixes != NULL; prefixes++) {
        size_t n = strlen(*prefixes);
        if (strncmp(name, *prefixes, n) == 0 && name[n] != '\0') name += n;
    }
    return name;
}

thea_rc weights_rename(struct weights *w, const char *const *prefixes, const char *const *buffers,
                       const char *dir, struct thea_err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct weight t = w->sorted[i];
        t.name = strip(t.name, prefixes);
        if (!fits(t.name, buffers)) w->sorted[kept++] = t;
    }
    w->count = kept;
    qsort(w->sorted, w->count, sizeof *w->sorted, by_name);
    for (size_t i = 1; i < w->count; i++) {
        const char *a = w->sorted[i - 1].name, *b = w->sorted[i].name;
        if (strcmp(a, b) == 0)
            return thea_fail(err, THEA_EDATA, "%s: tensor '%s' is there twice, under two prefixes", dir, a);
    }
    return THEA_OK;
}

void weights_close(struct weights *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->shard_count; i++) {
        weight_file_close(&w->shards[i].open);
        free(w->shards[i].file);
    }
    free(w->shards);
    free(w->sorted);
    free(w);
}

const struct weight *weights_find(const struct weights *w, const char *name)
{
    struct weight key = {.name = name};
    return bsearch(&key, w->sorted, w->count, sizeof *w->sorted, by_name);
}

size_t weights_count(const struct weights *w)
{
    return w->count;
}

const struct weight *weights_at(const struct weights *w, size_t i)
{
    return &w->sorted[i];
}

size_t weights_index(const struct weights *w, const struct weight *t)
{
    return (size_t)(t - w->sorted);
}
