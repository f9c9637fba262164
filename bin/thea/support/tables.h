/* Kinds' tables as people and editors read them: text, Markdown, JSON Schema. All from what --describe
 * prints. */
#ifndef BIN_THEA_TABLES_H
#define BIN_THEA_TABLES_H

#include "graph/buf.h"
#include "graph/json.h"

struct tables {
    char **names;
    const struct json_node **tables;
    size_t count;
}; /* of every kind found, sorted; tables borrowed */

/* Ask every kind. A program that does not answer is left out with a warning. */
void tables_load(struct tables *out);
void tables_free(struct tables *t);

bool tables_flag(const struct json_node *row, const char *flag);        /* of an option or port */
void tables_add_pattern(struct buf *out, const struct json_node *port); /* "f32 [n, hidden]" */
void tables_add_type(
    struct buf *out,
    const struct json_node *option); /* "positions" is not a type: "integer", "auto|text|jsonl" */

void tables_print_list(const struct tables *t, struct buf *out);
void tables_print_kind(const struct json_node *table,
                       struct buf *out); /* ports side by side, a line an option */
void tables_print_markdown(const struct tables *t, struct buf *out); /* the reference in docs/pipelines.md */
struct json_node *tables_schema(const struct tables *t);             /* JSON Schema of pipeline files */

#endif
