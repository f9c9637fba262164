/* See exposition.h. */
#include "tests/support/exposition.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 200, LABELS_MAX = 16 };

struct parser {
    struct exposition *out;
    char *why;
    char family[NAME_MAX_BYTES], type[32]; /* that HELP and TYPE began */
    char seen[200][NAME_MAX_BYTES];        /* families */
    size_t seen_count;
    double bucket; /* of the histogram being read: its last one; -1: none yet */
    bool infinite; /* its +Inf came */
};

static bool fail(struct parser *p, const char *what, const char *line)
{
    snprintf(p->why, 256, "%s: %.*s", what, (int)strcspn(line, "\n"), line);
    return false;
}

static size_t name_length(const char *text, bool colons)
{
    size_t n = 0;
    if (isdigit((unsigned char)text[0])) return 0;
    while (isalnum((unsigned char)text[n]) || text[n] == '_' || (colons && text[n] == ':')) n++;
    return n;
}

static bool take_comment(struct parser *p, const char *line)
{
    char word[8], name[NAME_MAX_BYTES], rest[256];
    if (sscanf(line, "# %7s %199s %255[^\n]", word, name, rest) != 3)
        return fail(p, "a broken comment", line);
    if (strcmp(word, "HELP") == 0) {
        for (size_t i = 0; i < p->seen_count; i++)
            if (strcmp(p->seen[i], name) == 0) return fail(p, "a metric that came before", line);
        if (p->seen_count == 200) return fail(p, "too many metrics", line);
        strcpy(p->seen[p->seen_count++], name);
        strcpy(p->family, name);
        p->type[0] = '\0';
        p->bucket = -1;
        p->infinite = false;
        return true;
    }
    static const char *const types[] = {"counter", "gauge", "histogram"};
    if (strcmp(word, "TYPE") != 0 || strcmp(name, p->family) != 0) return fail(p, "TYPE without HELP", line);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(rest, types[i]) == 0) strcpy(p->type, rest);
    size_t n = strlen(name);
    bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
    if (p->type[0] == '\0') return fail(p, "no such type", line);
    if (total != (strcmp(p->type, "counter") == 0)) return fail(p, "_total is for counters", line);
    return true;
}

/* The labels up to the closing brace; le, if there is one. */
static const char *take_labels(const char *at, char le[32])
{
    char names[LABELS_MAX][NAME_MAX_BYTES];
    for (size_t count = 0; count < LABELS_MAX; count++) {
        size_t n = name_length(at, false);
        if (n == 0 || n >= NAME_MAX_BYTES || strncmp(at + n, "=\"", 2) != 0) return NULL;
        snprintf(names[count], sizeof names[0], "%.*s", (int)n, at);
        for (size_t i = 0; i < count; i++)
            if (strcmp(names[i], names[count]) == 0) return NULL;
        at += n + 2;
        const char *value = at;
        for (; *at != '"'; at++) {
            if (*at == '\0' || *at == '\n') return NULL;
            if (*at == '\\' && strchr("\\\"n", *++at) == NULL) return NULL;
        }
        if (strcmp(names[count], "le") == 0) snprintf(le, 32, "%.*s", (int)(at - value), value);
        at++;
        if (*at == '}') return at + 1;
        if (*at++ != ',') return NULL;
    }
    return NULL;
}

/* A histogram's lines: buckets that grow, the last +Inf, then sum and count, which is that of +Inf. */
static bool check_histogram(struct parser *p, const char *suffix, const char *le, double value,
                            const char *line)
{
    if (strncmp(suffix, "_bucket", 7) == 0) {
        if (le[0] == '\0' || value < p->bucket) return fail(p, "a bucket that does not grow", line);
        p->bucket = value;
        p->infinite = strcmp(le, "+Inf") == 0;
        return true;
    }
    if (!p->infinite) return fail(p, "no +Inf bucket before", line);
    if (strncmp(suffix, "_sum", 4) == 0) return true;
    if (strncmp(suffix, "_count", 6) != 0) return fail(p, "no line of a histogram", line);
    if (value != p->bucket) return fail(p, "the count is not that of +Inf", line);
    p->bucket = -1;
    return true;
}

static bool take_sample(struct parser *p, const char *line)
{
    size_t n = name_length(line, true), family = strlen(p->family);
    const char *at = line + n;
    char le[32] = "", *end;
    bool histogram = strcmp(p->type, "histogram") == 0;
    if (n == 0 || p->type[0] == '\0') return fail(p, "a sample without TYPE", line);
    if (strncmp(line, p->family, family) != 0 || (n != family && !histogram))
        return fail(p, "a sample of another metric", line);
    if (*at == '{') at = take_labels(at + 1, le);
    if (at == NULL || *at != ' ') return fail(p, "broken labels", line);
    double value = strtod(at + 1, &end);
    if (end == at + 1 || *end != '\n') return fail(p, "no number, or no newline after it", line);
    if (histogram && !check_histogram(p, line + family, le, value, line)) return false;
    char *series = strndup(line, (size_t)(at - line));
    if (series == NULL || exposition_find(p->out, series, NULL)) {
        free(series);
        return fail(p, "a series that came before", line);
    }
    p->out->items = realloc(p->out->items, (p->out->count + 1) * sizeof *p->out->items);
    if (p->out->items == NULL) abort();
    p->out->items[p->out->count++] = (struct exposition_sample){series, value};
    return true;
}

bool exposition_parse(struct exposition *out, const char *text, char *why)
{
    static struct parser p;
    *out = (struct exposition){0};
    p = (struct parser){.out = out, .why = why};
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strchr(line, '\n') == NULL) return fail(&p, "no newline at the end", line);
        bool good = line[0] == '#' ? take_comment(&p, line) : take_sample(&p, line);
        if (!good) return false;
    }
    return true;
}

void exposition_fini(struct exposition *e)
{
    for (size_t i = 0; i < e->count; i++) free(e->items[i].series);
    free(e->items);
    *e = (struct exposition){0};
}

bool exposition_find(const struct exposition *e, const char *series, double *value)
{
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(e->items[i].series, series) != 0) continue;
        if (value != NULL) *value = e->items[i].value;
        return true;
    }
    return false;
}
