/* What people see of a stage while it runs: its status page and, with THEA_TRACE=FILE,
 * one JSON line an op. */
#include "graph/wire/stage_core.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void stage_count_tokens(struct stage *st, uint64_t n)
{
    count(&st->page->tokens, n);
}

void stage_count_bytes(struct stage *st, uint64_t n)
{
    count(&st->page->bytes, n);
}

void stage_waited(struct stage *st, uint64_t ns)
{
    st->waited_ns += ns;
}

void stage_progress(struct stage *st)
{
    count(&st->page->progress, 1);
}

void stage_expect(struct stage *st, uint64_t documents)
{
    atomic_store_explicit(&st->page->documents_total, documents, memory_order_relaxed);
}

void stage_working_on(struct stage *st, const char *fmt, ...)
{
    char text[sizeof st->page->work];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    status_set_work(st->page, text);
}

/* --- what a source left out --- */

static struct stage_skip *skip_of(struct stage *st, const char *reason)
{
    for (size_t i = 0; i < st->skip_count; i++)
        if (strcmp(st->skips[i].reason, reason) == 0) return &st->skips[i];
    st->skips = realloc(st->skips, (st->skip_count + 1) * sizeof *st->skips);
    if (st->skips == NULL) abort();
    struct stage_skip *s = &st->skips[st->skip_count++];
    *s = (struct stage_skip){.reason = strdup(reason)};
    if (s->reason == NULL) abort();
    return s;
}

/* "2 not UTF-8, 1 over 16 MiB"; readers look at it between stages' ends, a torn text there is only unpretty.
 */
static void publish_skips(struct stage *st)
{
    struct buf text = {0};
    for (size_t i = 0; i < st->skip_count; i++)
        buf_printf(&text, "%s%" PRIu64 " %s", i > 0 ? ", " : "", st->skips[i].count, st->skips[i].reason);
    snprintf(st->page->skipped_reasons, sizeof st->page->skipped_reasons, "%s", buf_text(&text));
    buf_fini(&text);
}

void stage_skipped(struct stage *st, const char *name, const char *reason)
{
    thea_warning("%s: skipped: %s", name, reason);
    skip_of(st, reason)->count++;
    count(&st->page->skipped, 1);
    publish_skips(st);
}

/* --- links --- */

static struct status_link *find_row(struct status_page *page, uint32_t number, bool outgoing)
{
    for (uint32_t i = 0; i < atomic_load(&page->link_count); i++)
        if (page->links[i].number == number && (page->links[i].outgoing != 0) == outgoing)
            return &page->links[i];
    return NULL;
}

static struct status_link *find_closed(struct status_page *page)
{
    for (uint32_t i = 0; i < atomic_load(&page->link_count); i++)
        if (page->links[i].closed != 0) return &page->links[i];
    return NULL;
}

static struct status_link *free_row(struct status_page *page)
{
    uint32_t n = atomic_load(&page->link_count);
    struct status_link *row = n < STATUS_LINKS_MAX ? &page->links[n] : find_closed(page);
    if (row != NULL) memset(row, 0, sizeof *row);
    if (n < STATUS_LINKS_MAX) atomic_store(&page->link_count, n + 1);
    return row;
}

struct status_link *stage_status_row(struct stage *st, const char *port, uint32_t number, bool outgoing)
{
    struct status_link *row = find_row(st->page, number, outgoing);
    if (row == NULL) row = free_row(st->page);
    if (row == NULL) return NULL;
    row->number = number;
    row->outgoing = outgoing;
    row->closed = 0;
    snprintf(row->port, sizeof row->port, "%s", port);
    return row;
}

void stage_status_row_closed(struct stage *st, uint32_t number, bool outgoing)
{
    struct status_link *row = find_row(st->page, number, outgoing);
    if (row != NULL) row->closed = 1;
}

/* --- time in ops --- */

void stage_trace_open(struct stage *st)
{
    const char *path = getenv("THEA_TRACE");
    if (path != NULL && path[0] != '\0')
        st->trace_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

uint64_t stage_op_begin(struct stage *st)
{
    const struct stage_stream *s = st->current.stream != NULL ? st->current.stream : st->source_stream;
    stage_note_stream(st, s != NULL ? s->id : STAGE_NONE);
    return status_now_ns();
}

void stage_note_stream(struct stage *st, uint64_t id)
{
    atomic_store_explicit(&st->page->work_streams[0], id + 1, memory_order_relaxed); /* NONE + 1: 0, none */
}

static void trace(struct stage *st, uint64_t begin_ns, uint64_t end_ns, const struct stage_stream *s,
                  const struct frame *in)
{
    char line[512];
    const char *kind = st->ops->inputs == NULL ? "source" : "batch";
    int n = snprintf(line, sizeof line,
                     "{\"stage\": \"%.100s\", \"kind\": \"%s\", \"stream\": %" PRIu64
                     ", \"position\": %" PRIu64 ", \"begin_ns\": %" PRIu64 ", \"end_ns\": %" PRIu64 "}\n",
                     st->name, in != NULL ? frame_kind_name(in->kind) : kind, s != NULL ? s->id : 0,
                     in != NULL ? in->position : 0, begin_ns, end_ns);
    ssize_t ignored = write(st->trace_fd, line, (size_t)n);
    (void)ignored; /* a trace that cannot be written must not stop the run */
}

void stage_op_end(struct stage *st, uint64_t begin_ns, const struct stage_stream *s, const struct frame *in)
{
    uint64_t end_ns = status_now_ns();
    stage_note_stream(st, STAGE_NONE);
    uint64_t waited_ns = st->waited_ns < end_ns - begin_ns ? st->waited_ns : end_ns - begin_ns;
    count(&st->page->busy_ns, end_ns - begin_ns - waited_ns);
    count(&st->page->starved_ns, waited_ns);
    st->waited_ns = 0;
    status_count_op(st->page, end_ns - begin_ns);
    if (st->trace_fd >= 0) trace(st, begin_ns, end_ns, s, in);
}
