/* What the files spec*.c share: the reader of one pipeline file. Nobody else includes this. */
#ifndef GRAPH_CONTROL_SPEC_INTERNAL_H
#define GRAPH_CONTROL_SPEC_INTERNAL_H

#include "graph/control/spec.h"
#include "graph/control/yaml.h"

/* One stage while it is read, beside its spec_stage. */
struct spec_draft {
    const struct yaml_node *key, *node; /* node: a map */
    const struct json_node
        *plain; /* the kind's table without options; NULL: the kind is unknown, say no more of it */
    const struct json_node *table; /* with options filled in; NULL: the kind is unknown */
    const struct yaml_node *model; /* where its model was named; NULL: nowhere in file or command line */
    const struct yaml_node *split;
    bool failed; /* its options do not hold: table is the plain one */
};

struct spec_reader {
    struct spec *spec;
    struct spec_draft *drafts; /* as many as spec->stages */
    struct yaml_node *root;
    const char *file;        /* as the user named it */
    char *dir, *cwd;         /* what paths in the file, on the command line, are relative to */
    struct diag_list *diags; /* of the file */
    struct diag_list *cli;   /* of what the command line adds */
    thea_rc cli_rc;          /* of the first of them */
    size_t damaged;          /* of diags: models that are there but bad */
    const struct spec_overrides *overrides;
    char **labels; /* "--set layers.chunk=0": files of nodes from the command line */
    size_t label_count;
};

void *spec_must(void *memory); /* aborts on NULL */

/* --- reporting (spec.c): to diags, or to cli when the node came from the command line --- */
void spec_report(struct spec_reader *r, const char *code, const struct yaml_node *at, const char *details,
                 const char *fmt, ...) THEA_PRINTF(5, 6);
void spec_report_rc(struct spec_reader *r, thea_rc rc, const char *code, const struct yaml_node *at,
                    const char *details, const char *text);
/* "…unknown option 'x' (did you mean 'y'?)": adds the question if one of names is near. */
void spec_add_nearest(struct buf *message, const char *word, const char *const *names);
bool spec_from_cli(const struct yaml_node *node);

/* --- reading (spec_read.c) --- */
bool spec_good_name(const char *name);
void spec_read_top(struct spec_reader *r);    /* name, doc, model, env, defaults; unknown keys */
void spec_read_stages(struct spec_reader *r); /* names and kinds; makes spec->stages and drafts */
const char *const *spec_top_keys(void);

/* --- overrides (spec_set.c) --- */
thea_rc spec_apply_sets(struct spec_reader *r, struct thea_err *err); /* before anything is read */
thea_rc spec_apply_operands(struct spec_reader *r,
                            struct thea_err *err); /* -m, inputs, -o: once kinds are known */

/* --- keys of every stage (spec_common.c) --- */
bool spec_is_common(const char *key);
const char *const *spec_common_keys(void); /* sorted, NULL-terminated */
void spec_check_defaults(struct spec_reader *r);
void spec_read_common(struct spec_reader *r, size_t stage);
void spec_check_common(struct spec_reader *r); /* keys that a stage cannot have; once the tables are known */

/* --- options (spec_options.c, spec_values.c) --- */
void spec_read_options(struct spec_reader *r, size_t stage);
void spec_describe(struct spec_reader *r,
                   size_t stage); /* the full table, with its messages at the right place */
const struct json_node *spec_table_option(const struct json_node *table, const char *name);
void spec_add_option(struct spec_stage *stage, struct spec_option option); /* which the stage then owns */
bool spec_option_flag(const struct json_node *option, const char *flag);
value_type spec_option_type(const struct json_node *option);
/* One option's value as texts, checked and with absolute paths. false: reported; `where` begins the messages:
 * "stage 'layers'". */
bool spec_value(struct spec_reader *r, const char *where, const struct json_node *option,
                const struct yaml_node *key, const struct yaml_node *value, struct spec_option *out);
void spec_option_fini(struct spec_option *o);
struct value_limits spec_option_limits(const struct json_node *option,
                                       const char ***choices); /* free *choices */
bool spec_scalar(struct spec_reader *r, const char *what, const struct yaml_node *key,
                 const struct yaml_node *value, const char *details); /* text, not null, list or map */
bool spec_integer(struct spec_reader *r, const char *what, const struct yaml_node *key,
                  const struct yaml_node *value, long min, long max, long *out);
char *spec_absolute(const char *path, const char *dir); /* ".", ".." and "//" taken out */
/* A stage's model (first) and options as words of a command line, NULL-terminated; free with spec_words_free.
 * Operands are last: *operands is the index of the first word that belongs to them (NULL: not wanted). */
char **spec_command_options(const struct spec_stage *stage, size_t *operands);
void spec_words_free(char **words);

/* --- ports and edges (spec_ports.c, spec_edges.c) --- */
const struct json_node *port_list(const struct json_node *table, bool outputs);
const struct json_node *port_find(const struct json_node *table, bool outputs, const char *name);
const char *port_name(const struct json_node *port);
bool port_flag(const struct json_node *port, const char *flag);
bool port_fits(const struct json_node *out, const struct json_node *in);
bool port_same_dtype(const struct json_node *out, const struct json_node *in);
char *port_pattern(const struct json_node *port); /* "f32 [n, 128]"; free it */
char *port_names(const struct json_node *table,
                 bool outputs); /* "nll f32 [n], final f32 [n, 128]"; free it */
struct port_binding {
    const char *symbol;
    int64_t value;
    const struct json_node *by;
    struct port_binding *next;
}; /* of one consumer */
/* Bind the consumer's symbols to the producer's numbers. NULL, or what does not hold (free it). */
char *port_bind(struct port_binding **bindings, const struct json_node *out, const struct json_node *in);
void port_bindings_free(struct port_binding *bindings);
char *port_givers(const struct json_node
                      *in); /* kinds with an output for this input: "layers, pool"; NULL if none; free it */

struct spec_reference {
    size_t stage;
    const struct json_node *port;
    bool named_port;
}; /* what "stage.port" names; port NULL: none named */
/* false: reported. */
bool spec_resolve(struct spec_reader *r, size_t reader, const struct yaml_node *key,
                  const struct yaml_node *node, struct spec_reference *out);
void spec_report_mismatch(struct spec_reader *r, size_t consumer, const struct yaml_node *at,
                          struct spec_reference ref, const struct json_node *input, const char *why);
void spec_add_edge(struct spec_reader *r, size_t from, size_t to, const struct json_node *out,
                   const struct json_node *in, bool feedback);
void spec_read_edges(struct spec_reader *r); /* from, unconnected inputs, loops */
void spec_read_loops(struct spec_reader *r); /* cycles, feedback (spec_loops.c) */
void spec_check_split(struct spec_reader *r);
void spec_check_links(struct spec_reader *r); /* spec_links.c: are there too many of one process? */
size_t spec_find_stage(const struct spec *s, const char *name, size_t len); /* SIZE_MAX: none */
void spec_decide_rows(struct spec_reader *r); /* spec_rows.c: who gives the first row of a stream alone? */
bool spec_reaches(const struct spec *s, size_t from, size_t to); /* along forward edges */

#endif
