/* A text on its way through normalizers, with the way back: for each byte, where in the document the
 * character ends that it came from. */
#ifndef TEXT_MAPPED_H
#define TEXT_MAPPED_H

#include "graph/buf.h"
#include <stdint.h>

/* A borrowed text. ends == NULL: unchanged, its byte i ends at base + i + 1; else at ends[i]. base: where it
 * begins in the document. Ends are there for every byte, so they have 32 bits: a text has less than 2^31. */
struct mapped_view {
    const char *text;
    size_t len;
    const int32_t *ends;
    int64_t base;
};

/* One under construction. Zero-initialise; keeps its memory from use to use. */
struct mapped {
    struct buf text;
    int32_t *ends;
    size_t cap;
};

void mapped_fini(struct mapped *m);
void mapped_clear(struct mapped *m);
void mapped_add(struct mapped *m, const char *text, size_t len,
                int64_t end); /* all of it stands for what ends there */
void mapped_copy(struct mapped *m, const struct mapped_view *from, size_t at,
                 size_t len); /* unchanged bytes of `from` */
/* Room for `more` bytes after text.data[text.len], and for their ends, which are returned; then say how many
 * were written. */
int32_t *mapped_reserve(struct mapped *m, size_t more);
void mapped_added(struct mapped *m, size_t n);
struct mapped_view mapped_view(const struct mapped *m, int64_t base);
struct mapped_view mapped_part(const struct mapped_view *of, size_t at, size_t len);

/* Where the first n bytes of the view end in the document (n == 0: where it begins). */
static inline int64_t mapped_end(const struct mapped_view *v, size_t n)
{
    return n == 0 || v->ends == NULL ? v->base + (int64_t)n : v->ends[n - 1];
}

#endif
