/* A manifest's file anew: see manifest_file.h. It is whole under another name before it takes the old one's
 * place, so whoever dies, one of the two is there.
 *
 * Invariant: read again, the new file gives what is in memory: items, spans and what each item has reached.
 */
#include "stages/support/manifest_file.h"

#include "graph/fault.h"
#include "graph/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* lines[i]: lines of the item's file up to the end of span i: where its next span begins, else what the item
 * has reached. free() it. */
static uint64_t *lines_after(const struct manifest *m)
{
    uint64_t *after = calloc(m->span_count + 1, sizeof *after),
             *next = calloc(m->item_count + 1, sizeof *next);
    if (after == NULL || next == NULL) abort();
    for (size_t i = 0; i < m->item_count; i++) next[i] = m->items[i].line;
    for (size_t i = m->span_count; i-- > 0;) {
        after[i] = next[m->spans[i].item];
        next[m->spans[i].item] = m->spans[i].line;
    }
    free(next);
    return after;
}

/* Bytes that hold no record lie between `from` and `to`, or behind the last record. */
static void print_gap(struct buf *out, size_t item, uint64_t streams, uint64_t from, uint64_t to,
                      uint64_t line)
{
    if (from == to) return;
    struct manifest_span gap = {streams, 0, item, from, to, line};
    manifest_file_print(out, manifest_line_records(&gap));
}

static void print_spans(struct buf *out, const struct manifest *m)
{
    uint64_t *after = lines_after(m), *reached = calloc(m->item_count + 1, sizeof *reached);
    if (reached == NULL) abort();
    for (size_t i = 0; i < m->span_count; i++) {
        struct manifest_span span = m->spans[i];
        for (uint64_t k = 0; span.end == 0 && k < span.count; k++)
            manifest_file_print(out, manifest_line_one(span.item + k, span.first + k));
        if (span.end == 0) continue;
        print_gap(out, span.item, span.first, reached[span.item], span.offset, span.line);
        span.line = after[i];
        manifest_file_print(out, manifest_line_records(&span));
        reached[span.item] = span.end;
    }
    for (size_t i = 0; i < m->item_count; i++)
        print_gap(out, i, m->streams, reached[i], m->items[i].reached, m->items[i].line);
    free(after);
    free(reached);
}

static void print_all(struct buf *out, const struct manifest *m, const char *const *kinds)
{
    manifest_file_print(out, manifest_line_base(m->base));
    for (size_t i = 0; i < m->item_count; i++) {
        const struct manifest_item *it = &m->items[i];
        manifest_file_print(out, manifest_line_item(i, kinds[it->kind], it->path, it->size, it->mtime_ns));
        if (it->moved != NULL) manifest_file_print(out, manifest_line_moved(i, it->moved));
        if (it->left_out) manifest_file_print(out, manifest_line_out(i, "left out"));
    }
    manifest_file_print(out, manifest_line_listed(m->item_count));
    print_spans(out, m);
    for (size_t i = 0; i < m->item_count; i++) {
        const struct manifest_item *it = &m->items[i];
        bool one = it->count == 1 && it->reached == 0; /* a file's line has said it */
        if (it->done && !it->left_out && !one) manifest_file_print(out, manifest_line_done(i));
    }
}

static void sync_folder(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) abort();
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* a file system that cannot sync a folder keeps its entries by other means */
        close(fd);
    }
    free(copy);
}

/* The descriptor of what is now the file; -1: errno says why not, and the old one is there. */
static int replace(const char *path, const struct buf *lines)
{
    struct buf beside = {0};
    buf_printf(&beside, "%s.new", path);
    int fd = open(beside.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && manifest_file_write(fd, lines);
    thea_fault("source.rewrite");
    good = good && rename(beside.data, path) == 0;
    int why = errno;
    if (good) {
        sync_folder(path);
    } else {
        if (fd >= 0) close(fd);
        unlink(beside.data);
        fd = -1;
    }
    buf_fini(&beside);
    errno = why;
    return fd;
}

void manifest_rewrite(struct manifest *m, const char *const *kinds)
{
    struct buf lines = {0};
    print_all(&lines, m, kinds);
    int fd = replace(m->path, &lines);
    m->span_lines = m->span_count; /* also after a failure: it is tried again when as much more has come */
    if (fd >= 0) {
        close(m->fd);
        m->fd = fd;
        m->size = lines.len;
        thea_fault("source.rewritten");
    } else {
        thea_warning("%s: cannot be written anew: %s", m->path, strerror(errno));
    }
    buf_fini(&lines);
}
