/* Bytes between the children and the outside: their stderr into logs (warnings also to ours), a terminal's
 * input to the source that wants it. Invariant: nothing here blocks, but for writing a log. */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16384 }; /* of a line that may be a warning; longer ones are in the log alone */

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(fd, bytes, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, 1000) > 0) continue;
        }
        if (wrote <= 0) return false;
        bytes += wrote;
        n -= (size_t)wrote;
    }
    return true;
}

void supervisor_tell(struct supervisor *s, const char *text)
{
    struct buf line = {0};
    supervisor_progress_erase(s);
    buf_printf(&line, "%s\n", text);
    write_all(STDERR_FILENO, line.data, line.len); /* if it fails nobody is left to tell */
    buf_fini(&line);
}

/* Control characters could steer a terminal; file names may hold them. */
static void forward_warning(struct supervisor *s, struct buf *line)
{
    if (s->o->quiet || strstr(buf_text(line), "warning:") == NULL) return;
    for (size_t i = 0; i < line->len; i++) {
        unsigned char ch = (unsigned char)line->data[i];
        if ((ch < ' ' && ch != '\t') || ch == 127) line->data[i] = '?';
    }
    supervisor_tell(s, line->data);
}

static void take_lines(struct supervisor *s, struct child *c, const char *bytes, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(bytes, '\n', n);
        size_t length = newline != NULL ? (size_t)(newline - bytes) : n;
        if (c->line.len + length <= LINE_MAX_BYTES) buf_add(&c->line, bytes, length);
        if (newline == NULL) return;
        forward_warning(s, &c->line);
        buf_clear(&c->line);
        bytes += length + 1;
        n -= length + 1;
    }
}

static void write_log(struct supervisor *s, struct child *c, const char *bytes, size_t n)
{
    if (c->log_fd < 0 || write_all(c->log_fd, bytes, n) || s->log_full_told) return;
    s->log_full_told = true;
    struct buf text = {0};
    buf_printf(&text, "thea: warning: cannot write the log of %s: %s", c->process->name, strerror(errno));
    supervisor_tell(s, text.data);
    buf_fini(&text);
}

void supervisor_pump_stderr(struct supervisor *s, struct child *c)
{
    char bytes[16384];
    while (c->stderr_fd >= 0) {
        ssize_t n = read(c->stderr_fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            close(c->stderr_fd);
            c->stderr_fd = -1;
            return;
        }
        write_log(s, c, bytes, (size_t)n);
        take_lines(s, c, bytes, (size_t)n);
    }
}

void supervisor_close_stderr(struct supervisor *s, struct child *c)
{
    if (c->line.len > 0) forward_warning(s, &c->line);
    buf_fini(&c->line);
    if (c->stderr_fd >= 0) close(c->stderr_fd);
    if (c->log_fd >= 0) close(c->log_fd);
    c->stderr_fd = c->log_fd = -1;
}

void supervisor_close_stdin(struct supervisor *s)
{
    if (s->pump.to >= 0) close(s->pump.to);
    s->pump.from = s->pump.to = -1;
}

void supervisor_forget_stdin(struct supervisor *s)
{
    supervisor_close_stdin(s);
    if (s->pump.given >= 0) close(s->pump.given);
    s->pump.given = -1;
}

void supervisor_pump_stdin(struct supervisor *s, bool readable, bool writable)
{
    struct stdin_pump *p = &s->pump;
    if (readable && p->start == p->end) {
        ssize_t n = read(p->from, p->data, sizeof p->data);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
        if (n <= 0) {
            supervisor_close_stdin(s);
            return;
        }
        p->start = 0;
        p->end = (size_t)n;
        writable = true;
    }
    if (!writable || p->start == p->end) return;
    ssize_t n = write(p->to, p->data + p->start, p->end - p->start);
    if (n >= 0)
        p->start += (size_t)n;
    else if (errno != EINTR && errno != EAGAIN)
        supervisor_close_stdin(s); /* EPIPE: the source has enough */
}
