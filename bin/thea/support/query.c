/* Vectors of queries: see query.h. The run has a temporary directory, so that it takes no place of one that
 * people want to keep. */
#include "bin/thea/support/query.h"

#include "bin/thea/support/front.h"
#include "graph/buf.h"
#include "graph/control/rundir_temporary.h"
#include "nn/model.h"
#include "nn/prompts.h"
#include "retrieval/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Models whose authors wrote their prompts down nowhere but in a README. */
static void warn_of_prompt(const struct index_info *info, const char *model, const char *prompt)
{
    char *own = NULL;
    struct thea_err ignored;
    if (prompt != NULL || info->prompt == NULL || info->prompt[0] == '\0') return;
    if (prompt_read(&own, model, "query", &ignored) == THEA_OK && own[0] == '\0')
        thea_warning("the index's texts were embedded behind \"%s\", the query is behind nothing\n"
                     "  if the model has a prompt for queries: --prompt TEXT",
                     info->prompt);
    free(own);
}

/* fills: the model is one whose answer depends on padding. */
static void put_options(struct front *front, const struct index_info *info, bool fills, const char *text,
                        const char *prompt)
{
    char number[32];
    front_set_list(front, "load.text", &text, 1);
    front_set_list(front, "load.paths", NULL, 0); /* the pipeline's own inputs would be embedded, too */
    front_set_text(front, "tokenize", "prompt", prompt != NULL ? prompt : "query");
    front_set(front, "write", "format", "npy");
    if (info->pooling != NULL) {
        front_set(front, "pool", "pooling", info->pooling);
        front_set(front, "pool", "normalize", info->normalized ? "true" : "false");
    }
    if (!fills || (info->padded_to == 0 && !info->unpadded)) return;
    snprintf(number, sizeof number, "%llu", (unsigned long long)info->padded_to);
    front_set(front, "layers", "pad", info->padded_to > 0 ? number : "none");
}

static thea_rc read_vector(float *vector, const char *path, uint64_t dimension, struct thea_err *err)
{
    struct vectors v = {.fd = -1};
    const float *row = NULL;
    thea_rc rc = vectors_open(&v, path, dimension, 1, false, err);
    if (rc == THEA_OK) rc = vectors_map(&v, &row, 1, err);
    if (rc == THEA_OK) memcpy(vector, row, dimension * sizeof *vector);
    vectors_close(&v);
    return rc;
}

static int embed(float *vector, const struct index_info *info, const char *model, const char *text,
                 const struct command_args *args, const char *dir)
{
    struct thea_err err = {0};
    struct front front = {0};
    struct buf output = {0};
    struct model_info about = {0};
    if (model_read_info(&about, model, &err) != THEA_OK) return thea_log_failure(&err);
    warn_of_prompt(info, model, command_value(args, "prompt"));
    buf_printf(&output, "%s/query.npy", dir);
    put_options(&front, info, about.padding == MODEL_PAD_MAX, text, command_value(args, "prompt"));
    struct launch launch = front_launch(&front, "embed", args);
    launch.overrides.model = model;
    launch.overrides.output = output.data;
    launch.run_dir = dir;
    launch.summary = false;
    int status = launch_pipeline(&launch);
    if (status == 0 && read_vector(vector, output.data, info->model.dimension, &err) != THEA_OK)
        status = thea_log_failure(&err);
    buf_fini(&output);
    front_fini(&front);
    return status;
}

int query_embed(float *vector, const struct index_info *info, const char *model, const char *text,
                const struct command_args *args)
{
    struct thea_err err = {0};
    struct rundir_temporary dir;
    if (rundir_temporary_make(&dir, &err) != THEA_OK) return thea_log_failure(&err);
    int status = embed(vector, info, model, text, args, dir.path);
    rundir_temporary_remove(&dir);
    return status == 1 ? THEA_EDATA : status; /* 1: the query was set aside, which was told */
}
