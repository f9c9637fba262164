/* What pooling a model's files ask for, and everything that is refused. */
#include "nn/pooler.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TINY THEA_SOURCE_DIR "/tests/goldens/bert-tiny"

static struct thea_err err;
static char dir[] = "/tmp/thea-pooling-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void make(void)
{
    char path[256];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/1_Pooling", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    cr_assert_eq(symlink(TINY "/config.json", path), 0);
}

static void sweep(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(pooling, .init = make, .fini = sweep);

#define TRANSFORMER "{\"type\": \"sentence_transformers.models.Transformer\", \"path\": \"\"}"
#define POOLING     "{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"1_Pooling\"}"
#define NORMALIZE   "{\"type\": \"sentence_transformers.models.Normalize\", \"path\": \"2_Normalize\"}"

static void expect(model_pooling how, bool normalize)
{
    struct pooling p;
    cr_assert(pooling_read(&p, dir, &err) == THEA_OK, "%s", err.message);
    cr_expect_eq(p.how, how, "%s", pooling_name(p.how));
    cr_expect_eq(p.normalize, normalize);
}

Test(pooling, is_the_familys_where_no_file_says_otherwise)
{
    expect(MODEL_POOL_MEAN, true);
}

Test(pooling, is_what_the_modules_say)
{
    put("modules.json", "[" TRANSFORMER ", " POOLING "]");
    put("1_Pooling/config.json", "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    expect(MODEL_POOL_CLS, false);
    put("modules.json", "[" TRANSFORMER ", " POOLING ", " NORMALIZE "]");
    expect(MODEL_POOL_CLS, true);
    put("1_Pooling/config.json", "{\"pooling_mode_lasttoken\": true}");
    expect(MODEL_POOL_LAST, true);
    put("1_Pooling/config.json", "{\"embedding_dimension\": 48, \"pooling_mode\": \"mean\"}");
    expect(MODEL_POOL_MEAN, true);
}

Test(pooling, is_read_without_a_list_of_modules_too)
{
    put("1_Pooling/config.json", "{\"pooling_mode_cls_token\": true}");
    expect(MODEL_POOL_CLS, true);
}

static void refuse(thea_rc rc, const char *part)
{
    struct pooling p;
    cr_expect_eq(pooling_read(&p, dir, &err), rc, "%s", part);
    cr_expect(strstr(err.message, part) != NULL, "no '%s' in: %s", part, err.message);
}

Test(pooling, refuses_ways_that_it_does_not_have)
{
    put("1_Pooling/config.json", "{\"pooling_mode_max_tokens\": true}");
    refuse(THEA_EDATA, "pooling 'max' is not supported; supported: mean, cls, lasttoken");
    put("1_Pooling/config.json", "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true}");
    refuse(THEA_EDATA, "found several");
    put("1_Pooling/config.json", "{\"pooling_mode_cls_token\": false}");
    refuse(THEA_EDATA, "found none");
    put("1_Pooling/config.json", "{\"pooling_mode\": \"weightedmean\"}");
    refuse(THEA_EDATA, "'weightedmean'");
    put("1_Pooling/config.json", "[");
    refuse(THEA_EDATA, "1_Pooling/config.json");
}

Test(pooling, refuses_modules_that_it_does_not_know)
{
    put("modules.json", "[" TRANSFORMER ", " POOLING "]");
    refuse(THEA_ENOINPUT, "1_Pooling/config.json is not there");
    put("modules.json", "[{\"type\": \"sentence_transformers.models.Dense\", \"path\": \"2_Dense\"}]");
    refuse(THEA_EDATA, "module 'sentence_transformers.models.Dense' is not supported");
    put("modules.json", "[{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"../../etc\"}]");
    refuse(THEA_EDATA, "inside the model's folder");
    put("modules.json", "[{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"/etc\"}]");
    refuse(THEA_EDATA, "inside the model's folder");
    put("modules.json", "[{\"path\": 3}]");
    refuse(THEA_EDATA, "needs a type");
    put("modules.json", "{}");
    refuse(THEA_EDATA, "expected a list of modules, found");
}

Test(pooling, a_pooler_needs_a_model_that_has_one)
{
    struct pooler *p;
    cr_expect(pooler_check(dir, &err) == THEA_OK);
    cr_expect(pooler_check(THEA_SOURCE_DIR "/tests/goldens/lfm2-tiny", &err) == THEA_EUSAGE);
    cr_expect(strstr(err.message, "lfm2 model, which has no pooler") != NULL, "%s", err.message);
    cr_expect(pooler_open(&p, THEA_SOURCE_DIR "/tests/goldens/lfm2-tiny", kernels_select(NULL), &err) ==
              THEA_EUSAGE);
    cr_expect(pooler_open(&p, dir, kernels_select(NULL), &err) == THEA_ENOINPUT, "no weights there");
}
