/* The unpickler: its memory, its stack, its loop. See pickle.h; the instructions are in pickle_ops.c. */
#include "nn/weights/pickle.h"

#include "nn/weights/pickle_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 64 << 10 };

struct pickle_pages {
    struct pickle_pages *next;
    size_t used, bytes;
    _Alignas(16) unsigned char memory[];
};

void pickle_fail(struct pickle_machine *m, const char *fmt, ...)
{
    if (m->rc != THEA_OK) return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    m->rc = thea_fail(m->err, THEA_EDATA, "%s: data.pkl, byte %zu: %s", m->path, (size_t)(m->op - m->start),
                      text);
}

void pickle_no_memory(struct pickle_machine *m)
{
    if (m->rc == THEA_OK) m->rc = thea_fail(m->err, THEA_EOS, "%s: out of memory", m->path);
}

void *pickle_memory(struct pickle_machine *m, size_t bytes)
{
    struct pickle_pages *page = m->out->pages;
    bytes = (bytes + 15) / 16 * 16;
    if (page == NULL || page->bytes - page->used < bytes) {
        size_t room = bytes > PAGE_BYTES ? bytes : PAGE_BYTES;
        page = malloc(sizeof *page + room);
        if (page == NULL) {
            pickle_no_memory(m);
            return NULL;
        }
        *page = (struct pickle_pages){.next = m->out->pages, .bytes = room};
        m->out->pages = page;
    }
    void *out = page->memory + page->used;
    page->used += bytes;
    return memset(out, 0, bytes);
}

struct pickle_value *pickle_new(struct pickle_machine *m, pickle_kind kind)
{
    if (m->rc != THEA_OK) return NULL;
    if (++m->values > PICKLE_VALUES_MAX) {
        pickle_fail(m, "more than %d values", PICKLE_VALUES_MAX);
        return NULL;
    }
    struct pickle_value *v = pickle_memory(m, sizeof *v);
    if (v != NULL) v->kind = kind;
    return v;
}

bool pickle_grow(struct pickle_machine *m, void *array, size_t count, size_t *cap, size_t bytes)
{
    if (count < *cap) return true;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    size_t wanted = *cap > 0 ? 2 * *cap : 64;
    grown = reallocarray(old, wanted, bytes);
    if (grown == NULL) {
        pickle_no_memory(m);
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *cap = wanted;
    return true;
}

void pickle_push(struct pickle_machine *m, struct pickle_value *v)
{
    if (v == NULL || m->rc != THEA_OK) return;
    if (m->depth >= PICKLE_VALUES_MAX) {
        pickle_fail(m, "its stack is deeper than %d", PICKLE_VALUES_MAX);
    } else if (pickle_grow(m, &m->stack, m->depth, &m->stack_cap, sizeof(struct pickle_value *))) {
        m->stack[m->depth++] = v;
    }
}

size_t pickle_bottom(const struct pickle_machine *m)
{
    return m->mark_count > 0 ? m->marks[m->mark_count - 1] : 0;
}

struct pickle_value *pickle_pop(struct pickle_machine *m)
{
    if (m->rc == THEA_OK && m->depth > pickle_bottom(m)) return m->stack[--m->depth];
    pickle_fail(m, "it takes a value from an empty stack");
    return NULL;
}

struct pickle_value *pickle_top(struct pickle_machine *m)
{
    if (m->rc == THEA_OK && m->depth > pickle_bottom(m)) return m->stack[m->depth - 1];
    pickle_fail(m, "it takes a value from an empty stack");
    return NULL;
}

thea_rc pickle_parse(struct pickle *out, const void *bytes, size_t size, const char *path,
                     struct thea_err *err)
{
    *out = (struct pickle){0};
    if (size > PICKLE_BYTES_MAX)
        return thea_fail(err, THEA_EDATA, "%s: data.pkl has %zu bytes; accepted: %d at most", path, size,
                         PICKLE_BYTES_MAX);
    struct pickle_machine m = {.start = bytes,
                               .at = bytes,
                               .end = (const unsigned char *)bytes + size,
                               .out = out,
                               .path = path,
                               .err = err};
    while (!m.done && m.rc == THEA_OK) pickle_step(&m);
    free(m.stack);
    free(m.marks);
    free(m.memo);
    if (m.rc != THEA_OK) pickle_close(out);
    return m.rc;
}

void pickle_close(struct pickle *p)
{
    while (p->pages != NULL) {
        struct pickle_pages *next = p->pages->next;
        free(p->pages);
        p->pages = next;
    }
    p->root = NULL;
}

const char *pickle_kind_name(pickle_kind kind)
{
    static const char *const names[] = {
        [PICKLE_NONE] = "None",      [PICKLE_BOOL] = "a boolean",    [PICKLE_INT] = "an integer",
        [PICKLE_FLOAT] = "a number", [PICKLE_TEXT] = "a text",       [PICKLE_TUPLE] = "a tuple",
        [PICKLE_LIST] = "a list",    [PICKLE_DICT] = "a dict",       [PICKLE_FUNCTION] = "a function",
        [PICKLE_DTYPE] = "a type",   [PICKLE_STORAGE] = "a storage", [PICKLE_TENSOR] = "a tensor",
    };
    return names[kind];
}

bool pickle_is_text(const struct pickle_value *v, const char *text)
{
    return v != NULL && v->kind == PICKLE_TEXT && v->text.len == strlen(text) &&
           memcmp(v->text.bytes, text, v->text.len) == 0;
}

const struct pickle_value *pickle_member(const struct pickle_value *dict, const char *key)
{
    if (dict == NULL || dict->kind != PICKLE_DICT) return NULL;
    for (size_t i = dict->items.count; i >= 2; i -= 2)
        if (pickle_is_text(dict->items.at[i - 2], key)) return dict->items.at[i - 1];
    return NULL;
}
