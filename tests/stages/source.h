/* load in a run, without a process: documents one by one, and seeks as the runtime makes them. */
#ifndef TESTS_STAGES_SOURCE_H
#define TESTS_STAGES_SOURCE_H

#include "tests/stages/helpers.h"

#include "graph/wire/stage_core.h"

#include <poll.h>

extern const struct stage_ops load_ops;

__attribute__((unused)) static struct harness *open_source(const char *const *args, const char *port)
{
    const char *all[16] = {"--run-dir", scratch, "--name", "load"};
    size_t n = 4;
    struct harness *h;
    struct thea_err err = {0};
    for (; *args != NULL; args++) all[n++] = *args;
    cr_assert_eq(harness_open(&h, &load_ops, all, ARGS(port), &err), THEA_OK, "%s", err.message);
    return h;
}

/* What the loop does when a source's op found nothing; how many of the descriptors can be read. */
__attribute__((unused)) static int wait_source(struct harness *h, int timeout_ms)
{
    const struct stage *st = harness_stage(h);
    struct pollfd fds[STAGE_WAITS_MAX];
    for (size_t i = 0; i < st->wait_count; i++)
        fds[i] = (struct pollfd){.fd = st->waits[i], .events = POLLIN};
    return st->wait_count > 0 ? poll(fds, st->wait_count, timeout_ms) : 0;
}

/* One document, as text: "index id: text" or "index id ! error"; "" at the end, "(nothing)" when none came
 * for a minute. */
__attribute__((unused)) static const char *next_document(struct harness *h, const char *port)
{
    static char out[4096];
    struct thea_err err = {0};
    struct buf text = {0};
    size_t at = harness_count(h, port);
    out[0] = '\0';
    for (uint64_t begin_ns = status_now_ns(); status_now_ns() - begin_ns < UINT64_C(60000000000);) {
        thea_rc rc = stage_source_step(harness_stage(h), &err);
        for (; at < harness_count(h, port); at++) {
            const struct frame *f = harness_frame(h, port, at);
            const struct tensor *t = frame_tensor(f, strcmp(port, "docs") == 0 ? "text" : "tokens");
            const char *id = frame_attr_text(f, "id", NULL);
            if (id != NULL) snprintf(out, sizeof out, "%d %s", (int)f->stream, id);
            if (t != NULL && t->dtype == TENSOR_U8) buf_add(&text, t->data, t->size_bytes);
            for (size_t i = 0; t != NULL && t->dtype == TENSOR_I32 && i < t->shape[0]; i++)
                buf_printf(&text, "%s%d", i > 0 ? " " : "", ((const int32_t *)t->data)[i]);
            if (f->kind != FRAME_END && f->kind != FRAME_ERROR) continue;
            size_t n = strlen(out);
            snprintf(out + n, sizeof out - n, f->kind == FRAME_END ? ": %s" : " ! %s",
                     f->kind == FRAME_END ? buf_text(&text) : frame_attr_text(f, "error", ""));
            buf_fini(&text);
            return out;
        }
        cr_assert(rc == THEA_OK || rc == THEA_AGAIN || rc == THEA_DONE, "%s", err.message);
        if (rc == THEA_DONE) return "";
        wait_source(h, 100);
    }
    return "(nothing)";
}

/* A live source has nothing to send: it has looked at what happened, and waited. */
__attribute__((unused)) static void expect_quiet(struct harness *h)
{
    struct thea_err err = {0};
    size_t before = harness_count(h, "docs");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN, "%s", err.message);
        wait_source(h, 100);
    }
    cr_assert_eq(harness_count(h, "docs"), before);
}

#define expect(h, document) cr_assert_str_eq(next_document(h, "docs"), document)

/* As the runtime does: what is open goes, the source goes back. */
__attribute__((unused)) static void seek(struct harness *h, uint64_t index)
{
    struct thea_err err = {0};
    struct stage *st = harness_stage(h);
    stage_streams_drop(st);
    st->source_done = false;
    cr_assert_eq(load_ops.seek(st, index, &err), THEA_OK, "%s", err.message);
}

#endif
