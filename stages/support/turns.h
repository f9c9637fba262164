/* Results in the order in which their documents began, however they end: later ones wait in memory for the
 * first (streams in flight are bounded by the source). */
#ifndef STAGES_SUPPORT_TURNS_H
#define STAGES_SUPPORT_TURNS_H

#include "graph/buf.h"
#include <stdbool.h>

struct turn {
    struct turn *next;
    char *id;
    struct buf out; /* not written yet */
    bool done;      /* nothing more will come */
    bool begun;     /* put was called for it before */
};
struct turns {
    struct turn *first, *last;
};

/* A document begins; its turn is freed when it was put and done (by turns_flush or turns_fini). */
struct turn *turns_join(struct turns *t, const char *id);
/* Call put(context, turn) for what may go out now: documents that are done, up to the first that is not;
 * straight: of that one, too, what there is so far. put takes what is in turn->out; the first failure ends
 * the call. */
typedef thea_rc (*turns_put)(void *context, struct turn *turn, struct thea_err *err);
THEA_CHECK thea_rc turns_flush(struct turns *t, bool straight, turns_put put, void *context,
                               struct thea_err *err);
void turns_fini(struct turns *t);

#endif
