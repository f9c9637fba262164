/* See mapped.h. */
#include "text/mapped.h"

#include <stdlib.h>

void mapped_fini(struct mapped *m)
{
    buf_fini(&m->text);
    free(m->ends);
    *m = (struct mapped){0};
}

void mapped_clear(struct mapped *m)
{
    buf_clear(&m->text);
}

int32_t *mapped_reserve(struct mapped *m, size_t more)
{
    size_t need = m->text.len + more;
    buf_reserve(&m->text, more);
    if (need > m->cap || m->ends == NULL) { /* room for nothing is room, too: a pointer to add to */
        m->cap = need >= 2 * m->cap ? need + 64 : 2 * m->cap;
        m->ends = realloc(m->ends, m->cap * sizeof *m->ends);
        if (m->ends == NULL) abort();
    }
    return m->ends + m->text.len;
}

void mapped_added(struct mapped *m, size_t n)
{
    m->text.len += n;
    m->text.data[m->text.len] = '\0';
}

void mapped_add(struct mapped *m, const char *text, size_t len, int64_t end)
{
    int32_t *ends = mapped_reserve(m, len);
    for (size_t i = 0; i < len; i++) ends[i] = (int32_t)end;
    buf_add(&m->text, text, len);
}

void mapped_copy(struct mapped *m, const struct mapped_view *from, size_t at, size_t len)
{
    int32_t *ends = mapped_reserve(m, len);
    for (size_t i = 0; i < len; i++) ends[i] = (int32_t)mapped_end(from, at + i + 1);
    buf_add(&m->text, from->text + at, len);
}

struct mapped_view mapped_view(const struct mapped *m, int64_t base)
{
    static const int32_t none[1] = {0};
    return (struct mapped_view){.text = buf_text(&m->text),
                                .len = m->text.len,
                                .ends = m->ends != NULL ? m->ends : none,
                                .base = base};
}

struct mapped_view mapped_part(const struct mapped_view *of, size_t at, size_t len)
{
    return (struct mapped_view){.text = of->text + at,
                                .len = len,
                                .ends = of->ends != NULL ? of->ends + at : NULL,
                                .base = mapped_end(of, at)};
}
