/* The most surprising lines of a document: bits of its tokens, spread over the bytes they stand for, summed
 * by line.
 *
 * A token that stands for bytes [a, b) gives each of them 1/(b - a) of its bits; one that stands for none (a
 * special token) belongs to no line. A line's bits per byte are the bits of its bytes over their number, the
 * newline included. The document's first token has no prediction: its bytes have 0 bits. */
#ifndef STAGES_SUPPORT_SURPRISE_H
#define STAGES_SUPPORT_SURPRISE_H

#include <stddef.h>
#include <stdint.h>

struct surprise_line {
    size_t number; /* from 1 */
    double bits_per_byte;
    const char *text; /* without blanks at either end; borrowed from the document */
    size_t len;
};

/* nll [count]: nats of tokens first .. first + count - 1; ends [first + count]: byte offset after each token,
 * never falling. Lines with fewer than min_bytes bytes (blanks at the ends not counted) are left out. Writes
 * at most `top` lines, the highest first (of equal ones the earlier first), and returns how many. */
size_t surprise_lines(struct surprise_line *out, size_t top, size_t min_bytes, const char *text, size_t len,
                      const float *nll, size_t count, size_t first, const int64_t *ends);

#endif
