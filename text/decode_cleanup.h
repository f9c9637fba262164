/* The WordPiece decoder's "cleanup": English text without the spaces that cutting at punctuation left. */
#ifndef TEXT_DECODE_CLEANUP_H
#define TEXT_DECODE_CLEANUP_H

#include "graph/buf.h"

void decode_cleanup(struct buf *token); /* in place */

#endif
