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

typedef enum { SPEC_RESTART_ON_FAILURE, SPEC_RESTART_NEVER, SPEC_RESTART_ALWAYS } spec_restart;
typedef enum { SPEC_ON_ERROR_RETRY, SPEC_ON_ERROR_SKIP, SPEC_ON_ERROR_STOP } spec_on_error;

#define SPEC_DEADLINE_NS INT64_C(60000000000)
enum { SPEC_TRIES = 3, SPEC_REPLICAS_WINDOW = 8 /* of a stage that has several */ }; /* defaults */

struct spec_stage {
    char *name, *kind, *program; /* program: absolute path */
    struct diag_place place;
    const struct json_node *table; /* --describe with its options filled in; borrowed */
    struct spec_option *options;   /* the kind's own */
    size_t option_count;
    char *model;                /* absolute; NULL if the kind has no model option */
    int threads, window, split; /* window 0: default */
    int replicas;               /* of each part */
    spec_restart restart;
    spec_on_error on_error;
    int tries;            /* of a stream, before it is set aside */
    int64_t memory_bytes; /* of each process: its own, mapped weights not counted; 0: no limit */
    int64_t deadline_ns;  /* without progress though there is input and credit: then it hangs */
    int in_flight;        /* a source's: streams that are not committed, at most; 0: as the stage has it */
    int64_t spill_bytes;  /* of each incoming link: what may wait on disk; 0: nothing */
    char **env;           /* "KEY=value", NULL-terminated */
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

/* The keys that every stage has, as a list of options such as --describe prints. Flags: "source" and "input":
 * of stages without and with inputs alone; "inner": neither of sources nor of sinks. Static. */
const struct json_node *spec_common_options(void);
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
