/* thea index, search and embed: what goes in is found, another model is refused, and whatever is killed, the
 * index has the old or the new state. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_S = RUN_LIMIT_S, DOCUMENTS = 20 };

static char *scratch;

/* d0 … d19 in in.jsonl; two of them again, with other texts, in more.jsonl. */
static void put_documents(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/in.jsonl", scratch);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    for (int i = 0; i < DOCUMENTS; i++)
        fprintf(f, "{\"id\": \"d%d\", \"text\": \"%.*s number %d\"}\n", i, 6 + i,
                "about the frames and links of pipelines", i);
    fclose(f);
    snprintf(path, sizeof path, "%s/more.jsonl", scratch);
    f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs("{\"id\": \"d3\", \"text\": \"a text that was replaced\"}\n{\"id\": \"e\", \"text\": \"one that is "
          "new\"}\n",
          f);
    fclose(f);
}

static void enter(void)
{
    scratch = run_temp_dir();
    setenv("THEA_RUNS", scratch, 1);
    unsetenv("THEA_MODEL");
    put_documents();
}

static void leave(void)
{
    free(scratch);
}

TestSuite(index, .init = enter, .fini = leave, .timeout = 5 * RUN_LIMIT_S);
TestSuite(embed, .init = enter, .fini = leave, .timeout = 5 * RUN_LIMIT_S);

static void expect(int status, const char *out, const char *err, const char *command)
{
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S, "%s", command);
    cr_assert_eq(r.status, status, "%s: status %d\n%s%s", command, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    if (out != NULL) cr_assert_not_null(strstr(buf_text(&r.out), out), "%s: %s", command, buf_text(&r.out));
    if (err != NULL) cr_assert_not_null(strstr(buf_text(&r.err), err), "%s: %s", command, buf_text(&r.err));
    run_result_fini(&r);
}

Test(index, finds_a_document_by_its_own_text_first)
{
    expect(0, NULL, NULL, "thea index i in.jsonl");
    expect(0, "{\"id\": \"d7\", \"score\": ", NULL,
           "thea search i --limit 1 --json 'about the fra number 7'");
    expect(0, "\n 1.0000  d12       about the frames a number 12\n", NULL,
           "thea search i 'about the frames a number 12'");
    expect(0, NULL, NULL, "test $(thea search i --limit 4 words | wc -l) -eq 5"); /* with a headline */
    expect(0, NULL, NULL, "test -z \"$(ls -d .query-*)\""); /* its run left no directory */
}

/* The pipeline `embed` has inputs of its own. */
Test(index, is_searched_by_the_vector_of_the_query_alone)
{
    expect(0, NULL, NULL, "thea index i in.jsonl && THEA_TRACE=$PWD/trace thea search i words");
    expect(
        0, NULL, NULL,
        "grep '\"stage\": *\"write\"' trace > writes; test $(grep -o '\"stream\": *[0-9]*' writes | sort -u "
        "| wc -l) -eq 1");
}

Test(index, lists_adds_replaces_and_removes)
{
    expect(0, NULL, NULL, "thea index i in.jsonl && test $(thea index i --list | wc -l) -eq 21");
    expect(0, NULL, NULL, "thea index i more.jsonl && test $(thea index i --list --json | wc -l) -eq 21");
    expect(0, "\"snippet\": \"a text that was replaced\"", NULL,
           "thea search i --json --limit 1 'a text that was replaced'");
    expect(74, NULL, "standard output", "thea index i --list > /dev/full");
    expect(0, NULL, NULL,
           "for n in 1 2 3 4 5 6 7 8 9; do sed \"s/id\\\": \\\"/&$n-/\" in.jsonl; done > many.jsonl; "
           "thea index i many.jsonl");
    expect(74, NULL, "standard output", "thea index i --list --json > /dev/full");
    expect(
        0, "}\n0\n", NULL,
        "{ thea index i --list --json 2> said; echo $? > status; } | head -n 1; cat status; test ! -s said");
    expect(0, NULL, NULL,
           "thea index i --remove d0 d1 && thea index i --remove $(thea index i --list --json | grep -o "
           "'\"[0-9]-d[0-9]*' | tr -d '\"')");
    expect(0, NULL, NULL, "test -z \"$(thea index i --list --json | grep -E '\"d(0|1)\"')\"");
    expect(1, NULL, "no document 'd0' is in it", "thea index i --remove d0 d2");
    expect(0, NULL, NULL, "test $(thea index i --list --json | wc -l) -eq 18");
}

Test(index, that_is_empty_finds_nothing_and_says_so_by_1)
{
    expect(0, NULL, NULL, "thea index i more.jsonl && thea index i --remove d3 e");
    expect(1, NULL, NULL, "thea search i anything");
}

Test(index, of_another_model_is_refused_with_65)
{
    char command[1024];
    snprintf(command, sizeof command, "cp -r %s/models/thea-mini other && echo ' ' >> other/config.json",
             run_source_dir());
    expect(0, NULL, NULL, command);
    expect(0, NULL, NULL, "thea index i more.jsonl");
    expect(65, NULL, "made with another model", "thea index i -m ./other in.jsonl");
    expect(65, NULL, "made with another model", "thea search i -m ./other text");
    expect(65, NULL, "made with another model", "thea run -q index -m ./other -o i in.jsonl");
    expect(0, NULL, NULL, "test $(thea index i --list --json | wc -l) -eq 2");
}

Test(index, remembers_its_model_and_says_when_it_is_gone)
{
    char command[1024];
    snprintf(
        command, sizeof command,
        "cp -r %s/models/thea-mini m && thea index i -m ./m more.jsonl && thea index i in.jsonl && mv m n",
        run_source_dir());
    expect(0, NULL, NULL, command);
    expect(66, NULL, "say where it is now: -m DIR", "thea search i text");
    expect(0, "one that is new", NULL,
           "thea search i -m ./n --limit 1 'one that is new' && thea index i -m ./n more.jsonl");
}

Test(index, says_what_is_wrong_with_a_command_line)
{
    expect(64, NULL, "no document to add", "thea index i");
    expect(64, NULL, "no id to remove", "thea index i --remove");
    expect(64, NULL, "--list takes the index alone", "thea index i --list a");
    expect(64, NULL, "--limit takes a number from 1", "thea search i --limit 0 a");
    expect(64, NULL, "the query is empty", "thea search i ''");
    expect(66, NULL, "there is no index there", "thea search i a");
    expect(66, NULL, "No such file", "thea index i --remove a");
    expect(66, NULL, "there is no index there", "mkdir i && thea index i --list");
    expect(65, NULL, "other files", "touch i/x && thea run -q index -o i more.jsonl");
    expect(73, NULL, "mkdir -p ", "thea index no/where more.jsonl");
    expect(64, NULL, "exclude each other", "thea embed --jsonl in.jsonl more.jsonl");
}

Test(index, that_is_damaged_is_named_with_65)
{
    expect(0, NULL, NULL, "thea index i in.jsonl && truncate -s 300 i/vectors-0.npy");
    expect(65, NULL, "i/vectors-0.npy': it ends after", "thea search i a");
    expect(65, NULL, "i/vectors-0.npy': it ends after", "thea index i --remove d1");
    expect(65, NULL, "i/vectors-0.npy': it ends after", "thea index i more.jsonl");
}

/* --- prompts --- */

Test(embed, puts_the_prompt_in_front_that_the_model_or_the_user_says)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cp -r %s/models/thea-mini m && printf '%%s' '{\"prompts\": {\"query\": \"ask: \", \"passage\": "
             "\"tell: \"}, \"default_prompt_name\": \"query\"}' > m/config_sentence_transformers.json",
             run_source_dir());
    expect(0, NULL, NULL, command);
    expect(0, NULL, NULL,
           "printf '{\"id\": \"x\", \"text\": \"ask: links\"}' > whole.jsonl; printf '{\"id\": \"x\", "
           "\"text\": \"links\"}' > part.jsonl; thea embed -m ./m --prompt '' whole.jsonl > a; "
           "thea embed -m ./m part.jsonl > b; thea embed -m ./m --prompt 'ask: ' part.jsonl > c; "
           "thea embed -m ./m --prompt passage part.jsonl > d; cmp a b && cmp a c && ! cmp -s a d");
    expect(78, NULL, "accepted  passage, query, document", "thea embed -m ./m --prompt asking part.jsonl");
    expect(0, NULL, NULL, "thea index i -m ./m in.jsonl");
    expect(0, "\"snippet\": \"about the fra number 7\"", NULL,
           "thea search i --prompt passage --limit 1 --json 'about the fra number 7'");
    expect(0, "\"score\": 1.0", NULL,
           "thea search i --prompt 'tell: ' --limit 1 --json 'about the fra number 7' | sed "
           "'s/0.99999[0-9]*/1.0/'");
    expect(0, NULL, NULL,
           "! thea search i --limit 1 --json 'about the fra number 7' | grep -q 'score\": 1.0'");
    expect(0, NULL, NULL, "thea index i more.jsonl");
    expect(78, NULL, "prompt \"ask: \"", "thea index i --prompt query more.jsonl");
}

Test(embed, says_when_only_the_index_has_a_prompt)
{
    expect(0, NULL, NULL, "thea index i --prompt 'passage: ' in.jsonl && thea index i more.jsonl");
    expect(0, NULL, "embedded behind \"passage: \", the query is behind nothing", "thea search i links");
    expect(0, NULL, NULL, "thea search i --prompt 'query: ' links 2> err && ! grep prompt err");
}

/* --- killed --- */

Test(index, that_is_searched_by_who_is_killed_keeps_no_directory_of_it)
{
    expect(0, NULL, NULL, "thea index i more.jsonl");
    expect(0, NULL, NULL,
           "THEA_FAULT=run.recorded:1 thea search i text; test $? -eq 137 && test -n \"$(ls -d .query-*)\"");
    expect(0, NULL, NULL, "thea search i text && test -z \"$(ls -d .query-*)\"");
}

/* What an index holds, without the times; and with what it finds. */
#define LISTED   "thea index i --list --json | sed 's/\"added\": [0-9]*//'"
#define CONTENTS "{ " LISTED "; thea search i --json --limit 99 'frames'; }"

/* `command` is killed at the n-th passing of the point: then the index is as before or as after, and the same
 * command, again, makes it as after. */
static void expect_old_or_new(const char *command, const char *point, int n)
{
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S,
              "rm -rf i && cp -r start i && (export THEA_FAULT=%s:%d; %s); test $? -ge 70 || exit 9; "
              "test ! -e start/index.sqlite || { " LISTED " > now; cmp -s now old || cmp -s now listed; } || "
              "{ diff old now; exit 8; }; "
              "{ %s; test $? -le 1; } && " CONTENTS
              " > now && diff now new && test $(ls i/vectors-* | wc -l) -eq 1",
              point, n, command, command);
    cr_assert_eq(r.status, 0, "%s at %s:%d: %d\n%s%s", command, point, n, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    run_result_fini(&r);
}

/* start: the index before; old: what is listed then; listed and new: the same, and all, after the command. */
static void prepare(const char *before, const char *command)
{
    char all[2048];
    snprintf(all, sizeof all,
             "%s && rm -rf start && mkdir -p i && cp -r i start && { test ! -e i/index.sqlite || " LISTED
             " > old; } && %s && " LISTED " > listed && " CONTENTS " > new && test -s listed",
             before, command);
    expect(0, NULL, NULL, all);
}

Test(index, that_loses_documents_is_killed_at_every_point)
{
    static const char remove[] = "thea index i --remove d0 d2 d4 d6 d8 d10 d12 d14";
    static const char *const points[] = {"index.removed", "index.commit", "index.committed",
                                         "index.copied",  "index.switch", "index.switched"};
    prepare("thea index i in.jsonl", remove);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) expect_old_or_new(remove, points[i], 1);
    expect_old_or_new(remove, "index.removed", 8);
}

Test(index, that_is_made_is_killed_at_every_point)
{
    static const char add[] = "thea run -q index -o i in.jsonl --set write.restart=never 2> /dev/null";
    static const char *const points[] = {"index.vectors_made", "index.tables_made", "index.vector",
                                         "index.row",          "index.commit",      "index.committed"};
    prepare("true", add);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) expect_old_or_new(add, points[i], 1);
    expect_old_or_new(add, "index.row", DOCUMENTS);
}

/* The sink alone dies, once, and is started again: each document is there once, in its order. */
Test(index, survives_a_sink_that_dies_at_every_point)
{
    static const char *const points[] = {"index.vector", "index.row", "index.commit", "index.committed"};
    struct run_result r;
    expect(0, NULL, NULL,
           "thea run -q index -o i in.jsonl --run-dir calm && " CONTENTS
           " > new && cp i/vectors-0.npy calm.npy");
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        run_shell(
            &r, scratch, DEADLINE_S,
            "rm -rf i run once; THEA_FAULT=%s:%d:$PWD/once thea run index -o i in.jsonl --run-dir run && "
            "test -e once && " CONTENTS " > now && diff now new && cmp i/vectors-0.npy calm.npy",
            points[i], i < 2 ? DOCUMENTS / 2 : 2);
        cr_assert_eq(r.status, 0, "%s: %d\n%s%s", points[i], r.status, buf_text(&r.out), buf_text(&r.err));
        run_result_fini(&r);
    }
}

Test(index, goes_on_with_a_run_that_was_killed)
{
    expect(0, NULL, NULL, "thea run -q index -o i in.jsonl --run-dir calm && " CONTENTS " > new");
    expect(0, NULL, NULL,
           "rm -rf i; THEA_FAULT=index.row:9 thea run -q index -o i in.jsonl --run-dir run --set "
           "write.restart=never 2> /dev/null; test $? -ge 70 && n=$(thea index i --list --json | wc -l) && "
           "test $n -lt 20 && thea run -q --resume run && " CONTENTS " > now && diff now new");
}

/* --- embed --- */

Test(embed, prints_a_line_of_json_a_document)
{
    expect(0, "{\"id\": \"d0\", \"embedding\": [", NULL, "thea embed --jsonl in.jsonl");
    expect(0, NULL, NULL, "test $(thea embed in.jsonl | wc -l) -eq 20");
    expect(0, NULL, NULL, "thea embed in.jsonl > a && thea embed --jsonl - < in.jsonl > b && cmp a b");
    expect(0, "{\"id\": \"stdin\", \"embedding\": [", NULL, "echo some text | thea embed");
    expect(0, "d19", NULL, "thea embed -o v.npy in.jsonl && test -s v.npy && tail -n 1 v.ids.txt");
    expect(66, NULL, "No such file", "thea embed nowhere.md");
}
