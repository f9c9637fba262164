/* thea embed: the front of pipelines/embed.yaml. One vector a document, as lines of JSON. */
#include "bin/thea/support/front.h"

#include <unistd.h>

static const struct command_option embed_options[] = {
    {"model", 'm', VALUE_MODEL, "MODEL", "a name or a directory", NULL},
    {"jsonl", 0, VALUE_PATH, "FILE", "a file of records, {\"id\": …, \"text\": …} a line; - is stdin", NULL},
    {"prompt", 0, VALUE_TEXT, "NAME|TEXT",
     "in front of each text: a name that the model has a prompt by (query, document), or the text", NULL},
    {"output", 'o', VALUE_PATH, "FILE", "where they go: .jsonl, .tsv, .npy", NULL},
    FRONT_OPTIONS,
    {0},
};

static const char *const embed_examples[] = {
    "thea embed -m MODEL notes/*.md > vectors.jsonl",
    "thea embed -m MODEL -o vectors.npy notes   rows in vectors.npy, their ids in vectors.ids.txt",
    "echo 'a text' | thea embed",
    "thea embed -m E5 --prompt 'query: ' questions.jsonl   in front of each text, where the model wants it",
    NULL,
};

static int run_embed(const struct command_args *args)
{
    static const char *const standard_input[] = {"-", NULL};
    const char *jsonl = command_value(args, "jsonl"), *output = command_value(args, "output");
    struct front front = {0};
    if (jsonl != NULL && args->operand_count > 0) {
        thea_error(
            "embed: FILEs and --jsonl exclude each other (a FILE that ends in .jsonl is read as records)");
        return THEA_EUSAGE;
    }
    if (jsonl == NULL && args->operand_count == 0 && isatty(STDIN_FILENO) == 1) {
        thea_error("embed: no document\n  try    thea embed notes/*.md");
        return THEA_EUSAGE;
    }
    if (jsonl != NULL) front_set(&front, "load", "format", "jsonl");
    if (command_value(args, "prompt") != NULL)
        front_set_text(&front, "tokenize", "prompt", command_value(args, "prompt"));
    if (output == NULL) front_set(&front, "write", "format", "jsonl");
    struct launch launch = front_launch(&front, "embed", args);
    launch.overrides.inputs = args->operand_count > 0 ? args->operands
                              : jsonl != NULL         ? &jsonl
                                                      : standard_input;
    launch.overrides.input_count = args->operand_count > 0 ? args->operand_count : 1;
    launch.overrides.output = output;
    int status = launch_pipeline(&launch);
    front_fini(&front);
    return status;
}

const struct command command_embed = {
    .name = "embed",
    .operands = "[FILE…]",
    .summary = "one vector a document, as lines of JSON",
    .description =
        "Prints {\"id\": …, \"embedding\": […]} for each document: files, directories, globs, or standard "
        "input "
        "as one.\n"
        "Pooled and normalised as the model says. It runs the pipeline `embed`: `thea plan embed` shows its "
        "processes.",
    .options = embed_options,
    .examples = embed_examples,
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run_embed,
};
