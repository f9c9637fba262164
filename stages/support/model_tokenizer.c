/* The tokenizer of the model that -m names: see model_tokenizer.h. */
#include "stages/support/model_tokenizer.h"

#include "graph/buf.h"
#include "graph/json.h"
#include "graph/log.h"
#include "nn/prompts.h"
#include "nn/weights/find.h"

#include <stdlib.h>
#include <string.h>

thea_rc model_tokenizer_describe(struct stage_describe *d, const char *model, struct thea_err *err)
{
    char *dir = NULL;
    if (model == NULL && getenv("THEA_MODEL") == NULL) return THEA_OK;
    thea_rc rc = model_find(&dir, model, FIND_TOKENIZER, err);
    if (rc == THEA_OK) stage_describe_resolved(d, "model", dir);
    free(dir);
    return rc;
}

/* M2-BERT was trained with bert-base-uncased, but its repositories ship the cased tokenizer: ids of another
 * vocabulary, and vectors that mean nothing. The published word table is the uncased one's, padded to a
 * multiple of 8. */
static void warn_of_case(const struct tokenizer *t, const char *dir)
{
    enum { CONFIG_BYTES_MAX = 1 << 20, PADDING = 64 };
    struct buf path = {0};
    struct json_node *config = NULL;
    struct thea_err ignored;
    buf_printf(&path, "%s/config.json", dir);
    if (tokenizer_is_cased(t) && json_read_file(&config, path.data, CONFIG_BYTES_MAX, &ignored) == THEA_OK) {
        int64_t rows = json_int_or(config, "vocab_size", 0), words = (int64_t)tokenizer_vocab_size(t);
        if (strcmp(json_text_or(config, "model_type", ""), "m2_bert") == 0 && words + PADDING <= rows)
            thea_warning(
                "%s: its tokenizer is cased (%lld tokens), but the model's table of %lld words is for "
                "another: "
                "M2-BERT was trained with bert-base-uncased\n"
                "  do   put that model's tokenizer.json here (hf download google-bert/bert-base-uncased "
                "tokenizer.json --local-dir %s)",
                dir, (long long)words, (long long)rows, dir);
    }
    json_free(config);
    buf_fini(&path);
}

thea_rc model_tokenizer_prompt(char **out, const char *model, const char *wanted, struct thea_err *err)
{
    char *dir = NULL;
    *out = NULL;
    thea_rc rc = model_find(&dir, model, FIND_TOKENIZER, err);
    if (rc == THEA_OK) rc = prompt_read(out, dir, wanted, err);
    free(dir);
    return rc;
}

thea_rc model_tokenizer_open(struct tokenizer **out, const char *model, struct thea_err *err)
{
    char *dir = NULL;
    thea_rc rc = model_find(&dir, model, FIND_TOKENIZER, err);
    if (rc == THEA_OK) rc = tokenizer_open(out, dir, err);
    if (rc == THEA_OK) warn_of_case(*out, dir);
    free(dir);
    return rc;
}

bool model_tokenizer_closing(int32_t *out, const char *dir)
{
    struct tokenizer *t = NULL;
    struct thea_err ignored;
    if (tokenizer_open(&t, dir, &ignored) != THEA_OK) return false;
    *out = tokenizer_closing(t);
    tokenizer_close(t);
    return true;
}
