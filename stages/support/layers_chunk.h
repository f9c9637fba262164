/* layers of a causal model: documents are run chunk by chunk, as their tokens or residuals come.
 *
 * Invariant: what a document's frames hold does not depend on how its tokens arrived: chunks begin at
 * absolute multiples of struct layers.step. */
#ifndef STAGES_SUPPORT_LAYERS_CHUNK_H
#define STAGES_SUPPORT_LAYERS_CHUNK_H

#include "stages/support/layers_step.h"

/* The ops of a stage whose model is causal: see stage.h. */
THEA_CHECK thea_rc layers_chunk_begin(struct stage *st, struct stage_stream *s, struct thea_err *err);
THEA_CHECK thea_rc layers_chunk_frame(struct stage *st, struct stage_stream *s, int port,
                                      const struct frame *in, struct thea_err *err);
THEA_CHECK thea_rc layers_chunk_end(struct stage *st, struct stage_stream *s, struct thea_err *err);
void layers_chunk_drop(struct stage_stream *s); /* one that never began, too */

#endif
