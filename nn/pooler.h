/* Pooling: how a document's vector is made of its hidden states. What a model wants is read from the files of
 * sentence encoders (modules.json, 1_Pooling/config.json), else its family knows. */
#ifndef NN_POOLER_H
#define NN_POOLER_H

#include "nn/gradients.h"
#include "nn/model.h"

struct pooling {
    model_pooling how;
    bool normalize; /* then to length 1 */
};

/* Errors: as model_read_info; THEA_EDATA for files that ask for something else, by its name. */
THEA_CHECK thea_rc pooling_read(struct pooling *out, const char *dir, struct thea_err *err);
const char *pooling_name(model_pooling how); /* "mean" */

/* An encoder's own pooler: tanh(W h + b) of the first position's hidden state h. */
struct pooler;
/* Does config.json promise one? Errors: THEA_EUSAGE with what is accepted. */
THEA_CHECK thea_rc pooler_check(const char *dir, struct thea_err *err);
/* Opens the pooler's weights alone. Errors: as pooler_check, THEA_EDATA when the file has none. */
THEA_CHECK thea_rc pooler_open(struct pooler **out, const char *dir, const struct kernels *kernels,
                               struct thea_err *err);
void pooler_close(struct pooler *p);
size_t pooler_width(const struct pooler *p);
/* y [C] of h [C]: one document's. Sums are made in double. */
void pooler_forward(const struct pooler *p, float *y, const float *h);
/* dh [C] = gradient of h, of dy [C] and forward's y [C]; the weights' are added to g. */
void pooler_backward(const struct pooler *p, float *dh, const float *dy, const float *y, const float *h,
                     struct gradients *g);

#endif
