/* What the tests of the kind load share: a run over what is there, its documents, how it fails. One document
 * at a time: source.h. */
#ifndef TESTS_STAGES_LOADING_H
#define TESTS_STAGES_LOADING_H

#include "tests/stages/helpers.h"

extern const struct stage_ops load_ops;

/* Documents of one run: ids and texts, gathered from the frames. */
struct loaded {
    size_t count;
    char ids[64][256];
    struct buf text[64];
    bool ended[64];
    struct harness *h;
};

__attribute__((unused)) static void gather(struct loaded *l, const char *port)
{
    uint64_t streams[64];
    for (size_t i = 0; i < harness_count(l->h, port); i++) {
        const struct frame *f = harness_frame(l->h, port, i);
        size_t d = 0;
        if (f->kind == FRAME_EOF) continue;
        while (d < l->count && streams[d] != f->stream) d++;
        if (d == l->count) {
            streams[l->count++] = f->stream;
            snprintf(l->ids[d], sizeof l->ids[d], "%s", frame_attr_text(f, "id", "(none)"));
        }
        const struct tensor *t = frame_tensor(f, strcmp(port, "docs") == 0 ? "text" : "tokens");
        if (t != NULL && strcmp(port, "docs") == 0)
            cr_assert_eq(f->position, l->text[d].len, "positions are byte offsets");
        if (t != NULL) buf_add(&l->text[d], t->data, t->size_bytes);
        l->ended[d] = l->ended[d] || f->kind == FRAME_END;
    }
}

__attribute__((unused)) static thea_rc load_ports(struct loaded *l, const char *const *args,
                                                  const char *const *ports, struct thea_err *err)
{
    *l = (struct loaded){0};
    thea_rc rc = harness_open(&l->h, &load_ops, args, ports, err);
    if (rc == THEA_OK) rc = harness_drain_source(l->h, err);
    if (rc == THEA_OK) gather(l, ports[0]);
    return rc;
}

__attribute__((unused)) static void load(struct loaded *l, const char *const *args)
{
    struct thea_err err = {0};
    cr_assert_eq(load_ports(l, args, ARGS("docs"), &err), THEA_OK, "%s", err.message);
    for (size_t i = 0; i < l->count; i++) cr_assert(l->ended[i]);
}

__attribute__((unused)) static void done(struct loaded *l)
{
    for (size_t i = 0; i < 64; i++) buf_fini(&l->text[i]);
    harness_close(l->h);
}

__attribute__((unused)) static void expect_failure(const char *const *args, thea_rc expected,
                                                   const char *part)
{
    struct loaded l;
    struct thea_err err = {0};
    thea_rc rc = load_ports(&l, args, ARGS("docs"), &err);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    done(&l);
}

__attribute__((unused)) static void expect_ids(const struct loaded *l, const char *const *ids)
{
    size_t n = 0;
    for (; ids[n] != NULL; n++)
        cr_assert(n < l->count && strcmp(l->ids[n], ids[n]) == 0, "document %zu is %s, not %s", n, l->ids[n],
                  ids[n]);
    cr_assert_eq(l->count, n, "%zu documents, not %zu; the next is %s", l->count, n, l->ids[n]);
}

#endif
