/* Recorded values of the reference implementation, for the tests of nn. */
#ifndef TESTS_NN_GOLDEN_H
#define TESTS_NN_GOLDEN_H

#include "graph/json.h"
#include "nn/model.h"
#include "nn/weights/safetensors.h"

struct golden {
    char dir[512], model_dir[512];
    struct weight_file file;
    struct json_node *about; /* golden.json */
    int32_t *tokens;
    size_t count;
};

extern const char *const golden_names[]; /* NULL-terminated */
void golden_open(struct golden *g,
                 const char *name); /* aborts the test by name when it is missing or damaged */
void golden_close(struct golden *g);
const float *golden_values(const struct golden *g, const char *name, size_t elements);
double golden_tolerance(const struct golden *g, const char *group);
/* The largest |a - b|; NaN anywhere gives infinity. */
double golden_distance(const float *a, const float *b, size_t n);

/* A model with its workers. */
struct opened {
    struct workers *workers;
    struct model *model;
    struct model_state *state;
};
void opened_init(struct opened *o, const char *dir, size_t first, size_t last, int threads);
void opened_fini(struct opened *o);
/* nll [count - 1] of tokens through parts that begin at the blocks `cuts` (ended by SIZE_MAX; the first is
 * 0), chunk by chunk. */
void score_in_parts(float *nll, const char *dir, const int32_t *tokens, size_t count, const size_t *cuts,
                    size_t chunk, int threads);

#endif
