/* The recorded M2-BERT models: cases of documents of one length, run as a batch. */
#ifndef TESTS_NN_M2BERT_H
#define TESTS_NN_M2BERT_H

#include "nn/model.h"
#include "nn/weights/safetensors.h"

struct m2_case {
    char dir[512], prefix[16]; /* "n13.": in front of the case's names in the golden */
    struct weight_file file;
    struct workers *workers;
    struct model *model;
    int32_t *tokens; /* [docs, length] */
    size_t docs, length, rows, C, blocks;
    struct span *spans;
};

/* A case by name ("full" has no prefix) of tests/goldens/<golden>; aborts the test when anything is missing.
 */
void m2_open(struct m2_case *c, const char *golden, const char *name, int threads);
void m2_close(struct m2_case *c);
/* The recorded tensor `<prefix><name>` of so many elements. */
const float *m2_recorded(const struct m2_case *c, const char *name, size_t elements);
/* x [rows, C] = what enters block 0. */
void m2_embed(const struct m2_case *c, float *x);
float *m2_floats(size_t n);
/* max |a - b| / max |b|; NaN anywhere gives infinity. */
double m2_distance(const float *a, const float *b, size_t n);

#endif
