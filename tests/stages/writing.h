/* What the tests of the kind write share: a stage, documents for it, what it wrote. */
#ifndef TESTS_STAGES_WRITING_H
#define TESTS_STAGES_WRITING_H

#include "tests/stages/helpers.h"

extern const struct stage_ops write_ops;

__attribute__((unused)) static struct harness *open_write(const char *const *args, const char *port)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open_ports(&h, &write_ops, args, ARGS(port), NULL, &err), THEA_OK, "%s",
                 err.message);
    return h;
}

__attribute__((unused)) static void feed_text(struct harness *h, const char *port, uint64_t stream,
                                              const char *id, const char *text)
{
    struct tensor t =
        tensor_1d(strcmp(port, "record") == 0 ? "record" : "text", TENSOR_U8, text, strlen(text));
    feed_tensors(h, port, stream, id, 0, &t, 1);
}

__attribute__((unused)) static void feed_floats(struct harness *h, const char *port, uint64_t stream,
                                                const char *id, const float *values, size_t n)
{
    struct tensor t = tensor_1d(port, TENSOR_F32, values, n);
    feed_tensors(h, port, stream, id, 0, &t, 1);
}

__attribute__((unused)) static void finish(struct harness *h, const char *port)
{
    feed_kind(h, port, 0, FRAME_EOF);
    harness_close(h);
}

__attribute__((unused)) static void expect_file(const char *path, const char *expected)
{
    char *text = get_file(path, NULL);
    cr_assert_not_null(text, "no file %s", path);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* Nothing but `names` is in the scratch directory. */
__attribute__((unused)) static void expect_only(size_t files)
{
    size_t n = 0;
    char command[PATH_MAX + 32];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", scratch);
    FILE *f = popen(command, "r");
    cr_assert_eq(fscanf(f, "%zu", &n), 1);
    pclose(f);
    cr_assert_eq(n, files, "%zu files are left, not %zu", n, files);
}

__attribute__((unused)) static void expect_refused(const char *const *args, const char *port,
                                                   thea_rc expected, const char *part)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    thea_rc rc = harness_open_ports(&h, &write_ops, args, ARGS(port), NULL, &err);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

/* --- a run that survives crashes: documents of a port, the same whenever they come --- */

#define KEPT(...) ARGS("--run-dir", scratch, "--name", "write", __VA_ARGS__)

enum { DOCUMENTS = 6 };

__attribute__((unused)) static void feed_document(struct harness *h, const char *port, uint64_t i)
{
    char id[32], text[64];
    float numbers[4] = {(float)i, 0.5F, -1, (float)i * 3};
    int32_t ids[3] = {(int32_t)i, 7, -1};
    struct tensor t[2];
    size_t count = 1;
    snprintf(id, sizeof id, "doc%d", (int)i);
    if (strcmp(port, "record") == 0) {
        snprintf(text, sizeof text, "{\"id\": \"%s\", \"n\": %d}", id, (int)i);
        t[0] = tensor_1d("record", TENSOR_U8, text, strlen(text));
    } else if (strcmp(port, "text") == 0) {
        snprintf(text, sizeof text, i % 2 == 0 ? "text of %d" : "text of %d\n", (int)i);
        t[0] = tensor_1d("text", TENSOR_U8, text, strlen(text));
    } else if (strcmp(port, "vector") == 0) {
        t[0] = tensor_1d("vector", TENSOR_F32, numbers, 4);
    } else if (strcmp(port, "tokens") == 0) {
        t[0] = tensor_1d("tokens", TENSOR_I32, ids, 3);
    } else {
        t[0] = tensor_2d("hidden.0", TENSOR_F32, numbers, 2, 2);
        t[1] = tensor_2d("hidden.1", TENSOR_F32, numbers, 1, 2);
        count = 2;
    }
    feed_tensors(h, port, i, id, 0, t, count);
    feed_kind(h, port, i, FRAME_END);
}

__attribute__((unused)) static void feed_range(struct harness *h, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) feed_document(h, "record", i);
}

/* The next is another run. */
__attribute__((unused)) static void forget_run(void)
{
    remove("journal/write");
    remove("journal/write.rows");
}

#endif
