/* The progress line: "score 34/96 docs 15.9k tok/s 25 s left | load 1 tokenize 4 layers 98+97 score 6 write 0
 * % busy". Redrawn in place on a terminal, or (--progress plain) a line of its own now and then. */
#include "graph/control/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    STAGES_ALL,
    STAGES_BUSY,
    STAGES_NONE
}; /* how much of the right half is shown: less when the line gets too long */

static uint64_t interval_ns(const struct supervisor *s)
{
    if (s->o->quiet) return 0;
    if (s->o->progress_line) return SUPERVISOR_REDRAW_MS * SUPERVISOR_NS_PER_MS;
    return s->o->progress_plain ? SUPERVISOR_PLAIN_MS * SUPERVISOR_NS_PER_MS : 0;
}

uint64_t supervisor_progress_due(const struct supervisor *s)
{
    uint64_t interval = interval_ns(s), last = s->drawn_ns != 0 ? s->drawn_ns : s->started_ns;
    return interval == 0 ? 0 : last + interval;
}

static void add_time_left(const struct supervisor_totals *t, double seconds, struct buf *out)
{
    uint64_t done = t->documents + t->failed;
    if (done < 2 || seconds < 2 || done >= t->expected) return; /* too early to say */
    double left = seconds / (double)done * (double)(t->expected - done);
    if (left < 90)
        buf_printf(out, " %.0f s left", left < 1 ? 1 : left);
    else if (left < 5400)
        buf_printf(out, " %.0f min left", left / 60);
    else
        buf_printf(out, " %.1f h left", left / 3600);
}

static void add_clock(double seconds, struct buf *out)
{
    unsigned long s = (unsigned long)seconds;
    if (s < 3600)
        buf_printf(out, " %lu:%02lu", s / 60, s % 60);
    else
        buf_printf(out, " %lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
}

static void add_head(const struct supervisor *s, uint64_t now_ns, struct buf *out)
{
    struct supervisor_totals t = supervisor_total_now(s);
    double seconds = (double)(now_ns - s->started_ns) / 1e9;
    char rate[16];
    buf_printf(out, "%s %llu", s->o->label, (unsigned long long)t.documents + t.failed);
    if (t.expected > 0) buf_printf(out, "/%llu", (unsigned long long)t.expected);
    buf_add_text(out, " docs");
    if (t.tokens > 0 && seconds > 0)
        buf_printf(out, " %s tok/s", value_format_rate(rate, (double)t.tokens / seconds));
    if (t.expected > 0)
        add_time_left(&t, seconds, out);
    else
        add_clock(seconds, out);
}

/* "98", or for several replicas their mean "3x97"; nothing if there is no such part. */
static bool add_part(const struct supervisor *s, size_t stage, size_t part, const char *before,
                     struct buf *out)
{
    size_t replicas = 0, sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct plan_process *p = &s->plan->processes[i];
        if (p->stage != stage || p->part != part || p->gone) continue;
        replicas++;
        sum += (size_t)s->children[i].busy_percent;
    }
    if (replicas == 0) return false;
    buf_add_text(out, before);
    if (replicas > 1) buf_printf(out, "%zux", replicas);
    buf_printf(out, "%zu", (sum + replicas / 2) / replicas);
    return true;
}

/* " layers 98+97": the stage that process i is of, its parts joined; nothing if an earlier process is of it.
 */
static void add_stage(const struct supervisor *s, size_t i, int detail, struct buf *out)
{
    const struct plan_process *first = &s->plan->processes[i];
    int busiest = 0;
    for (size_t k = 0; k < s->count; k++) {
        if (s->plan->processes[k].stage != first->stage) continue;
        if (k < i) return;
        if (s->children[k].busy_percent > busiest) busiest = s->children[k].busy_percent;
    }
    if (detail == STAGES_BUSY && busiest == 0) return;
    buf_printf(out, " %.*s", (int)supervisor_stage_name(first), first->name);
    for (size_t part = 0; add_part(s, first->stage, part, part > 0 ? "+" : " ", out); part++) {}
}

static void make_line(const struct supervisor *s, uint64_t now_ns, int detail, struct buf *out)
{
    buf_clear(out);
    add_head(s, now_ns, out);
    if (detail == STAGES_NONE) return;
    size_t before = out->len;
    buf_add_text(out, " |");
    size_t empty = out->len;
    for (size_t i = 0; i < s->count; i++) add_stage(s, i, detail, out);
    if (out->len == empty) {
        out->len = before;
        out->data[before] = '\0';
        return;
    }
    buf_add_text(out, " % busy");
}

void supervisor_progress_text(const struct supervisor *s, uint64_t now_ns, size_t width, struct buf *out)
{
    for (int detail = STAGES_ALL; detail <= STAGES_NONE; detail++) {
        make_line(s, now_ns, detail, out);
        if (out->len <= width) return;
    }
    out->len = width;
    out->data[width] = '\0';
}

static void measure_busy(struct supervisor *s, uint64_t now_ns)
{
    uint64_t since = s->drawn_ns != 0 ? s->drawn_ns : s->started_ns, elapsed = now_ns - since;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        uint64_t busy = atomic_load(&c->page->busy_ns), more = busy - c->seen_busy_ns;
        c->seen_busy_ns = busy;
        c->busy_percent =
            elapsed == 0 ? 0 : (int)(more >= elapsed ? 100 : (more * 100 + elapsed / 2) / elapsed);
    }
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
    return size.ws_col - 1u; /* the last column would wrap on some terminals */
}

static void write_text(const char *text, size_t n)
{
    ssize_t ignored = write(STDERR_FILENO, text, n);
    (void)ignored; /* a line that is lost is drawn again */
}

void supervisor_progress_erase(struct supervisor *s)
{
    static const char erase[] = "\r\033[K";
    if (s->line_drawn) write_text(erase, sizeof erase - 1);
    s->line_drawn = false;
}

static bool in_background(void)
{
    pid_t foreground = tcgetpgrp(STDERR_FILENO);
    return foreground > 0 && foreground != getpgrp();
}

void supervisor_progress(struct supervisor *s, uint64_t now_ns)
{
    uint64_t due = supervisor_progress_due(s);
    if (due == 0 || now_ns < due || s->alive == 0) return;
    measure_busy(s, now_ns);
    s->drawn_ns = now_ns;
    struct buf line = {0};
    bool in_place = s->o->progress_line;
    if (in_place && in_background()) return;
    supervisor_progress_text(s, now_ns, in_place ? terminal_width() : 400, &line);
    if (in_place) {
        struct buf drawn = {0};
        buf_printf(&drawn, "\r%s\033[K", line.data);
        write_text(drawn.data, drawn.len);
        buf_fini(&drawn);
    } else {
        buf_add_char(&line, '\n');
        write_text(line.data, line.len);
    }
    s->line_drawn = in_place;
    buf_fini(&line);
}
