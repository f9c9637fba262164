/* Known-item search with a real sentence encoder: for each of some hundred manual pages the line that names
 * it, as somebody who knows it would type it, finds it first among all of them, in more than 95 of 100 cases.
 */
#include "graph/json.h"
#include "retrieval/index.h"
#include "tests/support/models.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_S = RUN_LIMIT_S, DIMENSION = 384 };
#ifndef __SANITIZE_ADDRESS__
enum { DOCUMENTS_MIN = 300 };
#define DOCUMENTS_MAX "" /* all that are here */
#define TYPED         "1 150 300"
#else
enum { DOCUMENTS_MIN = 40 }; /* what the sanitizer looks at is the same for each of them */
#define DOCUMENTS_MAX "40"
#define TYPED         "1 20 40"
#endif

struct session {
    char *scratch, *model;
    struct index_reader *reader;
    struct workers *workers;
    size_t queries, first;
};

static void run(struct run_result *r, const struct session *s, const char *command)
{
    run_shell(r, s->scratch, DEADLINE_S, "export THEA_RUNS=$PWD; %s", command);
    cr_assert_eq(r->status, 0, "%s: %d %s", command, r->status, buf_text(&r->err));
}

static void run_quietly(const struct session *s, const char *format, const char *word)
{
    struct run_result r;
    struct buf command = {0};
    for (const char *c = format; *c != '\0'; c++)
        if (*c == '@')
            buf_add_text(&command, word);
        else
            buf_add_char(&command, *c);
    run(&r, s, command.data);
    run_result_fini(&r);
    buf_fini(&command);
}

static void make_index(struct session *s)
{
    struct run_result r;
    struct buf path = {0};
    struct thea_err err = {0};
    run_quietly(s, "@/tests/support/known_items . " DOCUMENTS_MAX " > count", run_source_dir());
    run(&r, s, "cat count");
    cr_assert_geq(atoi(buf_text(&r.out)), DOCUMENTS_MIN, "only %s pages are here", buf_text(&r.out));
    run_result_fini(&r);
    run_quietly(s, "thea index items -m @ documents.jsonl", s->model);
    run_quietly(s, "thea embed -m @ --jsonl queries.jsonl > vectors.jsonl", s->model);
    buf_printf(&path, "%s/items", s->scratch);
    cr_assert_eq(index_reader_open(&s->reader, path.data, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(workers_new(&s->workers, 2, &err), THEA_OK);
    buf_fini(&path);
}

/* A line {"id", "embedding"}: is the document of that id the first that its vector finds? */
static void try_query(struct session *s, const char *line)
{
    struct json_node *node = NULL;
    struct thea_err err = {0};
    struct index_hits hits;
    float query[DIMENSION];
    cr_assert_eq(json_parse(&node, line, strlen(line), "vector", &err), THEA_OK, "%s", err.message);
    const struct json_node *vector = json_member(node, "embedding");
    cr_assert_eq(json_count(vector), DIMENSION);
    for (size_t i = 0; i < DIMENSION; i++) query[i] = (float)json_number(json_item(vector, i));
    cr_assert_eq(index_search(&hits, s->reader, query, DIMENSION, 1, kernels_select(NULL), s->workers, &err),
                 THEA_OK, "%s", err.message);
    cr_assert_eq(hits.count, 1);
    bool first = strcmp(hits.items[0].id, json_text_or(node, "id", "")) == 0;
    if (!first) fprintf(stderr, "%s finds %s\n", json_text_or(node, "id", ""), hits.items[0].id);
    s->queries++;
    s->first += first;
    index_hits_fini(&hits);
    json_free(node);
}

static void try_queries(struct session *s)
{
    struct run_result r;
    char *at = NULL;
    run(&r, s, "cat vectors.jsonl");
    for (char *line = strtok_r(r.out.data, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at))
        try_query(s, line);
    run_result_fini(&r);
}

/* The command itself, for some of them. */
static void try_command(const struct session *s)
{
    run_quietly(
        s,
        "for n in @; do "
        "id=$(sed -n ${n}p queries.jsonl | sed 's/.*\"id\": \"\\([^\"]*\\)\".*/\\1/'); "
        "text=$(sed -n ${n}p queries.jsonl | sed 's/.*\"text\": \"\\(.*\\)\"}/\\1/'); "
        "thea search items --limit 1 --json \"$text\" > found; "
        "grep -F \"{\\\"id\\\": \\\"$id\\\",\" found || { cat found >&2; echo \"$id\" >&2; exit 1; }; done",
        TYPED);
}

Test(known_item, is_found_first_in_more_than_95_of_100_cases, .timeout = 5 * RUN_LIMIT_S)
{
    struct session s = {.model = models_find("minilm-l6-v2"), .scratch = run_temp_dir()};
    make_index(&s);
    try_queries(&s);
    cr_assert_geq(s.queries, DOCUMENTS_MIN);
    cr_assert_gt(s.first * 100, s.queries * 95, "%zu of %zu", s.first, s.queries);
    fprintf(stderr, "known items: %zu of %zu found first\n", s.first, s.queries);
    try_command(&s);
    index_reader_close(s.reader);
    workers_free(s.workers);
    free(s.model);
    free(s.scratch);
}
