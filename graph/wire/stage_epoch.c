/* Epochs: a process of the run died, and all forget what was under way; what is not committed comes again.
 *
 * Invariant: after the first frame of an epoch none of an older one leaves. For an epoch is taken between two
 * ops, when all that an op made has been sent or was dropped, and frames carry the epoch in which they are
 * made. */
#include "graph/wire/stage_core.h"

bool stage_epoch_due(const struct stage *st)
{
    return stage_supervised(st) && st->control.epoch > st->epoch;
}

void stage_epoch_heard(struct stage *st, uint64_t epoch)
{
    if (epoch > st->control.epoch) st->control.epoch = epoch;
}

void stage_epoch_take(struct stage *st)
{
    st->epoch = st->control.epoch;
    for (size_t i = 0; i < STAGE_BUCKETS; i++)
        for (struct stage_stream *s = st->buckets[i]; s != NULL; s = s->next) s->again = true;
    stage_streams_drop(st);
    st->current = (struct stage_current){0};
    stage_outputs_reset(st);
    if (st->ops->reset != NULL) st->ops->reset(st);
    stage_replay_epoch(st);
}

void stage_stream_again(struct stage *st, struct stage_stream *s)
{
    s->again = true;
    stage_stream_forget(st, s);
}

bool stage_comes_again(const struct stage_stream *s)
{
    return s->again;
}
