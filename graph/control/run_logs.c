/* Logs of a run: see run_logs.h. Invariant: a line is printed whole and once. */
#include "graph/control/run_logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, READS_MAX = 64, LINE_MAX_BYTES = 1 << 20 };

/* "layers.p1.r0.log" is of layers/1:0; free it. NULL: no log. */
static char *process_of(const char *file)
{
    size_t n = strlen(file);
    struct buf name = {0};
    if (n <= 4 || strcmp(file + n - 4, ".log") != 0) return NULL;
    for (size_t i = 0; i < n - 4; i++) {
        bool digit = file[i] == '.' && file[i + 1] != '\0' && file[i + 2] >= '0' && file[i + 2] <= '9';
        if (digit && (file[i + 1] == 'p' || file[i + 1] == 'r'))
            buf_add_char(&name, file[++i] == 'p' ? '/' : ':');
        else
            buf_add_char(&name, file[i]);
    }
    return buf_take(&name);
}

static bool is_of(const char *process, const char *stage)
{
    size_t n = stage != NULL ? strlen(stage) : 0;
    return stage == NULL || (strncmp(process, stage, n) == 0 &&
                             (process[n] == '\0' || process[n] == '/' || process[n] == ':'));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct run_log *)a)->process, ((const struct run_log *)b)->process);
}

static bool is_known(const struct run_logs *logs, const char *process)
{
    for (size_t i = 0; i < logs->count; i++)
        if (strcmp(logs->items[i].process, process) == 0) return true;
    return false;
}

/* *seen: names of all logs, for a message; may be NULL. */
static thea_rc look(struct run_logs *logs, struct buf *seen, struct thea_err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/logs", logs->directory);
    DIR *d = opendir(path.data);
    if (d == NULL) {
        thea_rc rc = thea_fail(err, THEA_ENOINPUT, "cannot read %s: %s", path.data, strerror(errno));
        buf_fini(&path);
        return rc;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char *process = process_of(e->d_name);
        if (process == NULL) continue;
        if (seen != NULL) buf_printf(seen, "%s%s", seen->len > 0 ? ", " : "", process);
        if (!is_of(process, logs->stage) || is_known(logs, process)) {
            free(process);
            continue;
        }
        struct buf file = {0};
        buf_printf(&file, "%s/%s", path.data, e->d_name);
        logs->items = realloc(logs->items, (logs->count + 1) * sizeof *logs->items);
        if (logs->items == NULL) abort();
        logs->items[logs->count++] = (struct run_log){.process = process, .path = buf_take(&file), .fd = -1};
    }
    closedir(d);
    buf_fini(&path);
    if (logs->count > 1) qsort(logs->items, logs->count, sizeof *logs->items, by_name);
    return THEA_OK;
}

thea_rc run_logs_open(struct run_logs *out, const char *directory, const char *stage, struct thea_err *err)
{
    struct buf seen = {0};
    *out = (struct run_logs){.directory = strdup(directory), .stage = stage != NULL ? strdup(stage) : NULL};
    if (out->directory == NULL || (stage != NULL && out->stage == NULL)) abort();
    thea_rc rc = look(out, &seen, err);
    if (rc == THEA_OK && stage != NULL && out->count == 0)
        rc = thea_fail(err, THEA_ENOINPUT, "no log of a stage or process '%s' in %s/logs\n  there are  %s",
                       stage, directory, seen.len > 0 ? seen.data : "none");
    buf_fini(&seen);
    if (rc != THEA_OK) run_logs_close(out);
    return rc;
}

void run_logs_close(struct run_logs *logs)
{
    for (size_t i = 0; i < logs->count; i++) {
        if (logs->items[i].fd >= 0) close(logs->items[i].fd);
        free(logs->items[i].process);
        free(logs->items[i].path);
        buf_fini(&logs->items[i].line);
    }
    free(logs->items);
    free(logs->directory);
    free(logs->stage);
    *logs = (struct run_logs){0};
}

static void put_line(const struct run_logs *logs, struct run_log *log, struct buf *out)
{
    if (logs->count > 1) buf_printf(out, "%s | ", log->process);
    buf_add(out, buf_text(&log->line), log->line.len);
    buf_add_char(out, '\n');
    buf_clear(&log->line);
}

static void put_bytes(const struct run_logs *logs, struct run_log *log, const char *bytes, size_t n,
                      struct buf *out)
{
    while (n > 0) {
        const char *newline = memchr(bytes, '\n', n);
        size_t length = newline != NULL ? (size_t)(newline - bytes) : n;
        buf_add(&log->line, bytes, length);
        if (newline != NULL || log->line.len > LINE_MAX_BYTES) put_line(logs, log, out);
        length += newline != NULL;
        bytes += length;
        n -= length;
    }
}

static void read_one(const struct run_logs *logs, struct run_log *log, bool rest, struct buf *out)
{
    char bytes[READ_BYTES];
    ssize_t n = 0;
    if (log->fd < 0) log->fd = open(log->path, O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < READS_MAX && log->fd >= 0; i++) {
        n = read(log->fd, bytes, sizeof bytes);
        if (n <= 0) break;
        put_bytes(logs, log, bytes, (size_t)n, out);
    }
    if (rest && n <= 0 && log->line.len > 0) put_line(logs, log, out);
}

bool run_logs_read(struct run_logs *logs, bool rest, struct buf *out)
{
    size_t before = out->len;
    if (look(logs, NULL, NULL) != THEA_OK) return false; /* the directory is gone */
    for (size_t i = 0; i < logs->count; i++) read_one(logs, &logs->items[i], rest, out);
    return out->len > before;
}
