/* Whose result goes out next. Results that are whole before their turn wait (streams in flight are bounded by
 * the source).
 *
 *   TURNS_ARRIVAL     by hand: as their first frames came
 *   TURNS_INPUT       by (index, source) of the stream's id, without gaps: the same whatever order they come
 * in TURNS_COMPLETION  as they end */
#ifndef STAGES_SUPPORT_TURNS_H
#define STAGES_SUPPORT_TURNS_H

#include "graph/ranges.h"
#include "graph/value.h"
#include "graph/wire/stage.h"
#include "stages/support/gather.h"

enum { TURNS_SOURCE_SHIFT = 40 };

typedef enum { TURNS_ARRIVAL, TURNS_INPUT, TURNS_COMPLETION } turns_order;

struct turn {
    struct turn *next;
    uint64_t stream;
    uint32_t attempt;
    char *id;
    struct gather data; /* of its result, what is not written yet */
    uint64_t printed;   /* live text: bytes that are out */
    uint64_t skip;      /* live text that comes again: of those, bytes that have not */
    char *notes;        /* further members of its JSON line (lines.h), or NULL */
    bool done;          /* nothing more will come */
    bool failed;        /* and it has no result */
    char *aside;        /* why it was given up, after so many tries; NULL: it was not */
    uint32_t tries;
};

struct turns_source {
    unsigned number;
    uint64_t total; /* streams that come of it; UINT64_MAX: not known */
};
struct turns {
    turns_order order;
    struct turn *first; /* waiting, in order */
    struct ranges gone; /* streams whose turn is over */
    struct turns_source *sources;
    size_t source_count;
};

/* A document begins; in: its first frame, or NULL. */
struct turn *turns_join(struct turns *t, const struct stage_stream *s, const struct frame *in);
/* The one whose turn it is: done, or (order of arrival or input) still under way. NULL: none is here. */
struct turn *turns_next(const struct turns *t);
void turns_leave(struct turns *t, struct turn *turn); /* its turn is over; frees it */
void turns_drop(struct turns *t, struct turn *turn);  /* it will come again, or never; frees it */
void turns_drop_all(struct turns *t);
/* There is a source, and so many streams come of it. (One that a stream came of is known.) */
void turns_source(struct turns *t, unsigned number, uint64_t total);
/* A sink's option --sources: there are these. Errors: THEA_EUSAGE. */
THEA_CHECK thea_rc turns_take_sources(struct turns *t, const struct value_list *sources,
                                      struct thea_err *err);
void turns_learn_totals(struct turns *t, const struct stage *st); /* what the supervisor has said by now */
void turns_fini(struct turns *t);

#endif
