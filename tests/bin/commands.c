/* thea models as users see it: what is there, whether it can run, and if not why. Help, usage and new stages
 * beside it. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* In a directory with `model`, a copy of thea-mini. */
static struct run_result in_copy(int status, const char *command)
{
    struct run_result r = {0};
    run_shell(&r, NULL, RUN_LIMIT_S,
              "unset THEA_MODEL; src=$PWD/models/thea-mini; d=$(mktemp -d) || exit 99; trap 'rm -rf $d' "
              "EXIT; cd $d;"
              " mkdir model && cp $src/* model/ || exit 99; export THEA_MODEL_PATH=$d; %s",
              command);
    cr_expect_eq(r.status, status, "%s: status %d\n%s%s", command, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    return r;
}

static void expect_in(const struct buf *text, const char *part)
{
    cr_expect_not_null(strstr(buf_text(text), part), "no '%s' in:\n%s", part, buf_text(text));
}

Test(models, a_whole_model_is_shown_with_its_tokenizer)
{
    struct run_result r = in_copy(0, "thea models ./model");
    expect_in(&r.out, "family      lfm2");
    expect_in(&r.out, "tokenizer   tokenizer.json");
    cr_expect_eq(r.err.len, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
}

Test(models, a_git_lfs_pointer_is_said_to_be_one)
{
    struct run_result r =
        in_copy(65, "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:00\\nsize 9\\n'"
                    " > model/model.safetensors; thea models ./model");
    expect_in(&r.out, "family      lfm2");
    expect_in(&r.err, "git-lfs pointer");
    run_result_fini(&r);
}

Test(models, an_encoder_is_shown_with_what_it_is_for)
{
    struct run_result r =
        in_copy(0, "rm -r model; cp -r $src/../../tests/goldens/m2bert-tiny model; thea models ./model; thea "
                   "models --json ./model; thea models");
    expect_in(&r.out, "family      m2_bert (m2_bert)\nparameters  40,032\nweights     float32\nblocks      "
                      "3, without attention\n");
    expect_in(&r.out,
              "for         vectors of documents, to compare and to search (embed, index, search)\n"
              "vector      32 numbers a document: the model's pooler over its first token, not normalised\n"
              "length      64 tokens of a document count; shorter ones are padded to that\n");
    expect_in(&r.out, "\"for\": \"vectors\"");
    expect_in(&r.out, "\"max_length\": 64");
    expect_in(&r.out, "model                        m2_bert  vectors       3     32         40,032       64");
    expect_in(&r.out, "thea-mini                    lfm2     text ");
    cr_expect_null(strstr(buf_text(&r.out), "heads  "), "it has no attention:\n%s", buf_text(&r.out));
    run_result_fini(&r);
}

Test(models, the_list_tells_what_cannot_run_and_why)
{
    struct run_result r = in_copy(0, "rm model/model.safetensors; thea models");
    expect_in(&r.out, "model                        cannot run: ");
    expect_in(&r.out, "thea-mini                    lfm2");
    run_result_fini(&r);
}

Test(models, json_says_that_a_cut_file_cannot_run)
{
    struct run_result r =
        in_copy(65, "truncate -s 100000 model/model.safetensors; thea models --json ./model");
    expect_in(&r.out, "\"runs\": false");
    expect_in(&r.out, "\"why\": ");
    run_result_fini(&r);
}

Test(models, a_model_without_tokenizer_takes_token_ids_alone)
{
    struct run_result r = in_copy(0, "rm model/tokenizer.json; thea models ./model; thea models");
    expect_in(&r.out, "tokenizer   none");
    expect_in(&r.out, "  no tokenizer\n");
    run_result_fini(&r);
}

Test(help, of_every_command_fits_80_columns_and_40_lines)
{
    struct run_result r =
        in_copy(0, "for c in $(thea --help | sed -n '/^commands/,/^$/s/^  \\([a-z]*\\) .*/\\1/p'); do "
                   "echo \"== $c\"; thea $c --help; done; thea --help | sed 's/^$/== /'");
    size_t lines = 0, commands = 0;
    for (const char *line = buf_text(&r.out); *line != '\0'; line += strcspn(line, "\n") + 1) {
        size_t n = strcspn(line, "\n"), columns = 0;
        for (size_t i = 0; i < n; i++) columns += ((unsigned char)line[i] & 0xC0) != 0x80;
        cr_expect_leq(columns, 80, "%.*s", (int)n, line);
        bool next = strncmp(line, "== ", 3) == 0;
        commands += next;
        lines = next ? 0 : lines + 1;
        cr_expect_leq(lines, 40);
    }
    cr_expect_geq(commands, 14);
    cr_expect_null(strstr(buf_text(&r.out), "--markdown"), "docs/update alone needs it");
    run_result_fini(&r);
}

Test(help, a_page_is_found_by_the_name_that_other_pages_give_it)
{
    struct run_result r = in_copy(0, "thea help thea-run --roff; thea help thea-layers --roff");
    expect_in(&r.out, ".TH THEA-RUN 1");
    expect_in(&r.out, ".TH THEA-LAYERS 1");
    run_result_fini(&r);
}

Test(usage, a_missing_operand_is_named)
{
    struct run_result r = in_copy(64, "thea check");
    expect_in(&r.err, "check: FILE… is missing");
    run_result_fini(&r);
    r = in_copy(64, "thea new stage");
    expect_in(&r.err, "usage  thea new");
    run_result_fini(&r);
}

Test(usage, a_full_disk_is_74_for_help_and_version)
{
    struct run_result r = in_copy(74, "thea --version > /dev/full");
    expect_in(&r.err, "standard output: No space left on device");
    run_result_fini(&r);
    r = in_copy(74, "thea --help > /dev/full");
    run_result_fini(&r);
}

Test(help, the_page_of_load_says_that_it_takes_paths)
{
    struct run_result r = in_copy(0, "thea help load --roff");
    expect_in(&r.out, "[OPTION...] [PATH...]");
    run_result_fini(&r);
    r = in_copy(0, "thea help score --roff");
    cr_expect_null(strstr(buf_text(&r.out), "[PATH...]"));
    run_result_fini(&r);
}

Test(new_stage, a_name_that_is_taken_is_refused_and_nothing_is_made)
{
    struct run_result r =
        in_copy(64, "thea new stage load; status=$?; [ ! -e load ] || exit 98; exit $status");
    expect_in(&r.err, "there is a kind 'load' already");
    run_result_fini(&r);
    r = in_copy(64, "thea new stage check; status=$?; [ ! -e check ] || exit 98; exit $status");
    expect_in(&r.err, "'check' is a command of thea");
    run_result_fini(&r);
    r = in_copy(0, "thea new stage loads && test -e loads/thea-loads.c");
    run_result_fini(&r);
}

Test(tap, a_full_disk_is_74_and_a_reader_that_had_enough_is_0)
{
    struct run_result r = in_copy(74, "echo text > a.txt; thea load a.txt | thea tap - > /dev/full");
    expect_in(&r.err, "cannot write stdout: No space left on device");
    run_result_fini(&r);
    /* more than a pipe holds, so that tap meets the closed end */
    r = in_copy(0, "set -e; i=0; while [ $i -lt 3000 ]; do echo '{\"id\": \"a\", \"text\": \"word\"}'; "
                   "i=$((i+1)); done > a.jsonl;"
                   " { thea load a.jsonl; echo load $? >&2; } | { thea tap -; echo tap $? >&2; } | head -1");
    expect_in(&r.out, "data  stream 0");
    expect_in(&r.err, "tap 0");
    expect_in(&r.err, "load 0");
    run_result_fini(&r);
}

Test(models, an_empty_directory_is_no_model)
{
    struct run_result r = in_copy(66, "mkdir empty; echo text > a.txt; thea run score -m ./empty a.txt");
    expect_in(&r.err, "is not a model: it has neither config.json nor tokenizer.json");
    run_result_fini(&r);
}

Test(usage, a_reader_that_had_enough_is_0)
{
    struct run_result r =
        in_copy(0, "mkfifo gone; { exec 3<> gone; exec 4> gone 3<&-; thea doctor >&4; echo doctor $? >&2; }");
    expect_in(&r.err, "doctor 0");
    run_result_fini(&r);
}

Test(parts, that_do_not_follow_each_other_are_refused)
{
    static const char pipe[] = "echo some text > a.txt; thea load a.txt | thea tokenize -m thea-mini |"
                               " thea layers -m thea-mini --blocks 0-2 | thea layers -m thea-mini --blocks ";
    char command[512];
    snprintf(command, sizeof command, "%s4- > out; status=$?; [ ! -s out ] || exit 98; exit $status", pipe);
    struct run_result r = in_copy(64, command);
    expect_in(&r.err, "blocks 4- need what block 3 gives, this comes from block 2");
    run_result_fini(&r);
    snprintf(command, sizeof command,
             "%s3-4 | thea layers -m thea-mini --blocks 5- | thea score | thea write", pipe);
    r = in_copy(0, command);
    expect_in(&r.out, "\"bits_per_byte\": ");
    run_result_fini(&r);
}
