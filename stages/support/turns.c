/* Order of results: see turns.h. */
#include "stages/support/turns.h"

#include <stdlib.h>
#include <string.h>

struct turn *turns_join(struct turns *t, const char *id)
{
    struct turn *turn = calloc(1, sizeof *turn);
    if (turn == NULL || (turn->id = strdup(id)) == NULL) abort();
    if (t->last != NULL)
        t->last->next = turn;
    else
        t->first = turn;
    t->last = turn;
    return turn;
}

static void leave(struct turns *t)
{
    struct turn *turn = t->first;
    t->first = turn->next;
    if (t->first == NULL) t->last = NULL;
    buf_fini(&turn->out);
    free(turn->id);
    free(turn);
}

thea_rc turns_flush(struct turns *t, bool straight, turns_put put, void *context, struct thea_err *err)
{
    while (t->first != NULL) {
        struct turn *turn = t->first;
        if (turn->done || (straight && turn->out.len > 0)) {
            thea_rc rc = put(context, turn, err);
            if (rc != THEA_OK) return rc;
            turn->begun = turn->begun || turn->out.len > 0;
            buf_clear(&turn->out);
        }
        if (!turn->done) return THEA_OK;
        leave(t);
    }
    return THEA_OK;
}

void turns_fini(struct turns *t)
{
    while (t->first != NULL) leave(t);
}
