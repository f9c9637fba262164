/* The control channel: see channel.h. */
#include "graph/channel.h"

#include "graph/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

struct channel {
    int fd;
    struct buf in, out;
    size_t taken;   /* bytes of `in` that were handed out */
    size_t scanned; /* bytes of `in` that hold no newline, from `taken` on */
    bool ended;     /* the other end is gone */
};

thea_rc channel_adopt(struct channel **out, int fd, struct thea_err *err)
{
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
        return thea_fail(err, THEA_EUSAGE, "descriptor %d is not a stream socket", fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return thea_fail(err, THEA_EOS, "cannot set up descriptor %d: %s", fd, strerror(errno));
    struct channel *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    c->fd = fd;
    *out = c;
    return THEA_OK;
}

thea_rc channel_pair(struct channel **ours, int *theirs, struct thea_err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return thea_fail(err, THEA_EOS, "cannot make a socket pair: %s", strerror(errno));
    thea_rc rc = channel_adopt(ours, ends[0], err);
    if (rc != THEA_OK) {
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    *theirs = ends[1];
    return THEA_OK;
}

void channel_free(struct channel *c)
{
    if (c == NULL) return;
    close(c->fd);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

int channel_fd(const struct channel *c)
{
    return c->fd;
}

short channel_events(const struct channel *c)
{
    if (c->ended) return 0;
    return c->out.len > 0 ? POLLIN | POLLOUT : POLLIN;
}

bool channel_idle(const struct channel *c)
{
    return c->out.len == 0;
}

void channel_flush(struct channel *c)
{
    size_t sent = 0;
    while (sent < c->out.len && !c->ended) {
        ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n < 0) break; /* gone: what it said before is still to be read */
        sent += (size_t)n;
    }
    buf_drop_front(&c->out, sent);
}

thea_rc channel_send(struct channel *c, struct json_node *message, struct thea_err *err)
{
    char *line = json_print(message, 0, 0);
    json_free(message);
    if (c->out.len + strlen(line) > CHANNEL_BACKLOG_MAX) {
        free(line);
        return thea_fail(err, THEA_EIO, "the other end of the control channel reads nothing: %zu bytes wait",
                         c->out.len);
    }
    if (!c->ended) {
        buf_add_text(&c->out, line);
        buf_add_char(&c->out, '\n');
    }
    free(line);
    channel_flush(c);
    return THEA_OK;
}

/* The line that is whole, or NULL. */
static const char *find_line(struct channel *c, size_t *len)
{
    const char *start = c->in.data + c->taken;
    size_t have = c->in.len - c->taken;
    const char *newline = have > c->scanned ? memchr(start + c->scanned, '\n', have - c->scanned) : NULL;
    c->scanned = newline != NULL ? 0 : have;
    if (newline == NULL) return NULL;
    *len = (size_t)(newline - start);
    c->taken += *len + 1;
    return start;
}

static thea_rc read_more(struct channel *c, struct thea_err *err)
{
    buf_drop_front(&c->in, c->taken);
    c->taken = 0;
    if (c->in.len > CHANNEL_LINE_MAX)
        return thea_fail(err, THEA_EFRAME, "a line of over %d bytes on the control channel",
                         CHANNEL_LINE_MAX);
    for (;;) {
        ssize_t n = read(c->fd, buf_reserve(&c->in, READ_BYTES), READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return THEA_AGAIN;
        if (n <= 0) c->ended = true; /* a reset, too, is the other side's end */
        if (n > 0) c->in.len += (size_t)n;
        return n > 0 ? THEA_OK : THEA_DONE;
    }
}

thea_rc channel_receive(struct channel *c, struct json_node **out, struct thea_err *err)
{
    for (;;) {
        size_t len = 0;
        const char *line = c->in.len > 0 ? find_line(c, &len) : NULL;
        if (line != NULL) {
            if (json_parse(out, line, len, "control message", err) == THEA_OK) return THEA_OK;
            return err != NULL ? err->rc = THEA_EFRAME : THEA_EFRAME;
        }
        if (c->ended) return THEA_DONE;
        thea_rc rc = read_more(c, err);
        if (rc != THEA_OK) return rc;
    }
}
