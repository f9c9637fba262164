/* The completion script, asked as bash asks it. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* What bash would offer for the words of a command line, a line each, in the order given. */
static struct run_result offers(const char *words)
{
    struct run_result r = {0};
    run_shell(
        &r, NULL, RUN_LIMIT_S,
        "cat > \"${TMPDIR:-/tmp}/complete.$$\" <<'EOF'\n"
        "eval \"$(thea completion bash)\"\n"
        "COMP_WORDS=(thea %s) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_thea; printf '<%%s>\\n' \"${COMPREPLY[@]}\"\n"
        "EOF\n"
        "bash \"${TMPDIR:-/tmp}/complete.$$\"; status=$?; rm \"${TMPDIR:-/tmp}/complete.$$\"; exit $status",
        words);
    cr_expect_eq(r.status, 0, "%s: status %d\n%s", words, r.status, buf_text(&r.err));
    cr_expect_eq(r.err.len, 0, "%s", buf_text(&r.err));
    return r;
}

static void expect_only(const char *words, const char *want)
{
    struct run_result r = offers(words);
    cr_expect_str_eq(buf_text(&r.out), want, "%s: %s", words, buf_text(&r.out));
    run_result_fini(&r);
}

static void expect_some(const char *words, const char *want)
{
    struct run_result r = offers(words);
    cr_expect_not_null(strstr(buf_text(&r.out), want), "%s: no %s in %s", words, want, buf_text(&r.out));
    run_result_fini(&r);
}

Test(completion, a_verb_and_its_options_are_completed)
{
    expect_only("ru", "<run>\n");
    expect_only("run --prog", "<--progress>\n");
    expect_only("layers --bl", "<--blocks>\n");
}

Test(completion, an_option_with_choices_offers_them_alone)
{
    expect_only("run --progress ''", "<auto>\n<plain>\n<off>\n");
    expect_only("write --format s", "<safetensors>\n");
    expect_only("graph --format = d", "<dot>\n");
}

Test(completion, operands_are_looked_up)
{
    expect_only("stages la", "<layers>\n");
    expect_only("explain E061", "<E061>\n");
    expect_only("completion z", "<zsh>\n");
    expect_only("help pip", "<pipeline>\n");
    expect_some("run sco", "<score>");
    expect_some("models thea-m", "<thea-mini>");
    expect_some("layers -m thea-m", "<thea-mini>");
}

Test(completion, inputs_are_files)
{
    expect_some("run score READ", "<README.md>");
    expect_some("load READ", "<README.md>");
}

Test(completion, runs_are_looked_up)
{
    struct run_result r = {0};
    char *dir = run_temp_dir();
    run_shell(&r, dir, RUN_LIMIT_S,
              "mkdir -p runs/score-20260101-000000; echo '{}' > runs/score-20260101-000000/run.json; "
              "export THEA_RUNS=$PWD/runs; cat > complete <<'EOF'\n"
              "eval \"$(thea completion bash)\"\n"
              "COMP_WORDS=(thea logs sco) COMP_CWORD=2\n"
              "_thea; printf '<%%s>\\n' \"${COMPREPLY[@]}\"\n"
              "EOF\n"
              "bash complete");
    cr_expect_str_eq(buf_text(&r.out), "<score-20260101-000000>\n", "%s%s", buf_text(&r.out),
                     buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}
