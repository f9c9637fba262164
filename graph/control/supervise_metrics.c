/* The run over HTTP: see supervise_metrics.h. The page is in page/, and in this program. */
#include "graph/control/supervise_metrics.h"

#include "graph/control/metrics.h"
#include "graph/control/supervisor.h"
#include "page.inc"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_FIRST_BYTES = 16 << 10, /* of a log's end, for someone who just came */
    LOG_PIECE_BYTES = 64 << 10
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
    struct json_node *status = supervise_status(context);
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
    send_json(reply, supervise_status(context));
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
    struct supervisor *s = context;
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
    {"GET", "/", get_page},           {"GET", "/page.js", get_script},
    {"GET", "/page.css", get_style},  {"GET", "/favicon.ico", get_icon},
    {"GET", "/metrics", get_metrics}, {"GET", "/api/status", get_status},
    {"GET", "/api/logs", get_logs},   {0},
};

thea_rc supervise_metrics_open(struct http **out, struct supervisor *s, const char *address,
                               struct thea_err *err)
{
    struct http_options o = {.address = address, .routes = routes, .context = s};
    thea_rc rc = http_open(out, &o, err);
    return rc == THEA_OK ? THEA_OK : thea_fail_prefix(err, "--metrics");
}
