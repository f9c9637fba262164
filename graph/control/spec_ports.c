/* Ports as the tables declare them: dtypes, shapes with symbols and numbers, and whether an output fits an
 * input. */
#include "graph/control/spec_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct json_node *port_list(const struct json_node *table, bool outputs)
{
    return json_member(table, outputs ? "outputs" : "inputs");
}

const char *port_name(const struct json_node *port)
{
    return json_text_or(port, "name", "");
}

const struct json_node *port_find(const struct json_node *table, bool outputs, const char *name)
{
    const struct json_node *ports = port_list(table, outputs);
    for (size_t i = 0; i < json_count(ports); i++)
        if (strcmp(port_name(json_item(ports, i)), name) == 0) return json_item(ports, i);
    return NULL;
}

bool port_flag(const struct json_node *port, const char *flag)
{
    const struct json_node *flags = json_member(port, "flags");
    for (size_t i = 0; i < json_count(flags); i++) {
        const char *text = json_text(json_item(flags, i), NULL);
        if (text != NULL && strcmp(text, flag) == 0) return true;
    }
    return false;
}

/* --- shapes --- */

struct dim {
    const char *symbol;
    int64_t value;
}; /* symbol NULL: the number; "*": anything */

static struct dim dim_of(const struct json_node *shape, size_t i)
{
    const struct json_node *node = json_item(shape, i);
    const char *text = json_text(node, NULL);
    if (text == NULL) return (struct dim){NULL, json_int(node)};
    bool number = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    return number ? (struct dim){NULL, strtoll(text, NULL, 10)} : (struct dim){text, 0};
}

/* A shape of "*" alone takes every rank. */
static bool any_shape(const struct json_node *shape)
{
    const char *text = json_count(shape) == 1 ? json_text(json_item(shape, 0), NULL) : NULL;
    return text != NULL && strcmp(text, "*") == 0;
}

bool port_same_dtype(const struct json_node *out, const struct json_node *in)
{
    const char *want = json_text_or(in, "dtype", ""), *have = json_text_or(out, "dtype", "");
    return strcmp(want, "*") == 0 || strcmp(have, "*") == 0 || strcmp(want, have) == 0;
}

static bool same_rank(const struct json_node *out, const struct json_node *in)
{
    const struct json_node *a = json_member(out, "shape"), *b = json_member(in, "shape");
    return any_shape(a) || any_shape(b) || json_count(a) == json_count(b);
}

bool port_fits(const struct json_node *out, const struct json_node *in)
{
    struct port_binding *bindings = NULL;
    if (!port_same_dtype(out, in)) return false;
    char *why = port_bind(&bindings, out, in);
    bool fits = why == NULL;
    free(why);
    port_bindings_free(bindings);
    return fits;
}

static char *differs(size_t i, int64_t have, int64_t want, const struct port_binding *by)
{
    struct buf b = {0};
    buf_printf(&b, "dimension %zu is %" PRId64 ", not %" PRId64, i + 1, have, want);
    if (by != NULL) buf_printf(&b, " (%s of input '%s')", by->symbol, port_name(by->by));
    return buf_take(&b);
}

/* One dimension. A producer's symbol (a length known only at run time) fits everything. */
static char *bind_dim(struct port_binding **bindings, size_t i, struct dim have, struct dim want,
                      const struct json_node *in)
{
    if (have.symbol != NULL || (want.symbol != NULL && strcmp(want.symbol, "*") == 0)) return NULL;
    if (want.symbol == NULL)
        return have.value == want.value ? NULL : differs(i, have.value, want.value, NULL);
    for (struct port_binding *b = *bindings; b != NULL; b = b->next)
        if (strcmp(b->symbol, want.symbol) == 0)
            return b->value == have.value ? NULL : differs(i, have.value, b->value, b);
    struct port_binding *b = spec_must(calloc(1, sizeof *b));
    *b = (struct port_binding){want.symbol, have.value, in, *bindings};
    *bindings = b;
    return NULL;
}

char *port_bind(struct port_binding **bindings, const struct json_node *out, const struct json_node *in)
{
    const struct json_node *have = json_member(out, "shape"), *want = json_member(in, "shape");
    if (any_shape(have) || any_shape(want)) return NULL;
    if (!same_rank(out, in)) {
        struct buf b = {0};
        buf_printf(&b, "%zu dimension%s, not %zu", json_count(have), json_count(have) == 1 ? "" : "s",
                   json_count(want));
        return buf_take(&b);
    }
    char *why = NULL;
    for (size_t i = 0; i < json_count(have) && why == NULL; i++)
        why = bind_dim(bindings, i, dim_of(have, i), dim_of(want, i), in);
    return why;
}

void port_bindings_free(struct port_binding *bindings)
{
    while (bindings != NULL) {
        struct port_binding *next = bindings->next;
        free(bindings);
        bindings = next;
    }
}

/* --- as text --- */

char *port_pattern(const struct json_node *port)
{
    struct buf b = {0};
    const struct json_node *shape = json_member(port, "shape");
    buf_printf(&b, "%s [", json_text_or(port, "dtype", "?"));
    for (size_t i = 0; i < json_count(shape); i++) {
        struct dim d = dim_of(shape, i);
        buf_add_text(&b, i > 0 ? ", " : "");
        if (d.symbol != NULL)
            buf_add_text(&b, d.symbol);
        else
            buf_printf(&b, "%" PRId64, d.value);
    }
    buf_add_char(&b, ']');
    return buf_take(&b);
}

char *port_names(const struct json_node *table, bool outputs)
{
    const struct json_node *ports = port_list(table, outputs);
    struct buf b = {0};
    for (size_t i = 0; i < json_count(ports); i++) {
        char *pattern = port_pattern(json_item(ports, i));
        buf_printf(&b, "%s%s %s", i > 0 ? ", " : "", port_name(json_item(ports, i)), pattern);
        free(pattern);
    }
    if (b.len == 0) buf_add_text(&b, "none");
    return buf_take(&b);
}

/* Whether a kind has an output that this input could read: of its name if any kind has one of its name, else
 * of its type. */
static bool gives(const char *kind, const struct json_node *in, bool by_name)
{
    char *program = NULL;
    const struct json_node *table = NULL;
    bool given = false;
    if (kind_find(&program, kind, ".", NULL) == THEA_OK &&
        kind_describe(&table, program, NULL, NULL) == THEA_OK) {
        const struct json_node *ports = port_list(table, true);
        for (size_t i = 0; i < json_count(ports) && !given; i++) {
            const struct json_node *out = json_item(ports, i);
            given = port_fits(out, in) && (!by_name || strcmp(port_name(out), port_name(in)) == 0);
        }
    }
    free(program);
    return given;
}

char *port_givers(const struct json_node *in)
{
    char **kinds = kind_list();
    struct buf b = {0};
    for (int by_name = 1; by_name >= 0 && b.len == 0; by_name--)
        for (size_t i = 0; kinds[i] != NULL; i++)
            if (gives(kinds[i], in, by_name != 0)) buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", kinds[i]);
    kind_list_free(kinds);
    if (b.len > 0) return buf_take(&b);
    buf_fini(&b);
    return NULL;
}
