/* layers of an encoder: documents are gathered whole, run in batches, and leave one at a time. */
#ifndef STAGES_SUPPORT_LAYERS_ENCODE_H
#define STAGES_SUPPORT_LAYERS_ENCODE_H

#include "stages/support/layers_step.h"

/* Attributes of a stream: what was done to the document. */
#define LAYERS_PADDED_TO      "padded_to"      /* tokens after filling up */
#define LAYERS_PADDED_FROM    "padded_from"    /* tokens before it */
#define LAYERS_TRUNCATED_FROM "truncated_from" /* tokens before cutting */
#define LAYERS_ROWS           "rows"           /* text: LAYERS_ROWS_FIRST, or not there: all of them */
#define LAYERS_ROWS_FIRST     "first"          /* `final` has the first position alone */

/* `--pad`: tokens that a document has at least, 0: as many as it has. What is wrong for this model is told.
 * Errors: THEA_EUSAGE. */
THEA_CHECK thea_rc layers_read_pad(size_t *out, const char *pad, const struct model_info *info,
                                   struct thea_err *err);

/* The ops of a stage whose model is not causal: see stage.h. */
THEA_CHECK thea_rc layers_encode_open(struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc layers_encode_frame(struct stage *st, struct stage_stream *s, const struct frame *in,
                                       struct thea_err *err);
THEA_CHECK thea_rc layers_encode_end(struct stage *st, struct stage_stream *s, struct thea_err *err);
THEA_CHECK thea_rc layers_encode_batch(struct stage *st, bool idle, struct thea_err *err);
/* The next rows of a document whose batch has run; AGAIN while there are more. */
THEA_CHECK thea_rc layers_encode_leave(struct stage *st, struct stage_stream *s);
struct layers_gathered *layers_gathered_of(struct stage_stream *s);
void layers_encode_drop(struct stage *st, struct stage_stream *s);
void layers_encode_close(struct layers *l);

#endif
