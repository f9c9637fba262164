/* Frames: finding what is in one, copying one: see frame.h. The stdio form is in frame_stdio.c. */
#include "graph/wire/frame.h"

#include <stdlib.h>
#include <string.h>

const char *frame_kind_name(frame_kind kind)
{
    static const char *const names[] = {"data", "end", "eof", "mark", "error", "cancel", "grad"};
    size_t i = (size_t)kind;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}

const struct tensor *frame_tensor(const struct frame *f, const char *name)
{
    for (size_t i = 0; i < f->tensor_count; i++)
        if (strcmp(f->tensors[i].name, name) == 0) return &f->tensors[i];
    return NULL;
}

const struct attr *frame_attr(const struct frame *f, const char *key)
{
    for (size_t i = 0; i < f->attr_count; i++)
        if (strcmp(f->attrs[i].key, key) == 0) return &f->attrs[i];
    return NULL;
}

const char *frame_attr_text(const struct frame *f, const char *key, const char *fallback)
{
    const struct attr *a = frame_attr(f, key);
    return a != NULL && a->type == ATTR_TEXT ? a->text : fallback;
}

int64_t frame_attr_int(const struct frame *f, const char *key, int64_t fallback)
{
    const struct attr *a = frame_attr(f, key);
    return a != NULL && a->type == ATTR_INT ? a->integer : fallback;
}

uint64_t frame_tensor_bytes(const struct frame *f)
{
    uint64_t n = 0;
    for (size_t i = 0; i < f->tensor_count; i++) n += f->tensors[i].size_bytes;
    return n;
}

/* The copy's block is filled twice by the same code: first with base NULL, to measure, then for real. */
struct copier {
    char *base;
    size_t used;
};

static void *put(struct copier *c, const void *bytes, size_t size, size_t alignment)
{
    c->used = (c->used + alignment - 1) & ~(alignment - 1);
    size_t at = c->used;
    c->used += size;
    if (c->base == NULL) return NULL;
    if (size > 0) memcpy(c->base + at, bytes, size);
    return c->base + at;
}

static const char *put_text(struct copier *c, const char *text)
{
    return text == NULL ? NULL : put(c, text, strlen(text) + 1, 1);
}

static struct frame *copy_into(struct copier *c, const struct frame *f)
{
    struct frame *out = put(c, f, sizeof *f, 64);
    struct tensor *tensors =
        put(c, f->tensors, f->tensor_count * sizeof *f->tensors, _Alignof(struct tensor));
    struct attr *attrs = put(c, f->attrs, f->attr_count * sizeof *f->attrs, _Alignof(struct attr));
    const char *port = put_text(c, f->port);
    for (size_t i = 0; i < f->tensor_count; i++) {
        const char *name = put_text(c, f->tensors[i].name);
        const void *data = put(c, f->tensors[i].data, f->tensors[i].size_bytes, 64);
        if (tensors != NULL) tensors[i].name = name, tensors[i].data = data;
    }
    for (size_t i = 0; i < f->attr_count; i++) {
        const char *key = put_text(c, f->attrs[i].key);
        const char *text = f->attrs[i].type == ATTR_TEXT ? put_text(c, f->attrs[i].text) : NULL;
        if (attrs == NULL) continue;
        attrs[i].key = key;
        if (text != NULL) attrs[i].text = text;
    }
    if (out != NULL) out->tensors = tensors, out->attrs = attrs, out->port = port;
    return out;
}

struct frame *frame_copy(const struct frame *f)
{
    struct copier c = {NULL, 0};
    copy_into(&c, f);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, c.used) != 0) abort();
    c = (struct copier){memory, 0};
    return copy_into(&c, f);
}
