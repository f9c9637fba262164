/* Prompts of sentence encoders: which one a name means, and what is refused. */
#include "nn/prompts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

static void enter(void)
{
    snprintf(dir, sizeof dir, "/tmp/thea-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void leave(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config_sentence_transformers.json", dir);
    unlink(path);
    rmdir(dir);
}

TestSuite(prompts, .init = enter, .fini = leave);

static void put(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config_sentence_transformers.json", dir);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void expect(const char *wanted, const char *prompt)
{
    char *found = NULL;
    struct thea_err err = {0};
    cr_assert_eq(prompt_read(&found, dir, wanted, &err), THEA_OK, "%s: %s", wanted, err.message);
    cr_expect_str_eq(found, prompt, "%s", wanted != NULL ? wanted : "default");
    free(found);
}

static void refuse(thea_rc rc, const char *wanted, const char *says)
{
    char *found = NULL;
    struct thea_err err = {0};
    cr_expect_eq(prompt_read(&found, dir, wanted, &err), rc, "%d %s", err.rc, err.message);
    cr_expect_not_null(strstr(err.message, says), "%s", err.message);
    cr_expect_null(found);
}

Test(prompts, of_a_model_that_has_none_are_empty_unless_they_are_given)
{
    expect(NULL, "");
    expect("query", "");
    expect("document", "");
    expect("", "");
    expect("query: ", "query: ");
    expect("Represent this sentence for searching relevant passages:",
           "Represent this sentence for searching relevant passages:");
    put("{\"prompts\": {}, \"default_prompt_name\": null}");
    expect(NULL, "");
    expect("query", "");
}

Test(prompts, are_found_by_their_names)
{
    put("{\"prompts\": {\"query\": \"Q: \", \"passage\": \"P: \", \"s2s_query\": \"S: \", \"corpus\": \"C: "
        "\"}}");
    expect(NULL, "");
    expect("query", "Q: ");
    expect("document", "P: ");
    expect("passage", "P: ");
    expect("s2s_query", "S: ");
    expect("", "");
    put("{\"prompts\": {\"passage\": \"P: \", \"document\": \"\"}}");
    expect("document", "");
}

Test(prompts, have_a_default_that_stands_for_those_that_are_missing)
{
    put("{\"prompts\": {\"sts\": \"similar: \"}, \"default_prompt_name\": \"sts\"}");
    expect(NULL, "similar: ");
    expect("query", "similar: ");
    expect("document", "similar: ");
    expect("", "");
}

Test(prompts, that_do_not_exist_or_are_no_texts_are_refused)
{
    refuse(THEA_EUSAGE, "passages", "has no prompt 'passages'\n  accepted  query, document");
    put("{\"prompts\": {\"query\": \"Q: \", \"sts\": 5, \"zero\": \"a\\u0000b\"}, \"default_prompt_name\": "
        "\"gone\"}");
    refuse(THEA_EUSAGE, "passages", "accepted  sts, zero, query, document");
    refuse(THEA_EDATA, "sts", "prompts.sts: expected a text");
    refuse(THEA_EDATA, "zero", "prompts.zero: expected a text");
    refuse(THEA_EDATA, NULL, "default_prompt_name is 'gone'");
    refuse(THEA_EDATA, "document", "default_prompt_name is 'gone'");
    put("[]");
    refuse(THEA_EDATA, NULL, "expected a JSON object");
    put("{\"prompts\": ");
    refuse(THEA_EDATA, "query", "not valid JSON");
}
