/* What pooling a model asks for: see pooler.h. */
#include "nn/pooler.h"

#include "graph/buf.h"
#include "graph/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20 };

static const char *const names[] = {"mean", "last", "cls", "pooler"};

const char *pooling_name(model_pooling how)
{
    return names[how];
}

/* NULL without an error when the file is not there. */
static thea_rc read_if_there(struct json_node **out, struct buf *path, const char *dir, const char *folder,
                             const char *file, struct thea_err *err)
{
    *out = NULL;
    path->len = 0;
    buf_printf(path, "%s/%s%s%s", dir, folder, folder[0] != '\0' ? "/" : "", file);
    return access(buf_text(path), F_OK) == 0 ? json_read_file(out, buf_text(path), FILE_BYTES_MAX, err)
                                             : THEA_OK;
}

/* Both ways in which pooling modules spell it: a flag each, or one name. */
static const struct {
    const char *flag, *name;
    int how; /* -1: not supported */
} modes[] = {
    {"pooling_mode_mean_tokens", "mean", MODEL_POOL_MEAN},
    {"pooling_mode_cls_token", "cls", MODEL_POOL_CLS},
    {"pooling_mode_lasttoken", "lasttoken", MODEL_POOL_LAST},
    {"pooling_mode_max_tokens", "max", -1},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", -1},
    {"pooling_mode_weightedmean_tokens", "weightedmean", -1},
};

static bool asks_for(const struct json_node *map, size_t i)
{
    const char *name = json_text(json_member(map, "pooling_mode"), NULL);
    if (name != NULL) return strcmp(name, modes[i].name) == 0;
    const struct json_node *flag = json_member(map, modes[i].flag);
    return json_bool(flag);
}

static thea_rc read_modes(struct pooling *out, const struct json_node *map, const char *path,
                          struct thea_err *err)
{
    int found = -1, count = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!asks_for(map, i)) continue;
        if (modes[i].how < 0)
            return thea_fail(err, THEA_EDATA,
                             "%s: pooling '%s' is not supported; supported: mean, cls, lasttoken", path,
                             modes[i].name);
        found = modes[i].how;
        count++;
    }
    if (count != 1)
        return thea_fail(err, THEA_EDATA,
                         "%s: expected one way of pooling, found %s; supported: mean, cls, lasttoken", path,
                         count == 0 ? "none that is known" : "several, whose vectors would be joined");
    out->how = (model_pooling)found;
    return THEA_OK;
}

static thea_rc read_config(struct pooling *out, const char *dir, const char *folder, bool required,
                           struct thea_err *err)
{
    struct json_node *map;
    struct buf path = {0};
    thea_rc rc = read_if_there(&map, &path, dir, folder, "config.json", err);
    if (rc == THEA_OK && map == NULL && required)
        rc = thea_fail(err, THEA_ENOINPUT, "%s is not there, which modules.json asks for", buf_text(&path));
    if (rc == THEA_OK && map != NULL) rc = read_modes(out, map, buf_text(&path), err);
    json_free(map);
    buf_fini(&path);
    return rc;
}

/* A module's folder comes from a file: it must stay in the model's. */
static bool stays_inside(const char *folder)
{
    return folder[0] != '/' && strstr(folder, "..") == NULL;
}

static thea_rc read_module(struct pooling *out, const struct json_node *module, const char *dir,
                           const char *path, struct thea_err *err)
{
    const char *type = json_text(json_member(module, "type"), NULL),
               *folder = json_text(json_member(module, "path"), NULL);
    const char *kind = type != NULL ? strrchr(type, '.') : NULL;
    kind = kind != NULL ? kind + 1 : type;
    if (kind == NULL || folder == NULL || !stays_inside(folder))
        return thea_fail(err, THEA_EDATA,
                         "%s: each module needs a type, and a path inside the model's folder", path);
    if (strcmp(kind, "Transformer") == 0) return THEA_OK;
    if (strcmp(kind, "Pooling") == 0) return read_config(out, dir, folder, true, err);
    if (strcmp(kind, "Normalize") == 0) {
        out->normalize = true;
        return THEA_OK;
    }
    return thea_fail(err, THEA_EDATA,
                     "%s: module '%s' is not supported; supported: Transformer, Pooling, Normalize", path,
                     type);
}

static thea_rc read_modules(struct pooling *out, const struct json_node *list, const char *dir,
                            const char *path, struct thea_err *err)
{
    if (json_kind(list) != JSON_LIST_)
        return thea_fail(err, THEA_EDATA, "%s: expected a list of modules, found %s", path,
                         json_kind_name(json_kind(list)));
    thea_rc rc = THEA_OK;
    out->normalize = false;
    for (size_t i = 0; rc == THEA_OK && i < json_count(list); i++)
        rc = read_module(out, json_item(list, i), dir, path, err);
    return rc;
}

thea_rc pooling_read(struct pooling *out, const char *dir, struct thea_err *err)
{
    struct model_info info;
    struct json_node *list = NULL;
    struct buf path = {0};
    thea_rc rc = model_read_info(&info, dir, err);
    if (rc != THEA_OK) return rc;
    *out = (struct pooling){info.pooling, info.normalize};
    rc = read_if_there(&list, &path, dir, "", "modules.json", err);
    if (rc == THEA_OK)
        rc = list != NULL ? read_modules(out, list, dir, buf_text(&path), err)
                          : read_config(out, dir, "1_Pooling", false, err);
    json_free(list);
    buf_fini(&path);
    return rc;
}
