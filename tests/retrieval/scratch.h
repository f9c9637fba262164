/* What the tests of retrieval share: a directory a test, documents, an index of them. */
#ifndef TESTS_RETRIEVAL_SCRATCH_H
#define TESTS_RETRIEVAL_SCRATCH_H

#include "retrieval/index.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIMENSION = 5 };

static char scratch[64];

__attribute__((unused)) static void scratch_make(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/thea-test-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch));
    cr_assert_eq(chdir(scratch), 0);
}

__attribute__((unused)) static int scratch_remove_one(const char *path, const struct stat *at, int kind,
                                                      struct FTW *walk)
{
    (void)at, (void)kind, (void)walk;
    return remove(path);
}

__attribute__((unused)) static void scratch_remove(void)
{
    cr_assert_eq(chdir("/"), 0);
    nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define MUST(call)                                                                                           \
    do {                                                                                                     \
        struct thea_err err_ = {0}, *err = &err_;                                                            \
        thea_rc rc_ = (call);                                                                                \
        cr_assert_eq(rc_, THEA_OK, "%s: %d %s", #call, rc_, err_.message);                                   \
        (void)err;                                                                                           \
    } while (0)

__attribute__((unused)) static struct index_model test_model(char letter)
{
    struct index_model m = {.path = "/models/one", .family = "bert", .dimension = DIMENSION};
    memset(m.fingerprint, letter, SHA256_HEX - 1);
    return m;
}

__attribute__((unused)) static struct index_writer *test_writer(const char *run)
{
    struct index_writer *w = NULL;
    struct index_model m = test_model('a');
    MUST(index_writer_open(&w, "index", &m, run, err));
    return w;
}

/* A document whose vector is (x, 1, 0, …). */
__attribute__((unused)) static thea_rc test_put(struct index_writer *w, const char *id, float x,
                                                struct thea_err *err)
{
    float vector[DIMENSION] = {x, 1};
    struct index_document doc = {.id = id,
                                 .text = id,
                                 .text_len = strlen(id),
                                 .bytes = (int64_t)strlen(id),
                                 .vector = vector,
                                 .dimension = DIMENSION,
                                 .pooling = "mean",
                                 .normalized = true};
    return index_put(w, &doc, err);
}

struct names {
    char text[512];
};
__attribute__((unused)) static bool test_add_name(void *context, const struct index_entry *e)
{
    struct names *n = context;
    size_t used = strlen(n->text);
    snprintf(n->text + used, sizeof n->text - used, "%s ", e->id);
    return true;
}

/* "a b c ": the ids of an index, or of a reader's state. */
__attribute__((unused)) static struct names test_names_of(struct index_reader *r)
{
    struct names n = {""};
    MUST(index_list(r, test_add_name, &n, err));
    return n;
}
__attribute__((unused)) static struct names test_names(void)
{
    struct index_reader *r = NULL;
    MUST(index_reader_open(&r, "index", err));
    struct names n = test_names_of(r);
    index_reader_close(r);
    return n;
}

/* "c:3 a:1 ": the ids of the hits and their scores, for the query (1, 0, …). */
__attribute__((unused)) static struct names test_hits_of(struct index_reader *r, size_t limit)
{
    static const float query[DIMENSION] = {1};
    struct names n = {""};
    struct index_hits hits;
    struct workers *workers = NULL;
    MUST(workers_new(&workers, 2, err));
    MUST(index_search(&hits, r, query, DIMENSION, limit, kernels_select(NULL), workers, err));
    for (size_t i = 0; i < hits.count; i++) {
        size_t used = strlen(n.text);
        snprintf(n.text + used, sizeof n.text - used, "%s:%g ", hits.items[i].id,
                 (double)hits.items[i].score);
    }
    index_hits_fini(&hits);
    workers_free(workers);
    return n;
}
__attribute__((unused)) static struct names test_hits(size_t limit)
{
    struct index_reader *r = NULL;
    MUST(index_reader_open(&r, "index", err));
    struct names n = test_hits_of(r, limit);
    index_reader_close(r);
    return n;
}

#endif
