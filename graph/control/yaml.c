/* Reading YAML with marks: see yaml.h. libyaml's events are turned into a tree by recursion, at most
 * YAML_DEPTH_MAX deep. */
#include "graph/control/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    const char *file, *text;
    size_t first_line;
    struct diag_list *diags;
    bool failed; /* nothing more can be read */
};

/* --- before parsing: bytes --- */

/* Length of the valid UTF-8 character at s, 0 if there is none (overlong forms, surrogates and values over
 * U+10FFFF are not). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
    if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
    return n;
}

static void report_tabs(struct reader *r, struct diag_place first, size_t lines)
{
    if (lines == 0) return;
    const char *details =
        "YAML gives tabs no width; indent with spaces, and write \"\\t\" in quotes where a value needs one";
    if (lines == 1)
        diag_add(r->diags, "E003", first, details, "a tab");
    else
        diag_add(r->diags, "E003", first, details, "a tab (and on %zu more line%s)", lines - 1,
                 lines == 2 ? "" : "s");
    r->failed = true;
}

/* Tabs, bytes that are not UTF-8, nothing at all: found before libyaml sees the text, which would be vague
 * about them. */
static void scan_bytes(struct reader *r, const char *text, size_t len)
{
    struct diag_place place = {.file = r->file, .line = r->first_line, .column = 1, .length = 1},
                      first_tab = place;
    size_t tab_lines = 0, last_tab_line = 0;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length((const unsigned char *)text + i, len - i);
        if (n == 0 || text[i] == '\0') {
            if (n > 0)
                diag_add(r->diags, "E001", place, "a pipeline file is UTF-8 text", "a NUL byte");
            else
                diag_add(r->diags, "E001", place, "a pipeline file is UTF-8 text", "byte 0x%02X is not UTF-8",
                         (unsigned char)text[i]);
            r->failed = true;
            return;
        }
        if (text[i] == '\t' && place.line != last_tab_line) {
            if (tab_lines++ == 0) first_tab = place;
            last_tab_line = place.line;
        }
        bool newline = text[i] == '\n';
        place.line += newline;
        place.column = newline ? 1 : place.column + 1;
        i += n;
    }
    report_tabs(r, first_tab, tab_lines);
}

/* --- events --- */

static struct diag_place event_place(const struct reader *r)
{
    const yaml_mark_t *start = &r->event.start_mark, *end = &r->event.end_mark;
    struct diag_place place = {r->file, r->first_line + start->line, start->column + 1, 1};
    bool scalar = r->event.type == YAML_SCALAR_EVENT || r->event.type == YAML_ALIAS_EVENT;
    if (scalar && end->line == start->line && end->index > start->index)
        place.length = end->index - start->index;
    return place;
}

/* The place of a byte of the text. */
static struct diag_place place_at(const struct reader *r, size_t offset)
{
    struct diag_place place = {r->file, r->first_line, 1, 1};
    for (size_t i = 0; i < offset; i++) {
        bool newline = r->text[i] == '\n';
        place.line += newline;
        place.column = newline ? 1 : place.column + (((unsigned char)r->text[i] & 0xC0) != 0x80);
    }
    return place;
}

static void syntax_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const yaml_mark_t *mark = &p->problem_mark;
    struct diag_place place = {r->file, r->first_line + mark->line, mark->column + 1, 1};
    if (p->error == YAML_READER_ERROR) place = place_at(r, p->problem_offset); /* no mark: it looks ahead */
    struct buf details = {0};
    if (p->context != NULL && strstr(p->context, "quoted scalar") != NULL &&
        strstr(p->problem, "end of stream") != NULL) {
        place =
            (struct diag_place){r->file, r->first_line + p->context_mark.line, p->context_mark.column + 1, 1};
        diag_add(r->diags, "E002", place, NULL, "YAML: this quote is never closed");
        r->failed = true;
        return;
    }
    if (p->context != NULL)
        buf_printf(&details, "%s that began at line %zu, column %zu", p->context,
                   r->first_line + p->context_mark.line, p->context_mark.column + 1);
    const char *problem = p->problem != NULL ? p->problem : "cannot be read";
    diag_add(r->diags, "E002", place, p->context != NULL ? buf_text(&details) : NULL, "YAML: %s", problem);
    buf_fini(&details);
    r->failed = true;
}

static bool next_event(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (!r->failed && !yaml_parser_parse(&r->parser, &r->event)) syntax_error(r);
    return !r->failed;
}

static void refuse(struct reader *r, const char *what, const char *details)
{
    diag_add(r->diags, "E006", event_place(r), details, "%s", what);
}

static void refuse_anchor_and_tag(struct reader *r)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (r->event.type == YAML_SCALAR_EVENT)
        anchor = r->event.data.scalar.anchor, tag = r->event.data.scalar.tag;
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        anchor = r->event.data.sequence_start.anchor, tag = r->event.data.sequence_start.tag;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        anchor = r->event.data.mapping_start.anchor, tag = r->event.data.mapping_start.tag;
    if (anchor != NULL)
        refuse(r, "an anchor (&): pipeline files have none",
               "write the value where it is needed, or put common keys under `defaults:`");
    if (tag != NULL)
        refuse(r, "a tag (!): pipeline files have none", "types come from the options; leave the tag out");
}

static struct yaml_node *read_node(struct reader *r, int depth);

static struct yaml_node *read_scalar(struct reader *r)
{
    struct yaml_node *node = yaml_new_scalar((const char *)r->event.data.scalar.value, event_place(r));
    node->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(node->text) != r->event.data.scalar.length)
        diag_add(r->diags, "E001", node->place, "leave \\0 out", "a value with a NUL character");
    return node;
}

static void read_list(struct reader *r, struct yaml_node *list, int depth)
{
    while (next_event(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        struct yaml_node *item = read_node(r, depth + 1);
        if (item == NULL) return;
        yaml_append(list, item);
    }
}

static void add_member(struct reader *r, struct yaml_node *map, struct yaml_node *key, struct yaml_node *item)
{
    struct yaml_node *before = key->sort == YAML_IS_SCALAR ? yaml_member_key(map, key->text) : NULL;
    if (key->sort == YAML_IS_SCALAR && before == NULL) {
        yaml_put(map, key, item);
        return;
    }
    if (before != NULL) {
        struct buf details = {0};
        buf_printf(&details, "the first one is at line %zu, column %zu; one of them must go",
                   before->place.line, before->place.column);
        diag_add(r->diags, "E005", key->place, buf_text(&details), "key '%s' is there twice", key->text);
        buf_fini(&details);
    } else {
        diag_add(r->diags, "E011", key->place,
                 "write keys as plain words; a value that holds { or [ needs quotes", "%s cannot be a key",
                 yaml_sort_name(key));
    }
    yaml_node_free(key);
    yaml_node_free(item);
}

static void read_map(struct reader *r, struct yaml_node *map, int depth)
{
    while (next_event(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        struct yaml_node *key = read_node(r, depth + 1);
        if (key == NULL) return;
        struct yaml_node *item = next_event(r) ? read_node(r, depth + 1) : NULL;
        if (item == NULL) {
            yaml_node_free(key);
            return;
        }
        add_member(r, map, key, item);
    }
}

/* The node that begins with the current event; NULL when reading has to stop. */
static struct yaml_node *read_node(struct reader *r, int depth)
{
    if (depth > YAML_DEPTH_MAX) {
        diag_add(r->diags, "E008", event_place(r), NULL, "nested deeper than %d levels", YAML_DEPTH_MAX);
        r->failed = true;
        return NULL;
    }
    refuse_anchor_and_tag(r);
    struct yaml_node *node = NULL;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: return read_scalar(r);
    case YAML_ALIAS_EVENT:
        refuse(r, "an alias (*): pipeline files have none",
               "write the value where it is needed; a text that begins with * needs quotes: \"*.md\"");
        node = yaml_new_scalar("", event_place(r));
        node->broken = true;
        return node;
    case YAML_SEQUENCE_START_EVENT:
        node = yaml_new_list(event_place(r));
        read_list(r, node, depth);
        break;
    case YAML_MAPPING_START_EVENT:
        node = yaml_new_map(event_place(r));
        read_map(r, node, depth);
        break;
    default: assert(!"an event that begins no node"); break;
    }
    if (!r->failed) return node;
    yaml_node_free(node);
    return NULL;
}

static struct yaml_node *read_document(struct reader *r)
{
    bool begun = next_event(r);       /* stream start */
    if (begun) begun = next_event(r); /* document start, or the stream's end */
    if (!begun) return NULL;
    if (r->event.type != YAML_DOCUMENT_START_EVENT) {
        struct diag_place place = {r->file, r->first_line, 1, 1};
        diag_add(
            r->diags, "E004", place,
            "the least there can be: `stages:` with a source and a sink (thea new pipeline NAME writes one)",
            "there is nothing in this file");
        return NULL;
    }
    if (!next_event(r)) return NULL;
    struct yaml_node *root = read_node(r, 1);
    if (root == NULL) return NULL;
    bool more = next_event(r); /* document end */
    if (more) more = next_event(r);
    if (more && r->event.type == YAML_DOCUMENT_START_EVENT) {
        struct diag_place place = event_place(r);
        place.length = 3;
        diag_add(r->diags, "E007", place, "put it into a file of its own",
                 "a second document: a file holds one pipeline");
    }
    return root;
}

struct yaml_node *yaml_read(const char *text, size_t len, const char *file, size_t first_line,
                            struct diag_list *diags)
{
    struct reader r = {.file = file, .first_line = first_line, .diags = diags};
    if (len > YAML_TEXT_MAX) {
        diag_add(diags, "E001", (struct diag_place){file, first_line, 1, 0}, NULL,
                 "%zu bytes: a pipeline file has at most %d", len, YAML_TEXT_MAX);
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3, len -= 3;
    r.text = text;
    scan_bytes(&r, text, len);
    if (r.failed) return NULL;
    if (!yaml_parser_initialize(&r.parser)) abort();
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    struct yaml_node *root = read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return root;
}
