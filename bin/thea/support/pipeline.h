/* What commands that take a pipeline have in common: the options that change it, and reading it with its
 * mistakes printed. */
#ifndef BIN_THEA_PIPELINE_H
#define BIN_THEA_PIPELINE_H

#include "bin/thea/support/command.h"
#include "graph/control/spec.h"

/* Rows for a command's option table. */
#define PIPELINE_OPTIONS                                                                                     \
    {"set",                                                                                                  \
     0,                                                                                                      \
     VALUE_TEXTS,                                                                                            \
     "STAGE.OPTION=VALUE",                                                                                   \
     "change an option of a stage, or a key such as model=NAME; repeatable",                                 \
     NULL},                                                                                                  \
    {                                                                                                        \
        "model", 'm', VALUE_MODEL, "MODEL", "the pipeline's model", NULL                                     \
    }

/* The overrides of a command line: --set, -m and, where the command has them, -o, --threads and the operands
 * from `first_input` on. Borrowed from args; free with pipeline_overrides_fini. */
void pipeline_overrides(struct spec_overrides *out, const struct command_args *args, size_t first_input);
void pipeline_overrides_fini(struct spec_overrides *o);

/* Find NAME (or path) and read it. Mistakes are printed on stderr. The result is the exit status; *out is
 * filled when it is 0. */
THEA_CHECK int pipeline_load(struct spec **out, const char *name, const struct spec_overrides *o);
/* "2 errors in embed.yaml (thea explain E061)": the line that closes diagnostics; nothing when there are
 * none. */
void pipeline_add_count(struct buf *out, const struct diag_list *diags, size_t first, const char *file);

#endif
