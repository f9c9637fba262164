/* The run over HTTP: see supervise_metrics.h. The page is in page/, and in this program. */
#include "graph/control/supervise_metrics.h"

#include "graph/control/metrics.h"
#include "graph/control/run_history.h"
#include "graph/control/supervisor.h"
#include "page.inc"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    LOG_FIRST_BYTES = 16 << 10, /* of a log's end, for someone who just came */
    LOG_PIECE_BYTES = 64 << 10
};

struct supervise_metrics {
    struct supervisor *s;
    struct http *http;
    struct run_history history;
    int timer, epoll; /* when the next sample is due; that and http behind one descriptor */
};

static void send_file(struct http_reply *reply, const char *type, const void *bytes, size_t n)
{
    reply->type = type;
    buf_add(&reply->body, bytes, n);
}

static void get_page(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    send_file(reply, "text/html; charset=utf-8", index_html, sizeof index_html);
}

static void get_script(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    send_file(reply, "text/javascript; charset=utf-8", page_js, sizeof page_js);
}

static void get_style(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    send_file(reply, "text/css; charset=utf-8", page_css, sizeof page_css);
}

/* Browsers ask for it on their own. */
static void get_icon(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    reply->status = 204;
}

static void get_metrics(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct json_node *status = supervise_status(((struct supervise_metrics *)context)->s);
    (void)request;
    reply->type = METRICS_TYPE;
    metrics_print(status, &reply->body);
    json_free(status);
}

static void send_json(struct http_reply *reply, struct json_node *node)
{
    char *text = json_print(node, 0, 9);
    reply->type = "application/json";
    buf_printf(&reply->body, "%s\n", text);
    free(text);
    json_free(node);
}

static void get_status(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)request;
    send_json(reply, supervise_status(((struct supervise_metrics *)context)->s));
}

static void get_history(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)request;
    send_json(reply, run_history_json(&((struct supervise_metrics *)context)->history));
}

/* --- logs --- */

static bool is_process(const struct supervisor *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->children[i].process->name, name) == 0) return true;
    return false;
}

/* Whole lines from `from` on; below 0: the newest. Returns where the next piece begins. */
static int64_t read_log(const char *path, int64_t from, struct buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool newest = from < 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0) close(fd);
        return 0;
    }
    if (newest) from = st.st_size > LOG_FIRST_BYTES ? st.st_size - LOG_FIRST_BYTES : 0;
    ssize_t n = pread(fd, buf_reserve(out, LOG_PIECE_BYTES), LOG_PIECE_BYTES, from);
    close(fd);
    if (n <= 0) return from;
    out->len = (size_t)n;
    const char *last = memrchr(out->data, '\n', out->len);
    if (last != NULL) out->len = (size_t)(last - out->data) + 1;
    if (last == NULL && n < LOG_PIECE_BYTES) out->len = 0; /* a line that is still being written */
    int64_t next = from + (int64_t)out->len;
    const char *first = memchr(out->data, '\n', out->len);
    if (newest && from > 0 && first != NULL) buf_drop_front(out, (size_t)(first - out->data) + 1);
    return next;
}

static void get_logs(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct supervisor *s = ((struct supervise_metrics *)context)->s;
    const char *process = http_query(request, "process"), *from = http_query(request, "from");
    if (process == NULL || !is_process(s, process)) {
        reply->status = 404;
        buf_add_text(&reply->body, "no such process; /api/status names them\n");
        return;
    }
    struct json_node *out = json_new_map();
    struct buf text = {0};
    char *path = rundir_log_path(s->o->run, process);
    int64_t next = read_log(path, from != NULL ? strtoll(from, NULL, 10) : -1, &text);
    json_put(out, "process", json_new_string(process));
    json_put(out, "text", json_new_text(buf_text(&text), text.len));
    json_put(out, "next", json_new_int(next));
    send_json(reply, out);
    buf_fini(&text);
    free(path);
}

static const struct http_route routes[] = {
    {"GET", "/", get_page},
    {"GET", "/page.js", get_script},
    {"GET", "/page.css", get_style},
    {"GET", "/favicon.ico", get_icon},
    {"GET", "/metrics", get_metrics},
    {"GET", "/api/status", get_status},
    {"GET", "/api/history", get_history},
    {"GET", "/api/logs", get_logs},
    {0},
};

/* --- life --- */

static bool add_fd(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static thea_rc open_polling(struct supervise_metrics *m, struct thea_err *err)
{
    struct itimerspec tick = {{RUN_HISTORY_S, 0}, {RUN_HISTORY_S, 0}};
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (m->epoll >= 0 && m->timer >= 0 && timerfd_settime(m->timer, 0, &tick, NULL) == 0 &&
        add_fd(m->epoll, m->timer) && add_fd(m->epoll, http_fd(m->http)))
        return THEA_OK;
    return thea_fail(err, THEA_EOS, "cannot poll the HTTP server: %s", strerror(errno));
}

thea_rc supervise_metrics_open(struct supervise_metrics **out, struct supervisor *s, const char *address,
                               struct thea_err *err)
{
    struct supervise_metrics *m = calloc(1, sizeof *m);
    if (m == NULL) abort();
    m->s = s;
    m->timer = m->epoll = -1;
    struct http_options o = {.address = address, .routes = routes, .context = m};
    thea_rc rc = http_open(&m->http, &o, err);
    if (rc == THEA_OK) rc = open_polling(m, err);
    if (rc != THEA_OK) {
        supervise_metrics_close(m);
        return thea_fail_prefix(err, "--metrics");
    }
    *out = m;
    return THEA_OK;
}

const char *supervise_metrics_url(const struct supervise_metrics *m)
{
    return http_url(m->http);
}

int supervise_metrics_fd(const struct supervise_metrics *m)
{
    return m->epoll;
}

void supervise_metrics_handle(struct supervise_metrics *m)
{
    uint64_t ticks;
    if (read(m->timer, &ticks, sizeof ticks) == (ssize_t)sizeof ticks) {
        struct json_node *status = supervise_status(m->s);
        run_history_add(&m->history, status);
        json_free(status);
    }
    http_handle(m->http);
}

void supervise_metrics_close(struct supervise_metrics *m)
{
    if (m == NULL) return;
    http_close(m->http);
    if (m->timer >= 0) close(m->timer);
    if (m->epoll >= 0) close(m->epoll);
    free(m);
}
