/* Rotary position angles: inverse frequencies (with llama3 scaling) and the cos and sin rows of positions.
 * Formulas: as transformers computes them, so that long contexts match: inv[i] = theta^(-2i/D) rounded to
 * f32, the angle as an f32 product. */
#ifndef NN_ROPE_H
#define NN_ROPE_H

#include "nn/config.h"

struct rope {
    double theta;
    bool llama3; /* scaled by wavelength */
    double factor, low, high,
        context; /* llama3: factor, low_freq_factor, high_freq_factor, original_max_position_embeddings */
};

/* From rope_parameters (wins) or rope_theta and rope_scaling. */
void rope_read(struct rope *out, struct config *c, double default_theta);
/* inv [D/2] written. */
void rope_frequencies(float *inv, const struct rope *r, size_t head_size);
/* cos, sin [n, D/2] of positions [position, +n) written; inv [D/2] read. */
void rope_table(float *cos, float *sin, const float *inv, size_t position, size_t n, size_t half);

#endif
