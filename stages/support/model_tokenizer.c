/* The tokenizer of the model that -m names: see model_tokenizer.h. */
#include "stages/support/model_tokenizer.h"

#include "nn/weights/find.h"

#include <stdlib.h>

thea_rc model_tokenizer_describe(struct stage_describe *d, const char *model, struct thea_err *err)
{
    char *dir = NULL;
    if (model == NULL && getenv("THEA_MODEL") == NULL) return THEA_OK;
    thea_rc rc = model_find(&dir, model, FIND_TOKENIZER, err);
    if (rc == THEA_OK) stage_describe_resolved(d, "model", dir);
    free(dir);
    return rc;
}

thea_rc model_tokenizer_open(struct tokenizer **out, const char *model, struct thea_err *err)
{
    char *dir = NULL;
    thea_rc rc = model_find(&dir, model, FIND_TOKENIZER, err);
    if (rc == THEA_OK) rc = tokenizer_open(out, dir, err);
    free(dir);
    return rc;
}
