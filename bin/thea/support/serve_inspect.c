/* See serve_inspect.h. */
#include "bin/thea/support/serve_inspect.h"

#include "nn/model.h"
#include "nn/prompts.h"

#include <stdlib.h>
#include <string.h>

static const struct spec_stage *only_of_kind(const struct spec *spec, const char *kind, size_t *count)
{
    const struct spec_stage *found = NULL;
    *count = 0;
    for (size_t i = 0; i < spec->stage_count; i++) {
        if (strcmp(spec->stages[i].kind, kind) != 0) continue;
        if (found == NULL) found = &spec->stages[i];
        ++*count;
    }
    return found;
}

static thea_rc find_one(const struct spec_stage **out, const struct spec *spec, const char *kind,
                        const char *why, struct thea_err *err)
{
    size_t count;
    *out = only_of_kind(spec, kind, &count);
    if (count == 1) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE, "the pipeline '%s' has %zu stages of kind '%s', but one is needed: %s",
                     spec->name, count, kind, why);
}

static bool has_edge(const struct spec *spec, const struct spec_stage *from, const char *from_port,
                     const struct spec_stage *to, const char *to_port)
{
    for (size_t i = 0; i < spec->edge_count; i++) {
        const struct spec_edge *e = &spec->edges[i];
        if (from != NULL && (&spec->stages[e->from] != from || strcmp(e->from_port, from_port) != 0))
            continue;
        if (to != NULL && (&spec->stages[e->to] != to || strcmp(e->to_port, to_port) != 0)) continue;
        return true;
    }
    return false;
}

static thea_rc check_shape(const struct spec *spec, const struct spec_stage *load,
                           const struct spec_stage *write, struct thea_err *err)
{
    size_t others = 0;
    for (size_t i = 0; i < spec->stage_count; i++) {
        const struct spec_stage *s = &spec->stages[i];
        others += (s->source && s != load) || (s->sink && s != write);
    }
    if (others > 0)
        return thea_fail(err, THEA_EUSAGE, "the pipeline '%s' has more than one source or sink", spec->name);
    if (has_edge(spec, NULL, NULL, write, "vector")) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE,
                     "the pipeline '%s' does not end in vectors, which is what /v1/embeddings gives\n"
                     "  needed  a stage of kind 'pool' that '%s' reads from, as in the pipeline 'embed'",
                     spec->name, write->name);
}

static const char *text_of(const struct spec_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->option_count; i++)
        if (strcmp(stage->options[i].name, name) == 0 && stage->options[i].count > 0)
            return stage->options[i].values[0];
    return NULL;
}

static bool flag_of(const struct spec_stage *stage, const char *name, bool fallback)
{
    const char *text = text_of(stage, name);
    return text != NULL ? strcmp(text, "true") == 0 : fallback;
}

/* ".../models--ORG--NAME/snapshots/…" of the Hugging Face cache is ORG/NAME; any other directory its last
 * name. */
static char *name_of(const char *dir)
{
    const char *cached = strstr(dir, "/models--"),
               *end = cached != NULL ? strstr(cached + 1, "/snapshots/") : NULL;
    if (end == NULL) {
        const char *slash = strrchr(dir, '/');
        return strdup(slash != NULL ? slash + 1 : dir);
    }
    cached += strlen("/models--");
    char *name = strndup(cached, (size_t)(end - cached)), *dashes = name != NULL ? strstr(name, "--") : NULL;
    if (dashes == NULL) return name;
    *dashes = '/';
    memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    return name;
}

thea_rc serve_inspect(struct serve_found *out, const struct spec *spec, struct thea_err *err)
{
    const struct spec_stage *load, *tokenize, *write;
    struct model_info info = {0};
    *out = (struct serve_found){0};
    thea_rc rc = find_one(&load, spec, "load", "requests come in by it", err);
    if (rc == THEA_OK)
        rc = find_one(&tokenize, spec, "tokenize", "it says how many tokens an input has", err);
    if (rc == THEA_OK) rc = find_one(&write, spec, "write", "answers leave by it", err);
    if (rc == THEA_OK) rc = check_shape(spec, load, write, err);
    if (rc != THEA_OK) return rc;
    rc = tokenizer_open(&out->model.tokenizer, tokenize->model, err);
    if (rc == THEA_OK) rc = model_read_info(&info, tokenize->model, err);
    if (rc == THEA_OK)
        rc = prompt_read(&out->model.prompt, tokenize->model, text_of(tokenize, "prompt"), err);
    if (rc != THEA_OK) return rc;
    out->source = load->name;
    out->sink = write->name;
    out->name = name_of(tokenize->model);
    if (out->name == NULL) abort();
    out->model.special = flag_of(tokenize, "special", true);
    out->model.takes_tokens = has_edge(spec, load, "tokens", NULL, NULL);
    out->model.truncates = !info.causal;
    out->model.length = info.causal ? info.context : info.max_length;
    return THEA_OK;
}

void serve_found_fini(struct serve_found *f)
{
    tokenizer_close(f->model.tokenizer);
    free(f->model.prompt);
    free(f->name);
    *f = (struct serve_found){0};
}
