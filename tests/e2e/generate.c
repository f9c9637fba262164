/* Generation through a loop of processes: greedy text equals the reference's, however the model is cut, and
 * streams do not disturb each other. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `text` without its final line feeds. */
static void trim(struct buf *text)
{
    while (text->len > 0 && text->data[text->len - 1] == '\n') text->data[--text->len] = '\0';
}

static void expect_text(struct run_result *r, const char *want, const char *how)
{
    cr_assert_eq(r->status, 0, "%s: status %d\n%s", how, r->status, buf_text(&r->err));
    trim(&r->out);
    cr_expect_str_eq(buf_text(&r->out), want, "%s", how);
}

Test(generate, greedy_text_of_a_trained_model_equals_the_references, .timeout = 5 * RUN_LIMIT_S)
{
    struct json_node *cases = NULL;
    struct thea_err err = {0};
    char *golden = run_golden("stories260k/greedy.json");
    cr_assert_eq(json_read_file(&cases, golden, 1 << 22, &err), THEA_OK, "%s", err.message);
    cr_assert_gt(json_count(cases), 0);
    for (size_t i = 0; i < json_count(cases); i++) {
        const struct json_node *one = json_item(cases, i);
        struct run_result r;
        run_shell(&r, NULL, RUN_LIMIT_S,
                  "thea generate -q -m tests/goldens/stories260k --greedy --max-tokens %zu '%s'",
                  json_count(json_member(one, "ids")), json_text_or(one, "prompt", ""));
        struct buf want = {0};
        buf_add_text(&want, json_text_or(one, "text", ""));
        trim(&want);
        expect_text(&r, buf_text(&want), json_text_or(one, "prompt", ""));
        buf_fini(&want);
        run_result_fini(&r);
    }
    json_free(cases);
    free(golden);
}

Test(generate, a_model_cut_into_parts_writes_the_same_text, .timeout = 5 * RUN_LIMIT_S)
{
    static const char *const cuts[] = {"--set layers.split=2", "--set layers.split=3 --set layers.chunk=7",
                                       "--set layers.split=10", "--threads 2"};
    struct run_result want;
    run_shell(&want, NULL, RUN_LIMIT_S, "thea generate -q --greedy --max-tokens 60 '# Installation'");
    cr_assert_eq(want.status, 0, "%s", buf_text(&want.err));
    trim(&want.out);
    cr_assert_gt(want.out.len, 60, "hardly anything was written: %s", buf_text(&want.out));
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct run_result r;
        run_shell(&r, NULL, RUN_LIMIT_S,
                  "thea run generate -q --set load.text='[\"# Installation\"]' --set sample.greedy=true "
                  "--set sample.max_tokens=60 %s",
                  cuts[i]);
        cr_assert_eq(r.status, 0, "%s: %s", cuts[i], buf_text(&r.err));
        trim(&r.out);
        /* the pipeline writes the continuation; the front has the prompt before it */
        size_t n = r.out.len;
        cr_assert(n > 0 && n <= want.out.len, "%s wrote %zu bytes", cuts[i], n);
        cr_expect_str_eq(buf_text(&want.out) + want.out.len - n, buf_text(&r.out), "%s", cuts[i]);
        run_result_fini(&r);
    }
    run_result_fini(&want);
}

Test(generate, many_prompts_at_once_are_each_continued_as_if_alone, .timeout = 5 * RUN_LIMIT_S)
{
    enum { PROMPTS = 20 };
    struct run_result all;
    char *dir = run_temp_dir();
    run_shell(&all, NULL, RUN_LIMIT_S,
              "for i in $(seq %d); do echo \"{\\\"id\\\": \\\"p$i\\\", \\\"text\\\": \\\"int "
              "number_$i(\\\"}\"; done >%s/prompts.jsonl\n"
              "thea run generate %s/prompts.jsonl -q --set sample.greedy=true --set sample.max_tokens=12 "
              "--set write.format=jsonl",
              PROMPTS, dir, dir);
    cr_assert_eq(all.status, 0, "%s", buf_text(&all.err));
    size_t lines = 0;
    for (const char *p = buf_text(&all.out); *p != '\0'; p++) lines += *p == '\n';
    cr_expect_eq(lines, PROMPTS, "%zu results", lines);
    for (int i = 1; i <= PROMPTS; i += 7) {
        struct run_result one;
        run_shell(&one, NULL, RUN_LIMIT_S,
                  "sed -n %dp %s/prompts.jsonl >%s/one.jsonl; thea run generate %s/one.jsonl -q --set "
                  "sample.greedy=true "
                  "--set sample.max_tokens=12 --set write.format=jsonl",
                  i, dir, dir, dir);
        cr_assert_eq(one.status, 0, "%s", buf_text(&one.err));
        cr_expect(strstr(buf_text(&all.out), buf_text(&one.out)) != NULL,
                  "prompt %d alone gave\n%samong many\n%s", i, buf_text(&one.out), buf_text(&all.out));
        run_result_fini(&one);
    }
    run_result_fini(&all);
    free(dir);
}
