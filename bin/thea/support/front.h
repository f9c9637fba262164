/* Fronts: commands that run the pipeline of their name with their options and operands put in. What is put in
 * gathers here as the texts of --set. */
#ifndef BIN_THEA_FRONT_H
#define BIN_THEA_FRONT_H

#include "bin/thea/support/launch.h"

struct front {
    char **sets;
    size_t count;
};

/* STAGE.OPTION=value, as plain text: not for what a user may begin with '[', '{' or a quote. Dashes of the
 * option become underscores. */
void front_set(struct front *f, const char *stage, const char *option, const char *value);
/* STAGE.OPTION="text", which may hold anything. */
void front_set_text(struct front *f, const char *stage, const char *option, const char *text);
/* key=["…", "…"]: the texts may hold anything. */
void front_set_list(struct front *f, const char *key, const char *const *texts, size_t count);
void front_fini(struct front *f);

/* What all fronts take from a command line: model, threads, run-dir, progress, quiet. The rest is the
 * caller's to add; sets are borrowed from f. */
struct launch front_launch(const struct front *f, const char *pipeline, const struct command_args *args);

/* Rows for a front's option table. */
extern const char *const front_progress_choices[];
#define FRONT_OPTIONS                                                                                        \
    {"threads", 0, VALUE_INT, "N", "threads of each stage", NULL},                                           \
        {"run-dir", 0, VALUE_PATH, "DIR", "where logs and reports go: a new or empty directory", NULL},      \
    {                                                                                                        \
        "progress", 0, VALUE_CHOICE, "WHEN", "plain: a line every 10 s", front_progress_choices              \
    }

#endif
