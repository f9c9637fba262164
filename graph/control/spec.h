/* A pipeline file, checked: from YAML with marks to stages, typed options, ports and edges. specs/cli.md
 * section 4. */
#ifndef GRAPH_CONTROL_SPEC_H
#define GRAPH_CONTROL_SPEC_H

#include "graph/control/diag.h"
#include "graph/control/kinds.h"
#include "graph/value.h"

struct spec_option {
    const char *name;
    char **values;
    size_t count;
    bool is_list;
}; /* as text, paths absolute; only what was given (file, --set, operands) */

struct spec_edge {   /* producer's port -> consumer's port */
    size_t from, to; /* indices of stages */
    const char *from_port, *to_port;
    char *pattern; /* "f32 [n, 128]" */
    bool feedback;
};

struct spec_stage {
    char *name, *kind, *program; /* program: absolute path */
    struct diag_place place;
    const struct json_node *table; /* --describe with its options filled in; borrowed */
    struct spec_option *options;   /* the kind's own */
    size_t option_count;
    char *model;                /* absolute; NULL if the kind has no model option */
    int threads, window, split; /* window 0: default */
    char **env;                 /* "KEY=value", NULL-terminated */
    bool source, sink;
};

struct spec {
    char *file, *name, *doc;   /* file: absolute; "-" for stdin */
    struct spec_stage *stages; /* in file order */
    size_t stage_count;
    struct spec_edge *edges; /* in order of the consumers; feedback last */
    size_t edge_count;
};

/* What the command line adds. All borrowed; NULL or 0: nothing. */
struct spec_overrides {
    const char *const *sets; /* "STAGE.option=value", "model=…" */
    size_t set_count;
    const char *model;         /* -m */
    const char *const *inputs; /* replace `paths` of the only source that has operands */
    size_t input_count;
    const char *output; /* -o: `output` of the only stage that has one */
    int threads;        /* 0: as the file says */
};

/* NAME or path to a path (free it): cli.md section 2. Errors: THEA_ENOINPUT with where it looked and the
 * nearest name. */
THEA_CHECK thea_rc spec_find(char **path, const char *name, struct thea_err *err);
/* Read and check. Mistakes of the file go to diags (then the result is THEA_ECONFIG and err says how many);
 * mistakes of the overrides give THEA_EUSAGE in err alone. */
THEA_CHECK thea_rc spec_load(struct spec **out, const char *path, const struct spec_overrides *o,
                             struct diag_list *diags, struct thea_err *err);
/* The same from text (Markdown blocks, stdin): `first_line` is the line of its first line in file. */
THEA_CHECK thea_rc spec_parse(struct spec **out, const char *text, size_t len, const char *file,
                              size_t first_line, const struct spec_overrides *o, struct diag_list *diags,
                              struct thea_err *err);
void spec_free(struct spec *s);
/* As YAML, resolved: every path absolute, nothing left to look up (rundir's pipeline.yaml). */
void spec_print(const struct spec *s, struct buf *out);

#endif
