/* Sinks that die at every point between a result and its place on the disk: the run goes on, and the output
 * is that of a run that nobody disturbed, byte for byte. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENTS = 24, DEADLINE_S = RUN_LIMIT_S };

static char *scratch;

static void put_pipeline(const char *name, const char *write)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.yaml", scratch, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fprintf(f,
            "model: thea-mini\n"
            "stages:\n"
            "  load:     {kind: load, paths: [in.jsonl]}\n"
            "  tokenize: {kind: tokenize, from: load}\n"
            "  write:    {kind: write, from: tokenize, %s}\n",
            write);
    fclose(f);
}

static void put_documents(const char *name, int count)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    for (int i = 0; i < count; i++) {
        fprintf(f, "{\"id\": \"%.1s%d\", \"text\": \"", name, i);
        for (int k = 0; k < 20; k++) fprintf(f, "some words of document %d, %d; ", i, k);
        fputs("\"}\n", f);
    }
    fclose(f);
}

static void enter(void)
{
    scratch = run_temp_dir();
    put_documents("in.jsonl", DOCUMENTS);
}

static void leave(void)
{
    free(scratch);
}

TestSuite(sink, .init = enter, .fini = leave, .timeout = 5 * RUN_LIMIT_S);

/* The undisturbed run's outputs are in calm/, `files` name them. */
static void run_calm(const char *write)
{
    struct run_result r;
    put_pipeline("p", write);
    run_shell(&r, scratch, DEADLINE_S,
              "thea run -q p.yaml --run-dir calm.run && mkdir calm && mv out* calm && ls calm");
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    cr_assert_gt(r.out.len, 0);
    run_result_fini(&r);
}

/* The point strikes at its n-th passing, once; what was written is what the calm run wrote, and nothing else
 * is left. */
static void expect_survived(const char *point, int n)
{
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S,
              "rm -rf run once out*; THEA_FAULT=%s:%d:$PWD/once thea run p.yaml --run-dir run && "
              "test -e once && mkdir now && mv out* now && diff -r calm now && rm -r now && ls -A",
              point, n);
    cr_assert_eq(r.status, 0, "%s:%d ends with %d\n%s%s", point, n, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    cr_assert_null(strstr(buf_text(&r.out), ".thea\n"), "%s leaves a file: %s", point, buf_text(&r.out));
    run_result_fini(&r);
}

Test(sink, lines_survive_every_crash_point)
{
    run_calm("output: out.jsonl");
    static const char *const points[] = {"sink.bytes",     "sink.half_bytes", "sink.line",
                                         "sink.half_line", "sink.committed",  "sink.sync",
                                         "sink.half_sync", "sink.sync_line",  "sink.done"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) expect_survived(points[i], 1);
    expect_survived("sink.bytes", DOCUMENTS / 2);
    expect_survived("sink.half_bytes", DOCUMENTS);
    expect_survived("sink.half_line", DOCUMENTS);
    expect_survived("sink.committed", DOCUMENTS);
    expect_survived("sink.sync", 2);
    expect_survived("sink.half_sync", 2);
    expect_survived("sink.sync_line", 2);
}

Test(sink, a_document_whose_id_is_taken_is_set_aside_and_the_status_says_so)
{
    struct run_result r;
    put_pipeline("p", "output: out.safetensors");
    run_shell(&r, scratch, DEADLINE_S, "sed -i p in.jsonl; thea run p.yaml");
    cr_expect_eq(r.status, 1, "status %d\n%s", r.status, buf_text(&r.err));
    cr_expect_not_null(strstr(buf_text(&r.err), "24 documents, 24 set aside"), "%s", buf_text(&r.err));
    run_result_fini(&r);
}

Test(sink, rotated_files_survive_every_crash_point)
{
    run_calm("output: out.tsv, rotate: 4KiB");
    expect_survived("sink.rotate", 1);
    expect_survived("sink.rotate", 2);
    expect_survived("sink.half_bytes", 7);
    expect_survived("sink.half_line", 9);
    expect_survived("sink.committed", 10);
}

Test(sink, a_file_of_arrays_survives_every_crash_point)
{
    run_calm("output: out.safetensors");
    static const char *const points[] = {"sink.half_bytes", "sink.committed", "sink.assemble",
                                         "sink.rename",     "sink.renamed",   "sink.done"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) expect_survived(points[i], 1);
}

Test(sink, a_file_that_is_replaced_is_the_old_or_the_new_one)
{
    struct run_result r;
    run_calm("output: out.safetensors");
    run_shell(
        &r, scratch, DEADLINE_S,
        "echo old > out.safetensors; THEA_FAULT=sink.replace:1:$PWD/once thea run p.yaml --run-dir run && "
        "test -e once && cmp out.safetensors calm/out.safetensors && ls -A");
    cr_assert_eq(r.status, 0, "%d\n%s%s", r.status, buf_text(&r.out), buf_text(&r.err));
    cr_assert_null(strstr(buf_text(&r.out), ".thea\n"), "%s", buf_text(&r.out));
    run_result_fini(&r);
}

/* The whole run dies with the sink, and is resumed. */
Test(sink, a_run_that_died_with_its_sink_is_resumed_from_the_journal)
{
    struct run_result r;
    run_calm("output: out.jsonl");
    run_shell(&r, scratch, DEADLINE_S,
              "THEA_FAULT=sink.half_line:9 thea run p.yaml --run-dir run --set write.restart=never; "
              "test $? -eq 70 && wc -l < out.jsonl && thea run --resume run && cmp out.jsonl calm/out.jsonl");
    cr_assert_eq(r.status, 0, "%d\n%s%s", r.status, buf_text(&r.out), buf_text(&r.err));
    cr_assert(atoi(buf_text(&r.out)) >= 6 && atoi(buf_text(&r.out)) < DOCUMENTS, "%s", buf_text(&r.out));
    run_result_fini(&r);
}

/* Behind the last sync line, journal and output lose any part. */
Test(sink, a_power_cut_costs_work_and_nothing_else)
{
    struct run_result r;
    run_calm("output: out.jsonl");
    for (int journal = 0; journal <= 3; journal++) {
        for (int out = 0; out <= 3; out++) {
            run_shell(
                &r, scratch, DEADLINE_S,
                "rm -rf run; THEA_FAULT=sink.half_line:18 thea run -q p.yaml --run-dir run --set "
                "write.restart=never; test $? -eq 70 || exit 9; "
                "s=$(awk '{n += length($0) + 1} /\"sync\"/ {s = n} END {print s}' run/journal/write) "
                "z=$(sed -n 's/.*\"sync\".*\"size\": \\([0-9]*\\)}/\\1/p' run/journal/write | tail -n 1) "
                "j=$(stat -c %%s run/journal/write) o=$(stat -c %%s out.jsonl); "
                "truncate -s $((s + (j - s) * %d / 3)) run/journal/write; "
                "truncate -s $((z + (o - z) * %d / 3)) out.jsonl; "
                "thea run -q --resume run && cmp out.jsonl calm/out.jsonl",
                journal, out);
            cr_assert_eq(r.status, 0, "%d/3 of the journal, %d/3 of the output: %d\n%s%s", journal, out,
                         r.status, buf_text(&r.out), buf_text(&r.err));
            run_result_fini(&r);
        }
    }
}

Test(sink, results_of_several_sources_take_turns)
{
    struct run_result r;
    char path[512];
    put_documents("a.jsonl", 3);
    put_documents("b.jsonl", 5);
    snprintf(path, sizeof path, "%s/two.yaml", scratch);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs("model: thea-mini\n"
          "stages:\n"
          "  one:      {kind: load, paths: [a.jsonl]}\n"
          "  other:    {kind: load, paths: [b.jsonl]}\n"
          "  tokenize: {kind: tokenize, from: [one, other]}\n"
          "  write:    {kind: write, from: tokenize, output: out.tsv}\n",
          f);
    fclose(f);
    run_shell(&r, scratch, DEADLINE_S,
              "thea run -q two.yaml --run-dir run && cut -f 1 out.tsv | tr '\\n' ' '");
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    cr_assert_str_eq(buf_text(&r.out), "id a0 b0 a1 b1 a2 b2 b3 b4 ");
    run_result_fini(&r);
}

Test(sink, a_full_disk_ends_the_run_with_74_and_room_lets_it_go_on)
{
    struct run_result r;
    run_calm("output: out.jsonl");
    run_shell(
        &r, scratch, DEADLINE_S,
        "unshare -m sh -c 'mkdir small && mount -t tmpfs -o size=64k tmpfs small && "
        "head -c 48k /dev/zero > small/ballast && "
        "{ thea run p.yaml --run-dir run -o small/out.jsonl --set write.restart=never; test $? -eq 74; } && "
        "rm small/ballast && thea run --resume run && cmp small/out.jsonl calm/out.jsonl && echo same' || "
        "{ unshare -m true || echo same; }");
    cr_assert_not_null(strstr(buf_text(&r.out), "same"), "%d\n%s%s", r.status, buf_text(&r.out),
                       buf_text(&r.err));
    run_result_fini(&r);
}
