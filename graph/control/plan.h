/* A plan: one command line per process, one address per link. What `thea plan` prints is what `thea run`
 * starts. Several replicas of a consumer are one --out PORT=ADDRESS,ADDRESS of each sender. */
#ifndef GRAPH_CONTROL_PLAN_H
#define GRAPH_CONTROL_PLAN_H

#include "graph/control/spec.h"

struct plan_process {
    char *name;     /* "layers/1", "tokenize:0", "layers/1:0" */
    size_t stage;   /* index into spec->stages */
    size_t part;    /* 0 unless split */
    size_t replica; /* from 0, within its part */
    char **argv;    /* argv[0] is the program's absolute path; NULL-terminated */
    char **env;     /* additions, "KEY=value", NULL-terminated (OPENBLAS_NUM_THREADS=1 among them) */
    bool source, sink;
    bool gone;                      /* a replica that was taken away: it has no links */
    size_t first_block, last_block; /* if the stage is split */
};

typedef enum {
    PLAN_BY_LOAD,   /* a stream goes to the replica with the fewest */
    PLAN_BY_HASH,   /* by its id: the consumer joins several inputs, so all who send must agree */
    PLAN_BY_ORIGIN, /* back to the replica that it came from */
} plan_choice;

struct plan_link {
    uint32_t number; /* from 1 */
    size_t from, to; /* indices of processes */
    const char *from_port, *to_port;
    char *address;
    bool feedback, gone;
};

struct plan {
    const struct spec *spec;        /* borrowed */
    uint64_t run;                   /* 16 hex digits of the addresses; random */
    struct plan_process *processes; /* sources first, in the order of the graph */
    size_t process_count;
    struct plan_link *links;
    size_t link_count;
    int *replicas; /* of each stage, now: thea scale changes it */
};

THEA_CHECK thea_rc plan_make(struct plan **out, const struct spec *spec, struct thea_err *err);
void plan_free(struct plan *p);
/* How the sender of a link chooses among it and those to the other replicas of the consumer. */
plan_choice plan_link_choice(const struct plan *p, const struct plan_link *link);
/* As shell text, quoted so that it can be pasted: cli.md section 7. Programs by name where PATH finds them.
 */
void plan_print_shell(const struct plan *p, struct buf *out);
/* Cut blocks with these costs into `parts` runs of consecutive blocks so that the dearest part is cheapest;
 * ends[i] = one past the last block of part i. first_extra and last_extra belong to the first and last part.
 * parts <= count. */
void plan_cut(size_t *ends, size_t parts, const double *costs, size_t count, double first_extra,
              double last_extra);

#endif
