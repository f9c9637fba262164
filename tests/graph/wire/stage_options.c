/* A stage's command line: every type of option, and how mistakes are told. */
#include "tests/graph/wire/toy.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

static struct thea_err err;

static struct harness *open_with(const char *const *args)
{
    struct harness *h = NULL;
    unsetenv("THEA_MODEL");
    unsetenv("THEA_THREADS");
    cr_assert_eq(harness_open(&h, &toy_ops, args, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static struct toy *toy_of(struct harness *h)
{
    return stage_state(harness_stage(h));
}

Test(stage_options, every_type_has_its_default)
{
    struct harness *h = open_with(NULL);
    const struct toy *t = toy_of(h);
    cr_assert_eq(t->piece, 0);
    cr_assert_eq(t->scale, 2.0);
    cr_assert(!t->quiet && t->loud);
    cr_assert_null(t->text);
    cr_assert_str_eq(t->path, "-");
    cr_assert_null(t->model);
    cr_assert_eq(t->choice, 1);
    cr_assert_eq(t->size, 1024);
    cr_assert_eq(t->time, 1000000000);
    cr_assert(t->range.first == 0 && t->range.last == INT64_MAX);
    cr_assert_eq(t->texts.count, 0);
    cr_assert_eq(t->names.count, 2);
    cr_assert_str_eq(t->names.items[1], "blue");
    cr_assert_eq(stage_threads(harness_stage(h)), 1);
    cr_assert_str_eq(stage_name(harness_stage(h)), "toy");
    cr_assert_not(stage_option_set(harness_stage(h), "piece"));
    harness_close(h);
}

Test(stage_options, every_type_is_taken_in_any_order_and_spelling)
{
    const char *args[] = {"a.md",
                          "--piece",
                          "7",
                          "--scale-by=0.5",
                          "--quiet-end",
                          "--no-loud",
                          "--text",
                          "--piece",
                          "-o",
                          "out.npy",
                          "-mDIR",
                          "--choice=blue",
                          "--size",
                          "2MiB",
                          "--time=3m",
                          "--range",
                          "1-2",
                          "--texts",
                          "a,b",
                          "--texts=",
                          "--names",
                          "green",
                          "--names=red,blue",
                          "--name",
                          "toy/3",
                          "--threads=4",
                          "b.md",
                          "--",
                          "--c.md",
                          NULL};
    struct harness *h = open_with(args);
    const struct toy *t = toy_of(h);
    cr_assert_eq(t->piece, 7);
    cr_assert_eq(t->scale, 0.5);
    cr_assert(t->quiet && !t->loud);
    cr_assert_str_eq(t->text, "--piece");
    cr_assert_str_eq(t->path, "out.npy");
    cr_assert_str_eq(t->model, "DIR");
    cr_assert_eq(t->choice, 2);
    cr_assert_eq(t->size, 2 << 20);
    cr_assert_eq(t->time, INT64_C(180) * 1000000000);
    cr_assert(t->range.first == 1 && t->range.last == 2);
    cr_assert_eq(t->texts.count, 2);
    cr_assert_str_eq(t->texts.items[0], "a,b");
    cr_assert_str_eq(t->texts.items[1], "");
    cr_assert_eq(t->names.count, 3, "a given list replaces the default");
    cr_assert_str_eq(t->names.items[2], "blue");
    cr_assert_eq(t->paths.count, 3);
    cr_assert_str_eq(t->paths.items[2], "--c.md");
    cr_assert_str_eq(stage_name(harness_stage(h)), "toy/3");
    cr_assert_eq(stage_threads(harness_stage(h)), 4);
    cr_assert(stage_option_set(harness_stage(h), "piece"));
    harness_close(h);
}

Test(stage_options, the_last_value_wins_and_a_lone_dash_is_an_operand)
{
    const char *args[] = {"--piece=1", "--piece=2", "-", "--loud", "--no-loud", "--loud", NULL};
    struct harness *h = open_with(args);
    cr_assert_eq(toy_of(h)->piece, 2);
    cr_assert(toy_of(h)->loud);
    cr_assert_str_eq(toy_of(h)->paths.items[0], "-");
    harness_close(h);
}

Test(stage_options, the_environment_holds_defaults)
{
    struct harness *h = NULL;
    setenv("THEA_MODEL", "from-environment", 1);
    setenv("THEA_THREADS", "3", 1);
    cr_assert_eq(harness_open(&h, &toy_ops, NULL, NULL, &err), THEA_OK, "%s", err.message);
    cr_assert_str_eq(toy_of(h)->model, "from-environment");
    cr_assert_eq(stage_threads(harness_stage(h)), 3);
    harness_close(h);
    const char *args[] = {"--model", "given", "--threads", "2", NULL};
    cr_assert_eq(harness_open(&h, &toy_ops, args, NULL, &err), THEA_OK, "%s", err.message);
    cr_assert_str_eq(toy_of(h)->model, "given");
    cr_assert_eq(stage_threads(harness_stage(h)), 2);
    harness_close(h);
    setenv("THEA_THREADS", "many", 1);
    cr_assert_eq(harness_open(&h, &toy_ops, NULL, NULL, &err), THEA_EUSAGE);
    cr_assert(strstr(err.message, "THEA_THREADS") != NULL, "%s", err.message);
}

struct wrong {
    char args[2][32];
    char says[64];
};

ParameterizedTestParameters(stage_options, a_mistake_is_told_with_what_is_accepted)
{
    static struct wrong cases[] = {
        {{"--peice", "3"}, "did you mean '--piece'?"},
        {{"--peice=3", ""}, "unknown option '--peice'"},
        {{"--thraeds", "3"}, "did you mean '--threads'?"},
        {{"--zebra", ""}, "options of toy  --piece, --scale-by"},
        {{"--pie", "3"}, "unknown option '--pie'"},
        {{"-x", ""}, "unknown option '-x'"},
        {{"--no-piece", ""}, "unknown option '--no-piece'"},
        {{"--piece", ""}, "--piece needs a value"},
        {{"-o", ""}, "-o needs a value"},
        {{"--piece=abc", ""}, "--piece: 'abc' is not an integer"},
        {{"--piece=101", ""}, "from 0 to 100"},
        {{"--scale-by=x", ""}, "--scale-by: 'x' is not a number"},
        {{"--choice=grean", ""}, "did you mean 'green'"},
        {{"--names=red,blu", ""}, "did you mean 'blue'"},
        {{"--names=red,,blue", ""}, "--names: a name is empty"},
        {{"--size=64", ""}, "--size: '64' has no unit"},
        {{"--time=64x", ""}, "unknown unit 'x'"},
        {{"--range=9-2", ""}, "empty range"},
        {{"--output=", ""}, "--output: the path is empty"},
        {{"--loud=maybe", ""}, "--loud: 'maybe' is not a boolean"},
        {{"--no-loud=true", ""}, "--no-loud takes no value"},
        {{"--help=x", ""}, "--help takes no value"},
        {{"--threads=0", ""}, "--threads: '0' is out of range"},
        {{"--name=", ""}, "the name is empty"},
        {{"--in=values", ""}, "PORT=ADDRESS"},
        {{"--in=valeus=x", ""}, "did you mean 'values'"},
        {{"--out=none=x", ""}, "no port 'none'"},
        {{"--emit=doubeld", ""}, "did you mean 'doubled'"},
        {{"--color=red", ""}, "--color: 'red' is not accepted"},
        {{"--window=0", ""}, "--window: '0' is out of range"},
    };
    return cr_make_param_array(struct wrong, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct wrong *c, stage_options, a_mistake_is_told_with_what_is_accepted)
{
    struct harness *h = NULL;
    const char *args[] = {c->args[0], c->args[1][0] != '\0' ? c->args[1] : NULL, NULL};
    err = (struct thea_err){0};
    cr_assert_eq(harness_open(&h, &toy_ops, args, NULL, &err), THEA_EUSAGE, "%s was taken", c->args[0]);
    cr_assert(strstr(err.message, c->says) != NULL, "%s gave: %s", c->args[0], err.message);
}

static const struct stage_option strict_options[] = {{.name = "file",
                                                      .type = VALUE_PATH,
                                                      .meaning = "what to read",
                                                      .offset = 0,
                                                      .flags = STAGE_OPERANDS | STAGE_REQUIRED},
                                                     {0}};
static const struct stage_port strict_inputs[] = {{.name = "values", .dtype = TENSOR_F32, .shape = "n"}, {0}};
static const struct stage_ops strict_ops = {.kind = "strict",
                                            .summary = "needs a file",
                                            .options = strict_options,
                                            .inputs = strict_inputs,
                                            .state_size = sizeof(char *)};

Test(stage_options, a_required_option_is_missed_by_name)
{
    struct harness *h = NULL;
    cr_assert_eq(harness_open(&h, &strict_ops, NULL, NULL, &err), THEA_EUSAGE);
    cr_assert_str_eq(err.message, "strict needs --file: what to read");
}

Test(stage_options, a_second_operand_of_one_is_refused)
{
    struct harness *h = NULL;
    const char *args[] = {"a", "b", NULL};
    cr_assert_eq(harness_open(&h, &strict_ops, args, NULL, &err), THEA_EUSAGE);
    cr_assert(strstr(err.message, "'b'") != NULL && strstr(err.message, "'a' was given") != NULL, "%s",
              err.message);
}
