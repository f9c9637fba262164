/* Weights by a family's names: see model_weights.h. */
#include "nn/model_weights.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

thea_rc model_weights_open(struct weights **out, const struct model_config *c, const char *dir,
                           struct thea_err *err)
{
    thea_rc rc = weights_open(out, dir, err);
    if (rc != THEA_OK) return rc;
    rc = weights_rename(*out, c->family->prefixes, c->family->buffers, dir, err);
    if (rc == THEA_OK) return THEA_OK;
    weights_close(*out);
    *out = NULL;
    return rc;
}

struct part {
    const struct model_config *config;
    size_t first, last;
};

/* Is it a weight of a block that the model has and this part has not? */
static bool in_another_block(const struct part *p, const char *name)
{
    size_t n = strlen(p->config->prefix);
    if (strncmp(name, p->config->prefix, n) != 0 || !isdigit((unsigned char)name[n])) return false;
    char *end;
    unsigned long block = strtoul(name + n, &end, 10);
    return *end == '.' && block < p->config->info.blocks && (block < p->first || block > p->last);
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names[i] != NULL && strcmp(names[i], name) == 0) return true;
    return false;
}

static bool is_elsewhere(const void *context, const char *name)
{
    const struct part *p = context;
    const struct model_config *c = p->config;
    const char *const around[] = {
        c->embedding_name,      c->final_norm_name,          c->head_name,   c->position_name,   c->type_name,
        c->embedding_norm_name, c->embedding_norm_bias_name, c->pooler_name, c->pooler_bias_name};
    if (in_another_block(p, name) || is_one_of(name, around, sizeof around / sizeof *around)) return true;
    for (const char *const *rest = c->family->rests; rest != NULL && *rest != NULL; rest++)
        if (fnmatch(*rest, name, 0) == 0) return true;
    return false;
}

void model_weights_check_rest(struct loader *l, const struct model_config *c, size_t first, size_t last)
{
    const struct part part = {c, first, last};
    if (c->family->strict) loader_check_left_over(l, is_elsewhere, &part);
}
