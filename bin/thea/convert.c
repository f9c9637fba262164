/* thea convert: a model's directory written anew, in safetensors, in another dtype. */
#include "bin/thea/support/command.h"
#include "bin/thea/support/model_dir.h"
#include "graph/buf.h"
#include "graph/json.h"
#include "kernels/kernels.h"
#include "nn/weights/find.h"
#include "nn/weights/save.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 1 << 20, PLAIN_EVERY_S = 10 };

static volatile sig_atomic_t stopped; /* by which signal */

static void stop(int signal_number)
{
    stopped = signal_number;
}

struct progress {
    bool line, plain;
    double shown; /* when, in seconds */
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool show_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *p = context;
    double now = now_s();
    char a[16], b[16];
    if (p->line && (now - p->shown > 0.1 || done == total)) {
        fprintf(stderr, "\r\033[Kconvert %s of %s%s", value_format_bytes(a, done),
                value_format_bytes(b, total), done == total ? "\r\033[K" : "");
        p->shown = now;
    } else if (p->plain && now - p->shown > PLAIN_EVERY_S) {
        fprintf(stderr, "convert: %s of %s\n", value_format_bytes(a, done), value_format_bytes(b, total));
        p->shown = now;
    }
    return stopped == 0;
}

/* Numbers as short as they can be without another value: 1e-12, not 9.9999999999999998e-13. */
static char *print_config(const struct json_node *config)
{
    char *exact = json_print(config, 0, 17), *text = json_print(config, 2, 15);
    struct json_node *back = NULL;
    struct thea_err err;
    char *again = json_parse(&back, text, strlen(text), "config.json", &err) == THEA_OK
                      ? json_print(back, 0, 17)
                      : NULL;
    if (again == NULL || strcmp(exact, again) != 0) {
        free(text);
        text = json_print(config, 2, 17);
    }
    json_free(back);
    free(again);
    free(exact);
    return text;
}

/* config.json with the dtype that the weights have now. *tied: as it says, true when it does not. */
static thea_rc write_config(const struct model_dir *to, bool *tied, const char *from,
                            const struct dtype *dtype, struct thea_err *err)
{
    struct buf path = {0}, text = {0};
    struct json_node *config = NULL;
    buf_printf(&path, "%s/config.json", from);
    thea_rc rc = json_read_file(&config, buf_text(&path), CONFIG_BYTES_MAX, err);
    if (rc == THEA_OK && json_kind(config) != JSON_MAP_)
        rc = thea_fail(err, THEA_EDATA, "%s: expected a JSON object, found %s", buf_text(&path),
                       json_kind_name(json_kind(config)));
    if (rc == THEA_OK) {
        *tied = json_bool_or(config, "tie_word_embeddings", true);
        bool new_key = json_member(config, "dtype") != NULL,
             old_key = json_member(config, "torch_dtype") != NULL;
        if (dtype != NULL && new_key) json_put(config, "dtype", json_new_string(dtype->torch));
        if (dtype != NULL && (old_key || !new_key))
            json_put(config, "torch_dtype", json_new_string(dtype->torch));
        char *json = print_config(config);
        buf_printf(&text, "%s\n", json);
        free(json);
        rc = model_dir_write(to, "config.json", buf_text(&text), err);
    }
    json_free(config);
    buf_fini(&text);
    buf_fini(&path);
    return rc;
}

static thea_rc write_weights(const struct model_dir *to, const char *from, const struct save_options *options,
                             struct save_report *report, struct thea_err *err)
{
    struct weights *w = NULL;
    struct buf path = {0};
    buf_printf(&path, "%s/model.safetensors", to->work);
    thea_rc rc = weights_open(&w, from, err);
    if (rc == THEA_OK) {
        rc = weights_verify(w, from, err);
        if (rc == THEA_OK) {
            rc = weights_save(w, buf_text(&path), options, report, err);
            if (rc == THEA_EDATA) rc = thea_fail_prefix(err, "%s", from);
        }
        weights_close(w);
    }
    buf_fini(&path);
    return rc;
}

static thea_rc convert(const char *from, const char *to, struct save_options *options, struct thea_err *err)
{
    struct model_dir dir;
    struct save_report report;
    thea_rc rc = model_dir_begin(&dir, to, err);
    if (rc == THEA_OK) rc = model_dir_copy(&dir, from, err);
    if (rc == THEA_OK) rc = write_config(&dir, &options->tied, from, options->dtype, err);
    if (rc == THEA_OK) rc = write_weights(&dir, from, options, &report, err);
    if (rc == THEA_OK) rc = model_dir_finish(&dir, err);
    model_dir_abandon(&dir);
    if (rc != THEA_OK) return rc;
    char bytes[16], values[28];
    thea_info("convert: %s: %zu tensors, %s%s", to, report.tensors, value_format_bytes(bytes, report.bytes),
              report.shared > 0 ? ", the head shared with the table of words" : "");
    if (report.infinite > 0)
        thea_warning("convert: %s values are too large for %s and became infinite, the first in %s",
                     value_format_count(values, report.infinite), options->dtype->torch,
                     report.infinite_name);
    return THEA_OK;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static int run(const struct command_args *args)
{
    const char *dtype = command_value(args, "dtype"), *when = command_value(args, "progress");
    struct thea_err err = {0};
    struct progress progress = {.line =
                                    (when == NULL || strcmp(when, "auto") == 0) && isatty(STDERR_FILENO) == 1,
                                .plain = when != NULL && strcmp(when, "plain") == 0,
                                .shown = now_s()};
    struct save_options options = {
        .kernels = kernels_select(NULL), .progress = show_progress, .context = &progress};
    if (dtype != NULL && strcmp(dtype, "keep") != 0)
        options.dtype = dtype_of(strcmp(dtype, "f32") == 0   ? TENSOR_F32
                                 : strcmp(dtype, "f16") == 0 ? TENSOR_F16
                                                             : TENSOR_BF16);
    char *from = NULL;
    catch_signals();
    thea_rc rc = model_find(&from, args->operands[0], FIND_CONFIG | FIND_WEIGHTS, &err);
    if (rc == THEA_OK) rc = convert(from, args->operands[1], &options, &err);
    free(from);
    if (stopped != 0 && rc != THEA_OK) return 128 + stopped;
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const char *const dtypes[] = {"keep", "f32", "bf16", "f16", NULL};
static const char *const progress_choices[] = {"auto", "plain", "off", NULL};
static const struct command_option options[] = {
    {"dtype", 0, VALUE_CHOICE, "DTYPE", "of the weights: f32, bf16, f16, or keep (default) as they are",
     dtypes},
    {"progress", 0, VALUE_CHOICE, "WHEN",
     "auto: one line if stderr is a terminal; plain: a line every 10 s; off", progress_choices},
    {0}};
static const char *const examples[] = {
    "thea convert org/model ./model-bf16 --dtype bf16   half the size, for thea and for transformers",
    "thea convert ./m2-bert-80M-32k-retrieval ./m2   pytorch_model.bin to safetensors, values kept", NULL};

const struct command command_convert = {
    .name = "convert",
    .operands = "MODEL OUT",
    .summary = "write a model anew: safetensors, another dtype",
    .description = "Reads safetensors or pytorch_model.bin and writes the directory OUT, which must be new: "
                   "model.safetensors,\n"
                   "config.json with the new dtype, and the tokenizer and other files as they are. Floating "
                   "tensors are rounded to\n"
                   "the nearest, integers kept. OUT appears when it is whole; nothing of the model is run.",
    .options = options,
    .examples = examples,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
