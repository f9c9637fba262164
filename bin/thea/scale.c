/* thea scale: more or fewer replicas of a stage, while its run goes on. */
#include "bin/thea/support/ask.h"
#include "bin/thea/support/command.h"

#include <stdlib.h>
#include <string.h>

/* "layers=3" to a question; NULL, and told, if it is none. */
static struct json_node *question_of(const char *operand)
{
    const char *equals = strchr(operand, '=');
    struct value_limits limits = {1, 1024, NULL};
    struct thea_err err;
    struct value n;
    if (equals == NULL || equals == operand) {
        thea_error("scale: '%s' is not STAGE=N\n  usage  thea scale [RUN] STAGE=N…", operand);
        return NULL;
    }
    if (value_parse(&n, VALUE_INT, &limits, equals + 1, &err) != THEA_OK) {
        thea_error("scale: %s: %s", operand, thea_err_message(&err));
        return NULL;
    }
    struct json_node *question = ask_question("scale");
    json_put(question, "stage", json_new_text(operand, (size_t)(equals - operand)));
    json_put(question, "replicas", json_new_int(n.integer));
    return question;
}

/* All operands are looked at before the run is asked for anything. */
static int run(const struct command_args *args)
{
    size_t first = strchr(args->operands[0], '=') == NULL, count = args->operand_count - first;
    if (count == 0) {
        thea_error("scale: how many of which stage?\n  usage  thea scale [RUN] STAGE=N…");
        return THEA_EUSAGE;
    }
    struct json_node **questions = calloc(count, sizeof *questions);
    if (questions == NULL) abort();
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        questions[i] = question_of(args->operands[first + i]);
        if (questions[i] == NULL) status = THEA_EUSAGE;
    }
    if (status == 0)
        status = ask_run(first == 1 ? args->operands[0] : NULL, questions, count);
    else
        for (size_t i = 0; i < count; i++) json_free(questions[i]);
    free(questions);
    return status;
}

static const struct command_option options[] = {{0}};
static const char *const examples[] = {
    "thea scale layers=4   four replicas of that stage, in the only live run",
    "thea scale score tokenize=1 layers=2", NULL};

const struct command command_scale = {
    .name = "scale",
    .operands = "[RUN] STAGE=N…",
    .summary = "change how many replicas a stage has, while its run goes on",
    .description =
        "New replicas get new documents; one that is taken away finishes what it has begun. No document is\n"
        "lost or done twice. Returns when the run has begun to change.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
