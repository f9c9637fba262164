/* The "decoder" of a tokenizer.json: token texts to text, as they come. What a step cannot know yet it holds
 * back; one way of working serves whole and streaming decoding, so the two are equal. */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include "graph/buf.h"
#include "text/reader.h"

struct decoder;       /* the steps */
struct decoder_state; /* a text on its way through them */

/* p may be null: tokens joined by spaces, as the reference does. */
THEA_CHECK thea_rc decoder_new(struct decoder **out, const struct place *p, struct thea_err *err);
void decoder_free(struct decoder *d);

struct decoder_state *decoder_state_new(struct decoder *d); /* borrows d */
void decoder_state_free(struct decoder_state *s);
/* The next token's text; what is certain is appended to out. Errors: THEA_EDOC (a regex's limits). */
THEA_CHECK thea_rc decoder_push(struct decoder_state *s, const char *token, size_t len, struct buf *out,
                                struct thea_err *err);
/* No more tokens: the rest. The state is then as new. */
THEA_CHECK thea_rc decoder_flush(struct decoder_state *s, struct buf *out, struct thea_err *err);

#endif
