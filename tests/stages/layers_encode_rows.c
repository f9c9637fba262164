/* layers of an encoder: all rows of `final`, or the first alone (--rows). */
#include "tests/stages/encoding.h"

static const char *rows_of(const struct harness *h, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct frame *f = harness_frame(h, "final", i);
        const struct attr *a = f->stream == stream ? frame_attr(f, "rows") : NULL;
        if (a != NULL) return a->text;
    }
    return "";
}

static struct harness *run_documents(const char *model, const char *rows, size_t documents)
{
    struct harness *h =
        open_ports(ARGS("--model", model, "--rows", rows, "--chunk", "16"), "tokens", ARGS("final"));
    for (uint64_t s = 1; s <= documents; s++) {
        int32_t tokens[64];
        for (size_t i = 0; i < 20 * s; i++) tokens[i] = (int32_t)((i * 7 + s) % 64);
        feed_whole(h, s, tokens, 20 * s, 20);
    }
    idle(h);
    return h;
}

/* The tensor `final` of a stream's first frame. */
static const struct tensor *first_final(const struct harness *h, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++)
        if (harness_frame(h, "final", i)->stream == stream)
            return frame_tensor(harness_frame(h, "final", i), "final");
    return NULL;
}

/* With `first` the first row leaves alone, with the bits that it has among the others. */
static void expect_first_rows(const char *model)
{
    struct harness *all = run_documents(model, "all", 3), *first = run_documents(model, "first", 3);
    cr_expect_eq(harness_count(first, "final"), 6, "a row and the end of each");
    for (uint64_t s = 1; s <= 3; s++) {
        const struct tensor *want = first_final(all, s), *got = first_final(first, s);
        cr_assert(want->shape[0] == 16 && got->shape[0] == 1 && got->shape[1] == want->shape[1]);
        cr_expect(memcmp(got->data, want->data, got->size_bytes) == 0, "document %d", (int)s);
        cr_expect_str_eq(rows_of(first, s), "first");
        cr_expect_str_eq(rows_of(all, s), "");
        cr_expect(ended(first, "final", s));
    }
    const struct tensor *tokens = frame_tensor(harness_frame(first, "final", 0), "tokens");
    cr_expect(tokens->shape[0] == 1 && *(const int32_t *)tokens->data == 1);
    harness_close(all);
    harness_close(first);
}

Test(layers_encode_rows, gives_the_first_row_alone_if_told_so)
{
    expect_first_rows(M2);
    expect_first_rows(TINY);
}

Test(layers_encode_rows, gives_no_hidden_beside_first_rows)
{
    cr_expect(refused(ARGS("--model", TINY, "--rows", "first"), ARGS("tokens"), ARGS("final", "hidden")) ==
              THEA_EUSAGE);
    cr_expect(strstr(err.message, "hidden has every position") != NULL &&
                  strstr(err.message, "--rows all") != NULL,
              "%s", err.message);
}

Test(layers_encode_rows, gives_all_rows_of_a_part_that_does_not_end_the_model)
{
    struct harness *h =
        open_ports(ARGS("--model", M2, "--rows", "first", "--blocks", "0"), "tokens", ARGS("residual"));
    int32_t tokens[20] = {0};
    feed_whole(h, 1, tokens, 20, 20);
    idle(h);
    cr_expect_eq(frame_tensor(harness_frame(h, "residual", 0), "residual")->shape[0], 64);
    harness_close(h);
}
