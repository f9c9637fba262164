/* Texts about a run that went wrong: the crash report (which stage, doing what, its last words, what
 * followed) and links whose ends disagree. */
#include "graph/control/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_LINES = 10, LAST_BYTES = 8192, LAST_COLUMNS = 160 };

/* --- the crash report --- */

static void add_path(struct buf *out, const char *path)
{
    const char *home = getenv("HOME");
    size_t n = home != NULL ? strlen(home) : 0;
    if (n > 1 && strncmp(path, home, n) == 0 && path[n] == '/')
        buf_printf(out, "~%s", path + n);
    else
        buf_add_text(out, path);
}

static void add_duration(struct buf *out, double seconds)
{
    if (seconds < 10)
        buf_printf(out, "%.1f s", seconds);
    else if (seconds < 120)
        buf_printf(out, "%.0f s", seconds);
    else
        buf_printf(out, "%.0f min", seconds / 60);
}

static void add_headline(const struct supervisor *s, const struct child *c, struct buf *out)
{
    char rss[16];
    if (s->bad_document != NULL) {
        buf_printf(out, "stage %s failed on a document, and its on_error is stop\n  %s", c->process->name,
                   s->bad_document);
        return;
    }
    buf_printf(out, "stage %s (pid %d) ", c->process->name, (int)c->pid);
    supervisor_print_death(c, out);
    buf_add_text(out, " after ");
    add_duration(out, (double)(c->ended_ns - c->started_ns) / 1e9);
    buf_printf(out, " (RSS %s)", value_format_bytes(rss, c->peak_rss_bytes));
    if (s->why != NULL) buf_printf(out, "\n  given up       %s", s->why);
}

static void add_work(const struct child *c, struct buf *out)
{
    char work[256];
    status_get_work(c->page, work, sizeof work);
    if (work[0] != '\0') buf_printf(out, "\n  working on     %s", work);
}

/* The end of the file, from the beginning of a line if it is not all of it. free() it. */
static char *read_tail(const char *path)
{
    char *text = calloc(1, LAST_BYTES + 1);
    if (text == NULL) abort();
    FILE *f = fopen(path, "re");
    if (f == NULL) return text;
    bool cut = fseek(f, -LAST_BYTES, SEEK_END) == 0 && ftell(f) > 0;
    if (!cut) rewind(f);
    size_t n = fread(text, 1, LAST_BYTES, f);
    fclose(f);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' && text[i] != '\n') text[i] = text[i] == '\t' ? ' ' : '?';
    while (n > 0 && text[n - 1] == '\n') text[--n] = '\0';
    char *newline = cut ? strchr(text, '\n') : NULL;
    if (newline != NULL) memmove(text, newline + 1, strlen(newline + 1) + 1);
    return text;
}

static const char *last_lines(const char *text)
{
    size_t lines = 0;
    for (const char *at = text + strlen(text); at > text; at--)
        if (at[-1] == '\n' && ++lines == LAST_LINES) return at;
    return text;
}

static void add_last_words(const struct supervisor *s, const struct child *c, struct buf *out)
{
    char *path = rundir_log_path(s->o->run, c->process->name), *text = read_tail(path);
    buf_add_text(out, "\n  last words     ");
    add_path(out, path);
    if (text[0] == '\0') buf_add_text(out, " (empty)");
    for (const char *at = last_lines(text); *at != '\0';) {
        size_t n = strcspn(at, "\n");
        buf_printf(out, "\n                 | %.*s", (int)(n < LAST_COLUMNS ? n : LAST_COLUMNS), at);
        at += n + (at[n] == '\n');
    }
    free(text);
    free(path);
}

/* Was it alive when that one failed, and did not end in order? */
static bool followed(const struct child *c, const struct child *failed)
{
    return c != failed && !c->process->gone && (c->stopped_by_us || supervisor_child_failed(c));
}

/* "score and write stopped" */
static void add_followers(const struct supervisor *s, const struct child *failed, struct buf *out)
{
    size_t total = 0, n = 0;
    for (size_t i = 0; i < s->count; i++) total += followed(&s->children[i], failed);
    if (total == 0) return;
    buf_add_text(out, "\n  because of it  ");
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (!followed(c, failed)) continue;
        buf_printf(out, "%s%s", n == 0 ? "" : n + 1 == total ? " and " : ", ", c->process->name);
        n++;
    }
    buf_add_text(out, " stopped");
}

static void add_written(const struct supervisor *s, struct buf *out)
{
    struct supervisor_totals t = supervisor_total_now(s);
    const char *output = supervisor_output(s->plan);
    buf_printf(out, "\n  written        %llu ", (unsigned long long)t.documents);
    if (t.expected > 0) buf_printf(out, "of %llu ", (unsigned long long)t.expected);
    buf_printf(out, "document%s to ", (t.expected > 0 ? t.expected : t.documents) == 1 ? "" : "s");
    if (output != NULL)
        add_path(out, output);
    else
        buf_add_text(out, "standard output");
    if (supervisor_can_resume(s)) {
        buf_add_text(out, "; ");
        supervisor_print_resume(s->o->run, out);
    }
}

/* Sinks that cannot take back what they printed would print it again. */
bool supervisor_can_resume(const struct supervisor *s)
{
    if (!s->tracked) return false;
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].control.final) return false;
    return true;
}

void supervisor_print_resume(const struct rundir *run, struct buf *out)
{
    buf_printf(out, "go on: thea run --resume %s", run->by_name ? run->name : run->path);
}

void supervisor_report_crash(const struct supervisor *s, struct buf *out)
{
    const struct child *c = &s->children[s->failed];
    add_headline(s, c, out);
    add_work(c, out);
    add_last_words(s, c, out);
    add_followers(s, c, out);
    add_written(s, out);
}

/* --- links --- */

static const struct status_link *find_row(const struct supervise_process *p, uint32_t number, bool outgoing)
{
    uint32_t n = atomic_load(&p->status.link_count);
    for (uint32_t i = 0; i < n && i < STATUS_LINKS_MAX; i++) {
        const struct status_link *row = &p->status.links[i];
        if (row->number == number && (row->outgoing != 0) == outgoing) return row;
    }
    return NULL;
}

/* A foreign program may leave its page alone, and a page has only so many rows: then there is nothing to
 * compare. */
static bool tells_its_links(const struct supervise_process *p)
{
    uint32_t n = atomic_load(&p->status.link_count);
    return n > 0 && n < STATUS_LINKS_MAX;
}

size_t supervisor_reconcile(const struct supervise_result *r, const struct plan *plan, struct buf *out)
{
    size_t differ = 0;
    for (size_t i = 0; i < plan->link_count; i++) {
        const struct plan_link *ln = &plan->links[i];
        const struct supervise_process *from = &r->processes[ln->from], *to = &r->processes[ln->to];
        if (!tells_its_links(from) || !tells_its_links(to)) continue;
        if (from->incarnation > 1 || to->incarnation > 1) continue; /* the dead one's counts are gone */
        const struct status_link *sent = find_row(from, ln->number, true),
                                 *got = find_row(to, ln->number, false);
        uint64_t a = sent != NULL ? atomic_load(&sent->frames) : 0,
                 b = got != NULL ? atomic_load(&got->frames) : 0;
        if (a == b) continue;
        if (differ++ == 0) buf_add_text(out, "frames were lost or repeated on a link");
        buf_printf(out, "\n  %s.%s to %s.%s: %llu sent, %llu received", from->name, ln->from_port, to->name,
                   ln->to_port, (unsigned long long)a, (unsigned long long)b);
        if (got != NULL)
            buf_printf(out, " (of these %llu unwanted, %llu stale)",
                       (unsigned long long)atomic_load(&got->unwanted),
                       (unsigned long long)atomic_load(&got->stale));
    }
    if (differ > 0)
        buf_add_text(out, "\n  this is a bug of thea or of an outside stage; the results cannot be trusted");
    return differ;
}
