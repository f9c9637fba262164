/* thea new: a stage that builds and passes its own test, or a commented pipeline, in ./NAME. */
#include "bin/thea/support/command.h"
#include "graph/buf.h"
#include "graph/control/kinds.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char stage_source[] =
    "/* thea-@NAME@: scales hidden states. Replace `scale` by what your stage does. */\n"
    "#include \"graph/wire/stage.h\"\n"
    "\n"
    "#include <stddef.h>\n"
    "\n"
    "struct @ID@ {\n"
    "    double factor; /* the option */\n"
    "};\n"
    "\n"
    "enum { IN_FINAL, OUT_FINAL = 0 };\n"
    "\n"
    "/* One frame in, one frame out; tensors it does not know ride along by themselves. */\n"
    "static thea_rc @ID@_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in, "
    "struct thea_err *err)\n"
    "{\n"
    "    (void)port, (void)err;\n"
    "    const struct @ID@ *self = stage_state(st);\n"
    "    const struct tensor *x = frame_tensor(in, \"final\"); /* the runtime has checked dtype and shape "
    "*/\n"
    "    const float *from = x->data;\n"
    "    float *to = stage_buffer(st, OUT_FINAL, x->size_bytes);\n"
    "    for (uint64_t i = 0; i < tensor_elements(x); i++) to[i] = from[i] * (float)self->factor;\n"
    "    struct tensor y = tensor_2d(\"final\", TENSOR_F32, to, x->shape[0], x->shape[1]);\n"
    "    stage_put(st, s, OUT_FINAL, &y);\n"
    "    return THEA_OK;\n"
    "}\n"
    "\n"
    "static const struct stage_option @ID@_options[] = {\n"
    "    {.name = \"factor\", .type = VALUE_NUMBER, .def = \"2\", .meaning = \"what every value is "
    "multiplied by\", .offset = offsetof(struct @ID@, factor)},\n"
    "    {0}};\n"
    "static const struct stage_port @ID@_inputs[] = {{.name = \"final\", .dtype = TENSOR_F32, .shape = \"n, "
    "hidden\", .meaning = \"hidden states\"}, {0}};\n"
    "static const struct stage_port @ID@_outputs[] = {{.name = \"final\", .dtype = TENSOR_F32, .shape = \"n, "
    "hidden\", .meaning = \"the same, scaled\"}, {0}};\n"
    "\n"
    "const struct stage_ops @ID@_ops = {\n"
    "    .kind = \"@NAME@\",\n"
    "    .summary = \"hidden states times a factor\",\n"
    "    .options = @ID@_options,\n"
    "    .inputs = @ID@_inputs,\n"
    "    .outputs = @ID@_outputs,\n"
    "    .state_size = sizeof(struct @ID@),\n"
    "    .frame = @ID@_frame,\n"
    "};\n"
    "STAGE_MAIN(@ID@_ops);\n";

static const char stage_makefile[] =
    "# make builds thea-@NAME@ against the installed thea; make test runs it in a pipe.\n"
    "CFLAGS ?= -O2 -Wall -Wextra\n"
    "\n"
    "thea-@NAME@: thea-@NAME@.c\n"
    "\t$(CC) -std=gnu17 $(CFLAGS) $< $$(pkg-config --cflags --libs thea) -o $@\n"
    "\n"
    "test: thea-@NAME@\n"
    "\t./test.sh\n"
    "\n"
    "clean:\n"
    "\trm -f thea-@NAME@\n"
    "\n"
    ".PHONY: test clean\n";

static const char stage_test[] =
    "#!/bin/sh\n"
    "# A factor of 0 makes every vector zero; a factor of 1 changes nothing.\n"
    "set -eu\n"
    "cd \"$(dirname \"$0\")\"\n"
    "THEA_STAGE_PATH=$PWD\n"
    "export THEA_STAGE_PATH\n"
    "vectors() {\n"
    "    echo '{\"id\": \"a\", \"tokens\": [1, 2, 3]}' | thea load --format tokens - | thea layers -m "
    "thea-mini --emit final |\n"
    "        thea @NAME@ --factor \"$1\" | thea pool --no-normalize | thea write --format jsonl\n"
    "}\n"
    "plain=$(echo '{\"id\": \"a\", \"tokens\": [1, 2, 3]}' | thea load --format tokens - | thea layers -m "
    "thea-mini --emit final |\n"
    "    thea pool --no-normalize | thea write --format jsonl)\n"
    "[ \"$(vectors 1)\" = \"$plain\" ] || { echo \"a factor of 1 changed something\"; exit 1; }\n"
    "[ \"$(vectors 2)\" != \"$plain\" ] || { echo \"a factor of 2 changed nothing\"; exit 1; }\n"
    "vectors 0 | grep -q '\\[0\\.0, 0\\.0' || { echo \"a factor of 0 left something\"; exit 1; }\n"
    "echo \"@NAME@: ok\"\n";

static const char pipeline_source[] =
    "# @NAME@: a pipeline of thea. Check it: thea check @NAME@.yaml; run it: thea run ./@NAME@.yaml\n"
    "name: @NAME@\n"
    "doc: Bits per byte of each document, and its most surprising lines.\n"
    "model: thea-mini                 # a name (thea models) or a directory\n"
    "stages:\n"
    "  # what goes in: files, globs, directories; paths are relative to this file\n"
    "  load:     {kind: load, paths: [\"**/*.md\"]}\n"
    "  # text to token ids\n"
    "  tokenize: {kind: tokenize, from: load}\n"
    "  # the model's blocks, in two processes that work at the same time\n"
    "  layers:   {kind: layers, from: tokenize, split: 2}\n"
    "  # a record a document (thea stages score lists its options)\n"
    "  score:    {kind: score, from: layers, top: 10}\n"
    "  # a table on a terminal, else JSON Lines\n"
    "  write:    {kind: write, from: score}\n";

/* text with @NAME@ and @ID@ (a C identifier) replaced. */
static void fill_in(struct buf *out, const char *text, const char *name, const char *id)
{
    for (; *text != '\0'; text++) {
        if (strncmp(text, "@NAME@", 6) == 0)
            buf_add_text(out, name), text += 5;
        else if (strncmp(text, "@ID@", 4) == 0)
            buf_add_text(out, id), text += 3;
        else
            buf_add_char(out, *text);
    }
}

static thea_rc write_new(const char *path, const char *template, const char *name, const char *id,
                         mode_t mode, struct thea_err *err)
{
    struct buf text = {0};
    FILE *file = fopen(path, "wxe");
    if (file == NULL) return thea_fail(err, THEA_ECREATE, "new: %s: %s", path, strerror(errno));
    fill_in(&text, template, name, id);
    bool good = fwrite(buf_text(&text), 1, text.len, file) == text.len;
    good = fclose(file) == 0 && good && chmod(path, mode) == 0;
    buf_fini(&text);
    if (!good) return thea_fail(err, THEA_EIO, "new: %s: %s", path, strerror(errno));
    printf("%s\n", path);
    return THEA_OK;
}

static thea_rc check_name(const char *name, struct thea_err *err)
{
    bool good = isalpha((unsigned char)name[0]) && strlen(name) <= 40;
    for (const char *p = name; *p != '\0'; p++)
        good = good && (islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '-');
    if (good) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE,
                     "new: '%s' is no name: lower-case letters, digits and '-', a letter first, 40 at most",
                     name);
}

/* A name is a command or a kind, never both, and thea's own kinds are found before others. */
static thea_rc check_free(const char *name, struct thea_err *err)
{
    for (size_t i = 0; commands[i] != NULL; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return thea_fail(err, THEA_EUSAGE, "new: '%s' is a command of thea; a kind needs another name",
                             name);
    thea_rc rc = THEA_OK;
    char **kinds = kind_list();
    for (size_t i = 0; kinds[i] != NULL && rc == THEA_OK; i++)
        if (strcmp(kinds[i], name) == 0)
            rc = thea_fail(err, THEA_EUSAGE, "new: there is a kind '%s' already\n  kinds: thea stages", name);
    kind_list_free(kinds);
    return rc;
}

static thea_rc new_stage(const char *name, struct thea_err *err)
{
    static const struct {
        const char *file;
        const char *template;
        mode_t mode;
    } files[] = {{"thea-@NAME@.c", stage_source, 0644},
                 {"Makefile", stage_makefile, 0644},
                 {"test.sh", stage_test, 0755}};
    thea_rc taken = check_free(name, err);
    if (taken != THEA_OK) return taken;
    char id[64];
    snprintf(id, sizeof id, "%s", name);
    for (char *p = id; *p != '\0'; p++) *p = (char)(*p == '-' ? '_' : *p);
    if (mkdir(name, 0755) != 0) return thea_fail(err, THEA_ECREATE, "new: ./%s: %s", name, strerror(errno));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/", name);
        fill_in(&path, files[i].file, name, id);
        thea_rc rc = write_new(buf_text(&path), files[i].template, name, id, files[i].mode, err);
        buf_fini(&path);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

static int run(const struct command_args *args)
{
    static const char *const sorts[] = {"stage", "pipeline", NULL};
    const char *sort = args->operands[0], *name = args->operands[1];
    struct thea_err err = {0};
    thea_rc rc = check_name(name, &err);
    if (rc != THEA_OK) return thea_log_failure(&err);
    if (strcmp(sort, "stage") == 0)
        rc = new_stage(name, &err);
    else if (strcmp(sort, "pipeline") == 0) {
        char path[64];
        snprintf(path, sizeof path, "%s.yaml", name);
        rc = write_new(path, pipeline_source, name, name, 0644, &err);
    } else {
        const char *near = value_nearest(sort, sorts);
        thea_error("new: there is no template for a '%s'%s%s%s\n  usage  thea new stage|pipeline NAME", sort,
                   near != NULL ? " (did you mean '" : "", near != NULL ? near : "",
                   near != NULL ? "'?)" : "");
        return 64;
    }
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const char *const examples[] = {
    "thea new stage scale && make -C scale test   a stage in C, built and tested",
    "thea new pipeline mine && thea check mine.yaml   a commented pipeline", NULL};

const struct command command_new = {
    .name = "new",
    .operands = "stage|pipeline NAME",
    .summary = "start a stage or a pipeline of your own",
    .description = "`stage` makes ./NAME with a stage program in C, a Makefile and a test; `pipeline` makes "
                   "./NAME.yaml. Nothing is overwritten.",
    .examples = examples,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
