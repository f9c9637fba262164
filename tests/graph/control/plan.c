/* Plans: processes, links, command lines, cuts. */
#include "graph/control/plan.h"

#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void use_test_kinds(void)
{
    setenv("THEA_STAGE_PATH", THEA_SOURCE_DIR "/tests/support/kinds", 1);
    setenv("PATH", THEA_SOURCE_DIR "/tests/support/kinds:/usr/bin:/bin", 1);
    unsetenv("THEA_MODEL");
    unsetenv("THEA_THREADS");
}

TestSuite(plan, .init = use_test_kinds);

struct made {
    struct spec *spec;
    struct plan *plan;
};

static struct made make(const char *text)
{
    struct made m = {0};
    struct diag_list *diags = diag_list_new();
    struct thea_err err = {0};
    thea_rc rc = spec_parse(&m.spec, text, strlen(text), "/p/x.yaml", 1, NULL, diags, &err);
    struct buf said = {0};
    diag_print_text(diags, &said, false);
    cr_assert_eq(rc, THEA_OK, "%s\n%s", err.message, buf_text(&said));
    buf_fini(&said);
    cr_assert_eq(plan_make(&m.plan, m.spec, &err), THEA_OK, "%s", err.message);
    m.plan->run = 0;
    diag_list_free(diags);
    return m;
}

static void drop(struct made *m)
{
    plan_free(m->plan);
    spec_free(m->spec);
}

/* The command line of a process without its program, addresses cut to their numbers: "--in tokens=@2". */
static char *line_of(const struct plan *p, const char *name)
{
    struct buf b = {0};
    for (size_t i = 0; i < p->process_count; i++) {
        if (strcmp(p->processes[i].name, name) != 0) continue;
        for (size_t k = 1; p->processes[i].argv[k] != NULL; k++) {
            const char *word = p->processes[i].argv[k], *address;
            buf_add_text(&b, k > 1 ? " " : "");
            for (; (address = strstr(word, "abstract://")) != NULL; word = address) {
                buf_printf(&b, "%.*s@", (int)(address - word), word);
                address = strchr(address, '-') + 1;
                address = strchr(address, '-') + 1;
                for (; *address >= '0' && *address <= '9'; address++) buf_add_char(&b, *address);
            }
            buf_add_text(&b, word);
        }
    }
    return buf_take(&b);
}

static void expect_line(const struct plan *p, const char *name, const char *want)
{
    char *line = line_of(p, name);
    cr_expect_str_eq(line, want);
    free(line);
}

static const char score_file[] =
    "name: score\nmodel: mini\nstages:\n"
    "  write:    {kind: write, from: score}\n"
    "  load:     {kind: load, paths: [\"*.md\", \"it's\", \"--x\"], max_bytes: 1MiB, exclude: [-a, b]}\n"
    "  tokenize: {kind: tokenize, from: load, special: false}\n"
    "  layers:   {kind: layers, from: tokenize, split: 2, chunk: 64, threads: 2, window: 4}\n"
    "  score:    {kind: score, from: layers}\n";

Test(plan, each_process_has_its_whole_assignment_as_command_line)
{
    struct made m = make(score_file);
    cr_expect_eq(m.plan->process_count, 6);
    expect_line(m.plan, "load",
                "--name load --max-bytes 1MiB --exclude=-a --exclude b --out docs=@1 /p/*.md /p/it's /p/--x");
    expect_line(m.plan, "tokenize",
                "--name tokenize --model /models/mini --no-special --in docs=@1 --out tokens=@2");
    expect_line(m.plan, "layers/0",
                "--name layers/0 --model /models/mini --blocks 0-6 --chunk 64 --threads 2 --window 4 --in "
                "tokens=@2 --out residual=@3");
    expect_line(m.plan, "layers/1",
                "--name layers/1 --model /models/mini --blocks 7-9 --chunk 64 --threads 2 --window 4 --in "
                "residual=@3 --out nll=@4");
    expect_line(m.plan, "score", "--name score --in nll=@4 --out record=@5");
    expect_line(m.plan, "write", "--name write --in record=@5");
    drop(&m);
}

Test(plan, processes_come_in_the_order_of_the_graph_sources_first)
{
    struct made m = make(score_file);
    const char *const names[] = {"load", "tokenize", "layers/0", "layers/1", "score", "write"};
    for (size_t i = 0; i < 6; i++) cr_expect_str_eq(m.plan->processes[i].name, names[i]);
    cr_expect(m.plan->processes[0].source);
    cr_expect(m.plan->processes[5].sink);
    cr_expect_eq(m.plan->processes[3].part, 1);
    cr_expect_eq(m.plan->processes[3].first_block, 7);
    cr_expect_eq(m.plan->processes[3].last_block, 9);
    drop(&m);
}

Test(plan, every_edge_is_one_link_with_an_address_of_its_own)
{
    struct made m = make(score_file);
    cr_assert_eq(m.plan->link_count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct plan_link *a = &m.plan->links[i];
        cr_expect_eq(a->number, i + 1);
        cr_expect_eq(strncmp(a->address, "abstract://thea-", 16), 0);
        cr_expect_eq(strspn(a->address + 16, "0123456789abcdef"), 16);
        cr_expect_lt(a->from, a->to);
        for (size_t k = 0; k < i; k++) cr_expect_str_neq(a->address, m.plan->links[k].address);
    }
    drop(&m);
}

Test(plan, two_plans_have_different_addresses)
{
    struct made a = make(score_file), b = make(score_file);
    cr_expect_str_neq(a.plan->links[0].address, b.plan->links[0].address);
    drop(&a);
    drop(&b);
}

Test(plan, feedback_leads_from_the_sampler_to_the_first_part)
{
    struct made m = make("model: mini\nstages:\n  load: {kind: load, format: tokens}\n  layers: {kind: "
                         "layers, from: load, split: 3, feedback: sample}\n"
                         "  sample: {kind: sample, from: layers}\n  write: {kind: write, from: sample}\n");
    expect_line(
        m.plan, "layers/0",
        "--name layers/0 --model /models/mini --blocks 0-3 --in tokens=@1 --in token=@6 --out residual=@2");
    expect_line(m.plan, "layers/1",
                "--name layers/1 --model /models/mini --blocks 4-8 --in residual=@2 --out residual=@3");
    expect_line(m.plan, "layers/2",
                "--name layers/2 --model /models/mini --blocks 9 --in residual=@3 --out next=@4");
    expect_line(m.plan, "sample", "--name sample --in next=@4 --out token=@5 --out feedback=@6");
    cr_expect(m.plan->links[5].feedback);
    drop(&m);
}

Test(plan, a_source_is_told_how_many_documents_may_be_under_way_if_somebody_said_it)
{
    struct made m = make("stages:\n  a: {kind: load, in_flight: 3}\n  b: {kind: load}\n");
    expect_line(m.plan, "a", "--name a --source 0 --in-flight 3");
    expect_line(m.plan, "b", "--name b --source 1");
    drop(&m);
}

/* --- replicas --- */

static const char replicas_file[] = "name: score\nmodel: mini\nstages:\n"
                                    "  load:     {kind: load}\n"
                                    "  tokenize: {kind: tokenize, from: load, replicas: 2}\n"
                                    "  layers:   {kind: layers, from: tokenize, split: 2, replicas: 3}\n"
                                    "  score:    {kind: score, from: layers}\n"
                                    "  write:    {kind: write, from: score}\n";

Test(plan, each_replica_is_a_process_and_every_pair_of_neighbours_has_a_link)
{
    struct made m = make(replicas_file);
    const char *const names[] = {"load",       "tokenize:0", "tokenize:1", "layers/0:0",
                                 "layers/0:1", "layers/0:2", "layers/1:0", "layers/1:1",
                                 "layers/1:2", "score",      "write"};
    cr_assert_eq(m.plan->process_count, 11);
    for (size_t i = 0; i < 11; i++) cr_expect_str_eq(m.plan->processes[i].name, names[i]);
    cr_expect_eq(m.plan->processes[8].replica, 2);
    cr_expect_eq(m.plan->processes[8].part, 1);
    cr_expect_eq(m.plan->processes[3].last_block, m.plan->processes[5].last_block, "the same blocks");
    cr_expect_eq(m.plan->link_count, 2 + 2 * 3 + 3 * 3 + 3 + 1);
    expect_line(m.plan, "load", "--name load --out docs=@1,@2");
    expect_line(m.plan, "tokenize:1",
                "--name tokenize:1 --model /models/mini --window 8 --in docs=@2 --out tokens=@6,@7,@8");
    expect_line(
        m.plan, "layers/0:2",
        "--name layers/0:2 --model /models/mini --blocks 0-6 --window 8 --in tokens=@5 --in tokens=@8 --out "
        "residual=@15,@16,@17");
    expect_line(m.plan, "layers/1:0",
                "--name layers/1:0 --model /models/mini --blocks 7-9 --window 8 --in residual=@9 --in "
                "residual=@12 --in "
                "residual=@15 --out nll=@18");
    expect_line(m.plan, "score", "--name score --in nll=@18 --in nll=@19 --in nll=@20 --out record=@21");
    drop(&m);
}

Test(plan, several_readers_of_an_output_stay_apart_from_the_replicas_of_each)
{
    struct made m =
        make("model: mini\nstages:\n  load: {kind: load}\n  a: {kind: tokenize, from: load, "
             "replicas: 2}\n  b: {kind: tokenize, from: load}\n  c: {kind: write, from: [a, b]}\n");
    expect_line(m.plan, "load", "--name load --out docs=@1,@2 --out docs=@3");
    expect_line(m.plan, "c", "--name c --in tokens=@4 --in tokens=@5 --in tokens=@6");
    drop(&m);
}

Test(plan, all_who_send_to_a_join_choose_its_replica_by_hash)
{
    struct made m = make(
        "model: mini\nstages:\n  load: {kind: load}\n  t: {kind: tokenize, from: load}\n  layers: {kind: "
        "layers, from: t}\n  pool: {kind: pool, from: layers, replicas: 2}\n  join: {kind: join, replicas: "
        "2, from: {states: layers.final, vector: pool}}\n  write: {kind: write, from: join}\n");
    expect_line(m.plan, "layers",
                "--name layers --model /models/mini --in tokens=@2 --out final=@3,@4 --out final=hash:@5,@6");
    expect_line(m.plan, "pool:1",
                "--name pool:1 --model /models/mini --window 8 --in final=@4 --out vector=hash:@9,@10");
    expect_line(m.plan, "join:0",
                "--name join:0 --window 8 --in states=@5 --in vector=@7 --in vector=@9 --out final=@11");
    cr_expect_eq(plan_link_choice(m.plan, &m.plan->links[2]), PLAN_BY_LOAD);
    cr_expect_eq(plan_link_choice(m.plan, &m.plan->links[4]), PLAN_BY_HASH);
    drop(&m);
}

Test(plan, tokens_go_back_to_the_replica_that_they_came_from)
{
    struct made m =
        make("model: mini\nstages:\n  load: {kind: load, format: tokens}\n  layers: {kind: layers, from: "
             "load, split: 2, replicas: 2, feedback: sample}\n  sample: {kind: sample, from: layers}\n"
             "  write: {kind: write, from: sample}\n");
    expect_line(
        m.plan, "layers/0:0",
        "--name layers/0:0 --model /models/mini --blocks 0-6 --window 8 --in tokens=@1 --in token=@10 --out "
        "residual=@3,@4");
    expect_line(m.plan, "layers/0:1",
                "--name layers/0:1 --model /models/mini --blocks 0-6 --window 8 --replica 1 --in tokens=@2 "
                "--in token=@11 "
                "--out residual=@5,@6");
    expect_line(m.plan, "layers/1:1",
                "--name layers/1:1 --model /models/mini --blocks 7-9 --window 8 --in residual=@4 --in "
                "residual=@6 --out "
                "next=@8");
    expect_line(m.plan, "sample",
                "--name sample --in next=@7 --in next=@8 --out token=@9 --out feedback=@10,@11");
    cr_expect_eq(plan_link_choice(m.plan, &m.plan->links[10]), PLAN_BY_ORIGIN);
    drop(&m);
}

Test(plan, more_links_than_a_process_can_have_are_refused_with_their_number)
{
    struct spec *spec = NULL;
    struct plan *plan = NULL;
    struct diag_list *diags = diag_list_new();
    struct thea_err err = {0};
    const char *text =
        "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load, "
        "replicas: 20}\n  layers: {kind: layers, from: tokenize, replicas: 14}\n  write: {kind: "
        "write, from: layers.nll}\n";
    cr_assert_eq(spec_parse(&spec, text, strlen(text), "/p/x.yaml", 1, NULL, diags, &err), THEA_OK);
    cr_expect_eq(plan_make(&plan, spec, &err), THEA_OK, "14 in, 20 out: %s", err.message);
    plan_free(plan);
    spec->stages[1].replicas = 40;
    cr_expect_eq(plan_make(&plan, spec, &err), THEA_ECONFIG);
    cr_expect_str_eq(
        err.message,
        "'load' would have 40 links, 0 in and 40 out; a process has at most 32\n  fewer replicas "
        "of it or of the stages beside it");
    spec_free(spec);
    diag_list_free(diags);
}

Test(plan, the_shell_text_says_how_many_parts_and_replicas_there_are)
{
    struct made m = make(replicas_file);
    struct buf b = {0};
    plan_print_shell(m.plan, &b);
    const char *first =
        "# score: 11 processes, tokenize 2 replicas, layers in 2 parts of 3 replicas. Type each";
    cr_expect_eq(strncmp(buf_text(&b), first, strlen(first)), 0, "%s", buf_text(&b));
    buf_fini(&b);
    drop(&m);
}

Test(plan, sources_are_numbered_only_when_there_are_several)
{
    struct made m = make(
        "model: mini\nstages:\n  t: {kind: tokenize, from: [b, a]}\n  a: {kind: load}\n  b: {kind: load}\n");
    expect_line(m.plan, "a", "--name a --source 0 --out docs=@1");
    expect_line(m.plan, "b", "--name b --source 1 --out docs=@2");
    expect_line(m.plan, "t", "--name t --model /models/mini --in docs=@1 --in docs=@2");
    drop(&m);
}

Test(plan, blas_has_one_thread_unless_the_pipeline_says_otherwise)
{
    struct made m =
        make("stages:\n  a: {kind: load, env: {X: 1}}\n  b: {kind: load, env: {OPENBLAS_NUM_THREADS: 4}}\n");
    cr_expect_str_eq(m.plan->processes[0].env[0], "X=1");
    cr_expect_str_eq(m.plan->processes[0].env[1], "OPENBLAS_NUM_THREADS=1");
    cr_expect_str_eq(m.plan->processes[1].env[0], "OPENBLAS_NUM_THREADS=4");
    cr_expect_null(m.plan->processes[1].env[1]);
    drop(&m);
}

Test(plan, threads_are_said_whenever_the_environment_could_say_otherwise)
{
    setenv("THEA_THREADS", "8", 1);
    struct made m = make("stages:\n  a: {kind: load, threads: 1}\n");
    expect_line(m.plan, "a", "--name a --threads 1");
    drop(&m);
}

Test(plan, shell_text_is_quoted_and_wrapped)
{
    struct made m = make(
        "name: q\nstages:\n  a: {kind: load, paths: [\"*.md\", \"it's\", \"$HOME\", "
        "/a/very/long/path/that/makes/the/line/wrap/at/some/point], exclude: \"\", env: {W: \"x y\"}}\n");
    struct buf b = {0};
    plan_print_shell(m.plan, &b);
    cr_expect_str_eq(buf_text(&b),
                     "# q: 1 process.\n"
                     "W='x y' thea-load --name a --exclude '' '/p/*.md' '/p/it'\\''s' '/p/$HOME' \\\n"
                     "  /a/very/long/path/that/makes/the/line/wrap/at/some/point\n");
    buf_fini(&b);
    drop(&m);
}

Test(plan, a_shell_reads_the_text_back_as_the_same_words)
{
    struct made m = make("stages:\n  a: {kind: load, paths: [\"a  b\", \"it's\", \"$(id)\", \"`id`\", "
                         "\"\\\\\", \"new\\nline\", \"ünï\"], env: {W: \"'\\\"\"}}\n");
    struct buf b = {0}, script = {0};
    plan_print_shell(m.plan, &b);
    buf_add_text(&script, "thea_load() { for w; do printf '<%s>' \"$w\"; done; }\n");
    char *program = strstr(b.data, "thea-load");
    buf_add(&script, b.data, (size_t)(program - b.data));
    buf_printf(&script, "thea_load%s", program + 9);
    struct run_result r = {0};
    setenv("THEA_TEST_SCRIPT", buf_text(&script), 1);
    run_shell(&r, NULL, RUN_LIMIT_S, "eval \"$THEA_TEST_SCRIPT\"");
    cr_expect_eq(r.status, 0);
    cr_expect_str_eq(buf_text(&r.out),
                     "<--name><a></p/a  b></p/it's></p/$(id)></p/`id`></p/\\></p/new\nline></p/ünï>");
    run_result_fini(&r);
    buf_fini(&b);
    buf_fini(&script);
    drop(&m);
}

/* --- cuts --- */

static double dearest(const size_t *ends, size_t parts, const double *costs, double first, double last)
{
    double worst = 0;
    for (size_t p = 0, from = 0; p < parts; from = ends[p++]) {
        double sum = (p == 0 ? first : 0) + (p + 1 == parts ? last : 0);
        for (size_t i = from; i < ends[p]; i++) sum += costs[i];
        worst = fmax(worst, sum);
    }
    return worst;
}

/* The least possible cost of the dearest part, by trying all cuts. */
static double best_by_trying(size_t *ends, size_t part, size_t parts, size_t from, const double *costs,
                             size_t count, double first, double last)
{
    double best = INFINITY;
    if (part + 1 == parts) {
        ends[part] = count;
        return dearest(ends, parts, costs, first, last);
    }
    for (size_t end = from + 1; end + (parts - part - 1) <= count; end++) {
        ends[part] = end;
        best = fmin(best, best_by_trying(ends, part + 1, parts, end, costs, count, first, last));
    }
    return best;
}

Test(plan, a_cut_is_as_good_as_the_best_of_all_cuts)
{
    unsigned seed = 1;
    for (int round = 0; round < 300; round++) {
        double costs[9];
        size_t count = 1 + (size_t)(rand_r(&seed) % 9), parts = 1 + (size_t)rand_r(&seed) % count, ends[9],
               tried[9];
        for (size_t i = 0; i < count; i++) costs[i] = 1 + rand_r(&seed) % 20;
        double first = rand_r(&seed) % 10, last = rand_r(&seed) % 10;
        plan_cut(ends, parts, costs, count, first, last);
        cr_assert_eq(ends[parts - 1], count);
        for (size_t p = 0; p < parts; p++)
            cr_assert_gt(ends[p], p == 0 ? 0 : ends[p - 1], "each part has a block");
        double best = best_by_trying(tried, 0, parts, 0, costs, count, first, last);
        cr_assert_float_eq(dearest(ends, parts, costs, first, last), best, 1e-6);
    }
}

Test(plan, among_equal_cuts_the_parts_are_even)
{
    double costs[] = {1, 1, 1, 1, 9};
    size_t ends[3];
    plan_cut(ends, 3, costs, 5, 0, 0);
    cr_expect_eq(ends[0], 2);
    cr_expect_eq(ends[1], 4);
}
