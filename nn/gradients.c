/* Gradients by name: see gradients.h. A model has hundreds of tensors and a step asks for each once, so they
 * are found by going through them. */
#include "nn/gradients.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 256 };

struct gradient {
    char name[NAME_BYTES];
    size_t n;
    float *sum;
};

struct gradients {
    struct gradient *entries;
    size_t count, room;
    bool out_of_memory;
};

thea_rc gradients_new(struct gradients **out, struct thea_err *err)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? THEA_OK : thea_fail(err, THEA_EOS, "out of memory");
}

void gradients_free(struct gradients *g)
{
    if (g == NULL) return;
    for (size_t i = 0; i < g->count; i++) free(g->entries[i].sum);
    free(g->entries);
    free(g);
}

void gradients_zero(struct gradients *g)
{
    for (size_t i = 0; i < g->count; i++) memset(g->entries[i].sum, 0, g->entries[i].n * sizeof(float));
}

static struct gradient *find(const struct gradients *g, const char *name)
{
    for (size_t i = 0; i < g->count; i++) {
        if (strcmp(g->entries[i].name, name) == 0) return &g->entries[i];
    }
    return NULL;
}

static struct gradient *add(struct gradients *g, const char *name, size_t n)
{
    if (g->count == g->room) {
        size_t room = g->room > 0 ? 2 * g->room : 64;
        struct gradient *grown = reallocarray(g->entries, room, sizeof *grown);
        if (grown == NULL) return NULL;
        g->entries = grown;
        g->room = room;
    }
    struct gradient *e = &g->entries[g->count];
    *e = (struct gradient){.n = n, .sum = calloc(n, sizeof *e->sum)};
    if (e->sum == NULL) return NULL;
    snprintf(e->name, sizeof e->name, "%s", name);
    g->count++;
    return e;
}

float *gradients_of(struct gradients *g, const char *prefix, const char *name, size_t n)
{
    if (g == NULL) return NULL;
    char full[NAME_BYTES];
    int length = snprintf(full, sizeof full, "%s%s", prefix, name);
    assert(length > 0 && length < NAME_BYTES);
    (void)length;
    struct gradient *e = find(g, full);
    if (e == NULL) e = add(g, full, n);
    if (e == NULL) g->out_of_memory = true;
    assert(e == NULL || e->n == n);
    return e != NULL ? e->sum : NULL;
}

thea_rc gradients_check(const struct gradients *g, struct thea_err *err)
{
    return g != NULL && g->out_of_memory ? thea_fail(err, THEA_EOS, "out of memory for gradients") : THEA_OK;
}

size_t gradients_count(const struct gradients *g)
{
    return g->count;
}

const float *gradients_at(const struct gradients *g, size_t i, const char **name, size_t *n)
{
    assert(i < g->count);
    *name = g->entries[i].name;
    *n = g->entries[i].n;
    return g->entries[i].sum;
}

const float *gradients_find(const struct gradients *g, const char *name, size_t *n)
{
    const struct gradient *e = find(g, name);
    if (e == NULL) return NULL;
    *n = e->n;
    return e->sum;
}
