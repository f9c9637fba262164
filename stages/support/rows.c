/* Tensors that gather: see rows.h. */
#include "stages/support/rows.h"

#include <string.h>

struct row_head {
    uint32_t name_bytes; /* with its NUL */
    uint32_t dtype, rank, zero;
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t bytes;
};

thea_rc rows_add(struct gather *g, const char *beside, const char *name, const struct tensor *t,
                 struct thea_err *err)
{
    struct row_head head = {
        .name_bytes = (uint32_t)strlen(name) + 1, .dtype = t->dtype, .rank = t->rank, .bytes = t->size_bytes};
    memcpy(head.shape, t->shape, sizeof head.shape);
    thea_rc rc = gather_add(g, beside, &head, sizeof head, err);
    if (rc == THEA_OK) rc = gather_add(g, beside, name, head.name_bytes, err);
    return rc == THEA_OK ? gather_add(g, beside, t->data, t->size_bytes, err) : rc;
}

static bool fits(const struct row_head *head, const char *rest, size_t left)
{
    if (head->name_bytes == 0 || head->name_bytes > left || rest[head->name_bytes - 1] != '\0') return false;
    return head->rank <= TENSOR_RANK_MAX && head->bytes <= left - head->name_bytes;
}

thea_rc rows_walk(const void *bytes, size_t n, rows_visit visit, void *context, struct thea_err *err)
{
    const char *from = bytes;
    thea_rc rc = THEA_OK;
    for (size_t at = 0; rc == THEA_OK && at < n;) {
        struct row_head head = {0};
        size_t left = n - at;
        if (left >= sizeof head) memcpy(&head, from + at, sizeof head);
        if (left < sizeof head || !fits(&head, from + at + sizeof head, left - sizeof head))
            return thea_fail(err, THEA_EDATA, "what was gathered for it is damaged at byte %zu", at);
        at += sizeof head;
        struct tensor t = {.name = from + at,
                           .dtype = (tensor_dtype)head.dtype,
                           .rank = head.rank,
                           .data = from + at + head.name_bytes,
                           .size_bytes = head.bytes};
        memcpy(t.shape, head.shape, sizeof t.shape);
        at += head.name_bytes;
        rc = visit(context, &t, at, err);
        at += head.bytes;
    }
    return rc;
}
