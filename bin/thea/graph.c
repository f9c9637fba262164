/* thea graph: a pipeline as a picture, in DOT or Mermaid. */
#include "bin/thea/support/pipeline.h"

#include <stdio.h>
#include <string.h>

static void add_label(struct buf *b, const struct spec_stage *st, const char *newline)
{
    buf_add_text(b, st->name);
    if (strcmp(st->name, st->kind) != 0) buf_printf(b, "%s%s", newline, st->kind);
    if (st->split > 1) buf_printf(b, "%s%d parts", newline, st->split);
    if (st->replicas > 1) buf_printf(b, "%s%d replicas", newline, st->replicas);
    if (st->threads > 1) buf_printf(b, "%s%d threads", newline, st->threads);
}

/* Kinds may be paths: the only foreign text in a picture. */
static void add_escaped(struct buf *out, const struct buf *text, const char *quote)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == '"')
            buf_add_text(out, quote);
        else
            buf_add_char(out, text->data[i]);
    }
}

static void print_dot(const struct spec *s, struct buf *out)
{
    buf_printf(out,
               "digraph \"%s\" {\n  rankdir=LR;\n  node [shape=box, style=rounded, "
               "fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
               s->name);
    for (size_t i = 0; i < s->stage_count; i++) {
        struct buf label = {0};
        add_label(&label, &s->stages[i], "\\n");
        buf_printf(out, "  \"%s\" [label=\"", s->stages[i].name);
        add_escaped(out, &label, "\\\"");
        buf_printf(out, "\"%s];\n", s->stages[i].split * s->stages[i].replicas > 1 ? ", peripheries=2" : "");
        buf_fini(&label);
    }
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *e = &s->edges[i];
        buf_printf(out, "  \"%s\" -> \"%s\" [label=\"%s\\n%s\"%s];\n", s->stages[e->from].name,
                   s->stages[e->to].name, e->from_port, e->pattern,
                   e->feedback ? ", style=dashed, constraint=false" : "");
    }
    buf_add_text(out, "}\n");
}

static void print_mermaid(const struct spec *s, struct buf *out)
{
    buf_add_text(out, "flowchart LR\n");
    for (size_t i = 0; i < s->stage_count; i++) {
        struct buf label = {0};
        add_label(&label, &s->stages[i], "<br>");
        buf_printf(out, "  s%zu[\"", i);
        add_escaped(out, &label, "#quot;");
        buf_add_text(out, "\"]\n");
        buf_fini(&label);
    }
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *e = &s->edges[i];
        buf_printf(out, "  s%zu %s|\"%s<br>%s\"| s%zu\n", e->from, e->feedback ? "-.->" : "-->", e->from_port,
                   e->pattern, e->to);
    }
}

static int run_graph(const struct command_args *args)
{
    struct spec_overrides overrides;
    struct spec *spec = NULL;
    struct buf out = {0};
    const char *format = command_value(args, "format");
    pipeline_overrides(&overrides, args, 1);
    int status = pipeline_load(&spec, args->operands[0], &overrides);
    if (status == 0) {
        if (format != NULL && strcmp(format, "mermaid") == 0)
            print_mermaid(spec, &out);
        else
            print_dot(spec, &out);
        fputs(buf_text(&out), stdout);
    }
    buf_fini(&out);
    spec_free(spec);
    pipeline_overrides_fini(&overrides);
    return status;
}

static const char *const formats[] = {"dot", "mermaid", NULL};

static const struct command_option options[] = {
    PIPELINE_OPTIONS,
    {"format", 0, VALUE_CHOICE, "FORM", "dot (default), mermaid", formats},
    {0},
};

static const char *const examples[] = {
    "thea graph score | dot -Tsvg > score.svg         a picture (package graphviz)",
    "thea graph score --format mermaid                for Markdown: put it into a ```mermaid block",
    NULL,
};

const struct command command_graph = {
    .name = "graph",
    .operands = "FILE|NAME",
    .summary = "a pipeline as a picture: DOT or Mermaid",
    .description =
        "Prints the graph of stages; edges carry the port, its dtype and its shape, feedback is dashed.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_graph,
};
