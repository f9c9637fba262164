/* Write an M2-BERT model with random weights, laid out as the published ones: config.json and
 * model.safetensors with every name, buffer and alias that a checkpoint has. */
#ifndef TESTS_SUPPORT_M2BERT_MODEL_H
#define TESTS_SUPPORT_M2BERT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct m2bert_model {
    size_t hidden, feed_forward, blocks, context, vocab, filter_width, filter_features;
    uint64_t seed;
    const char *prefix; /* in front of every name: "bert." */
    bool one_frequency; /* the sines' frequency under the last of its six names alone */
    /* For finite differences: the tensor `moved`, if not NULL (its name without prefix), is moved by step
     * times the direction of m2bert_direction. Of a frequency: under all its names, if the first is said;
     * else under that one. */
    const char *moved;
    double step;
};

struct m2bert_model m2bert_published(size_t context); /* the 80M: 768 wide, 12 blocks; 2048, 8192, 32768 */
/* Into an existing directory. Aborts with a message when it cannot. */
void m2bert_model_write(const char *dir, const struct m2bert_model *m);
void m2bert_model_remove(const char *dir); /* the files and the directory */
/* A direction for a tensor of n elements, uniform in [-1, 1): the same for the same name. */
void m2bert_direction(float *out, const char *name, size_t n);

#endif
