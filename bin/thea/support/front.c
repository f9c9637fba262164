/* Fronts of pipelines: see front.h. */
#include "bin/thea/support/front.h"

#include "graph/buf.h"
#include "graph/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const front_progress_choices[] = {"auto", "plain", "off", NULL};

static void add(struct front *f, char *text)
{
    f->sets = reallocarray(f->sets, f->count + 1, sizeof *f->sets);
    if (f->sets == NULL) abort();
    f->sets[f->count++] = text;
}

void front_set(struct front *f, const char *stage, const char *option, const char *value)
{
    struct buf set = {0};
    buf_printf(&set, "%s.%s=%s", stage, option, value);
    for (char *c = set.data + strlen(stage); *c != '='; c++)
        if (*c == '-') *c = '_';
    add(f, buf_take(&set));
}

/* JSON strings are YAML strings. */
void front_set_text(struct front *f, const char *stage, const char *option, const char *text)
{
    struct json_node *node = json_new_string(text);
    char *json = json_print(node, 0, 0);
    front_set(f, stage, option, json);
    free(json);
    json_free(node);
}

void front_set_list(struct front *f, const char *key, const char *const *texts, size_t count)
{
    struct json_node *list = json_new_list();
    struct buf set = {0};
    for (size_t i = 0; i < count; i++) json_append(list, json_new_string(texts[i]));
    char *json = json_print(list, 0, 0);
    buf_printf(&set, "%s=%s", key, json);
    add(f, buf_take(&set));
    free(json);
    json_free(list);
}

void front_fini(struct front *f)
{
    for (size_t i = 0; i < f->count; i++) free(f->sets[i]);
    free(f->sets);
    *f = (struct front){0};
}

struct launch front_launch(const struct front *f, const char *pipeline, const struct command_args *args)
{
    const char *progress = command_value(args, "progress");
    bool plain = progress != NULL && strcmp(progress, "plain") == 0;
    return (struct launch){
        .pipeline = pipeline,
        .overrides = {.sets = (const char *const *)f->sets,
                      .set_count = f->count,
                      .model = command_value(args, "model"),
                      .threads = command_int(args, "threads", 0)},
        .run_dir = command_value(args, "run-dir"),
        .progress = plain ? LAUNCH_PROGRESS_PLAIN : LAUNCH_PROGRESS_OFF,
        .quiet = command_flag(args, "quiet", false),
        .summary = isatty(STDERR_FILENO) == 1,
        .argc = args->argc,
        .argv = args->argv,
    };
}
