/* Which model is this? A SHA-256 of all that decides what vector a text gets, without reading hundreds of
 * megabytes for it:
 *
 *   config.json, tokenizer.json (else vocab.txt), tokenizer_config.json, sentence_bert_config.json: all bytes
 *   each file of weights: its name, its size, its first 64 KiB (names, shapes and dtypes of the tensors), and
 *   256 pieces of 1 KiB spread evenly from there to its end; all of it up to 320 KiB
 *
 * Training changes every weight a little, so two models that differ, differ in the pieces; a file made to
 * deceive may not. A copy of a model elsewhere has the same fingerprint, a converted one (another dtype) has
 * another. How vectors are pooled is not in it: the index keeps that beside. */
#ifndef RETRIEVAL_FINGERPRINT_H
#define RETRIEVAL_FINGERPRINT_H

#include "graph/err.h"
#include "retrieval/sha256.h"

/* Of the model in directory dir. Errors: THEA_ENOINPUT, THEA_EIO. */
THEA_CHECK thea_rc fingerprint_of(char out[SHA256_HEX], const char *dir, struct thea_err *err);

#endif
