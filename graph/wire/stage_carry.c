/* Tensors that pass by: what an input frame has beside its port's own tensor leaves with the next output
 * frame of its stream, on every output. Borrowed from the input frame where that frame is still here, copied
 * (and counted) where it is not.
 *
 * Invariant: on each output port every passing row leaves once, in order. */
#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

bool stage_passes(const struct stage *st, const struct tensor *t)
{
    if (st->ops->aggregates) return false;
    for (int i = 0; i < st->in_count; i++)
        if ((st->current.ports >> i & 1) != 0 && stage_port_takes(st->in[i].port, t->name)) return false;
    return true;
}

void stage_pass_nothing(struct stage *st)
{
    st->current.owed = 0;
}

/* Can b's rows follow a's? Same dtype and the same shape but for the first dimension. */
static bool joinable(const struct tensor *a, const struct tensor *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank || a->rank == 0) return false;
    return memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof *a->shape) == 0;
}

static thea_rc fail_join(const struct tensor *a, const struct tensor *b, struct thea_err *err)
{
    char one[128], two[128];
    return thea_fail(err, THEA_EDOC, "tensor '%s' changes within the stream: %s, then %s", a->name,
                     tensor_describe(one, a), tensor_describe(two, b));
}

static void count_copied(struct stage *st, uint64_t bytes)
{
    atomic_fetch_add_explicit(&st->page->copied_bytes, bytes, memory_order_relaxed);
}

/* --- from the input frame into the stream --- */

static thea_rc keep(struct stage *st, struct stage_stream *s, const struct tensor *t, uint32_t owed,
                    struct thea_err *err)
{
    struct stage_carried *c = NULL;
    for (size_t i = 0; i < s->carried_count; i++)
        if (strcmp(s->carried[i].name, t->name) == 0) c = &s->carried[i];
    if (c != NULL && !joinable(&c->tensor, t)) return fail_join(&c->tensor, t, err);
    if (c == NULL ||
        c->owed !=
            owed) { /* others have taken what is kept: the new rows follow it in an entry of their own */
        s->carried = realloc(s->carried, (s->carried_count + 1) * sizeof *s->carried);
        if (s->carried == NULL) abort();
        c = &s->carried[s->carried_count++];
        *c = (struct stage_carried){.tensor = *t, .name = strdup(t->name), .owed = owed};
        if (c->name == NULL) abort();
        if (t->rank > 0) c->tensor.shape[0] = 0;
    }
    buf_add(&c->bytes, t->data, t->size_bytes);
    if (t->rank > 0) c->tensor.shape[0] += t->shape[0];
    c->tensor.name = c->name;
    c->tensor.data = c->bytes.data;
    c->tensor.size_bytes = c->bytes.len;
    count_copied(st, t->size_bytes);
    return THEA_OK;
}

thea_rc stage_carry_add(struct stage *st, struct thea_err *err)
{
    struct stage_current *c = &st->current;
    if (c->owed == 0 || c->stream == NULL || c->stream->state == NULL) return THEA_OK;
    for (size_t i = 0; i < c->frame->tensor_count; i++) {
        const struct tensor *t = &c->frame->tensors[i];
        thea_rc rc = stage_passes(st, t) ? keep(st, c->stream, t, c->owed, err) : THEA_OK;
        if (rc != THEA_OK) return rc;
    }
    c->owed = 0;
    return THEA_OK;
}

/* --- from stream and input frame into an output frame --- */

static bool put_by_op(const struct stage_out *o, size_t own, const char *name)
{
    for (size_t i = 0; i < own; i++)
        if (strcmp(o->tensors[i].name, name) == 0) return true;
    return false;
}

static thea_rc join(struct stage *st, int port, struct tensor *a, const struct tensor *b,
                    struct thea_err *err)
{
    if (!joinable(a, b)) return fail_join(a, b, err);
    char *both = stage_buffer(st, port, a->size_bytes + b->size_bytes);
    if (a->size_bytes > 0) memcpy(both, a->data, a->size_bytes);
    if (b->size_bytes > 0) memcpy(both + a->size_bytes, b->data, b->size_bytes);
    count_copied(st, a->size_bytes + b->size_bytes);
    a->data = both;
    a->size_bytes += b->size_bytes;
    a->shape[0] += b->shape[0];
    return THEA_OK;
}

/* own: how many of the port's tensors the op put. */
static thea_rc add(struct stage *st, int port, size_t own, const struct tensor *t, struct thea_err *err)
{
    struct stage_out *o = &st->out[port];
    if (put_by_op(o, own, t->name)) return THEA_OK;
    for (size_t i = own; i < o->tensor_count; i++)
        if (strcmp(o->tensors[i].name, t->name) == 0) return join(st, port, &o->tensors[i], t, err);
    if (o->tensor_count == FRAME_TENSORS_MAX)
        return thea_fail(err, THEA_EDOC, "a frame would have more than %d tensors ('%s' is one too many)",
                         FRAME_TENSORS_MAX, t->name);
    o->tensors[o->tensor_count++] = *t;
    return THEA_OK;
}

thea_rc stage_carry_take(struct stage *st, struct stage_stream *s, int port, struct thea_err *err)
{
    size_t own = st->out[port].tensor_count;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < s->carried_count; i++)
        if ((s->carried[i].owed >> port & 1) != 0) rc = add(st, port, own, &s->carried[i].tensor, err);
    const struct stage_current *c = &st->current;
    if (c->stream != s || (c->owed >> port & 1) == 0) return rc;
    for (size_t i = 0; rc == THEA_OK && i < c->frame->tensor_count; i++)
        if (stage_passes(st, &c->frame->tensors[i])) rc = add(st, port, own, &c->frame->tensors[i], err);
    return rc;
}

void stage_carry_sent(struct stage_stream *s, int port)
{
    struct stage_current *c = &s->stage->current;
    size_t kept = 0;
    for (size_t i = 0; i < s->carried_count; i++) {
        s->carried[i].owed &= ~(UINT32_C(1) << port);
        if (s->carried[i].owed != 0) {
            s->carried[kept++] = s->carried[i];
            continue;
        }
        free(s->carried[i].name);
        buf_fini(&s->carried[i].bytes);
    }
    s->carried_count = kept;
    if (c->stream == s) c->owed &= ~(UINT32_C(1) << port);
}

void stage_carry_free(struct stage_stream *s)
{
    for (size_t i = 0; i < s->carried_count; i++) {
        free(s->carried[i].name);
        buf_fini(&s->carried[i].bytes);
    }
    free(s->carried);
    s->carried = NULL;
    s->carried_count = 0;
}
