/* A manifest on disk: lines are appended and synced, read again at the next start, and cut where they broke
 * off.
 *
 * Invariant: what follows a bad line is cut only if no stream was numbered there. Streams are numbered in
 * lines that were synced before their frames left, so a good one behind a bad one means that the file was
 * damaged, not that it ended early. */
#include "stages/support/manifest_file.h"

#include "graph/crc32c.h"
#include "graph/fault.h"
#include "graph/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CRC_DIGITS = 8 };

/* --- writing --- */

void manifest_file_print(struct buf *to, struct json_node *line)
{
    char *text = json_print(line, 0, 0);
    buf_printf(to, "%08x %s\n", (unsigned)crc32c(0, text, strlen(text)), text);
    free(text);
    json_free(line);
}

void manifest_file_add(struct manifest *m, struct json_node *line)
{
    if (m->fd >= 0)
        manifest_file_print(&m->unwritten, line);
    else
        json_free(line);
}

static bool write_all(int fd, const char *bytes, size_t n, uint64_t offset)
{
    while (n > 0) {
        ssize_t wrote = pwrite(fd, bytes, n, (off_t)offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        bytes += wrote;
        n -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return true;
}

bool manifest_file_write(int fd, const struct buf *lines)
{
    return write_all(fd, lines->data, lines->len, 0) && fdatasync(fd) == 0;
}

thea_rc manifest_sync(struct manifest *m, struct thea_err *err)
{
    if (m->fd < 0 || m->unwritten.len == 0) return THEA_OK;
    thea_fault("source.manifest");
    if (!write_all(m->fd, m->unwritten.data, m->unwritten.len, m->size) || fdatasync(m->fd) != 0) {
        int why = errno;
        if (ftruncate(m->fd, (off_t)m->size) != 0)
            thea_warning("%s: cannot be cut again: %s", m->path, strerror(errno));
        return thea_fail(err, THEA_EIO, "%s: cannot be written: %s", m->path, strerror(why));
    }
    thea_fault("source.numbered");
    m->size += m->unwritten.len;
    buf_clear(&m->unwritten);
    return THEA_OK;
}

void manifest_file_close(struct manifest *m)
{
    if (m->fd >= 0) close(m->fd);
    m->fd = -1;
    free(m->path);
    m->path = NULL;
    buf_fini(&m->unwritten);
}

/* --- reading --- */

/* The JSON of one line without its newline, or NULL. */
static struct json_node *parse_line(const char *line, size_t len)
{
    struct json_node *node = NULL;
    struct thea_err ignored;
    char sum[CRC_DIGITS + 1];
    if (len <= CRC_DIGITS || line[CRC_DIGITS] != ' ') return NULL;
    const char *text = line + CRC_DIGITS + 1;
    size_t text_len = len - CRC_DIGITS - 1;
    snprintf(sum, sizeof sum, "%08x", (unsigned)crc32c(0, text, text_len));
    if (memcmp(sum, line, CRC_DIGITS) != 0) return NULL;
    return json_parse(&node, text, text_len, "", &ignored) == THEA_OK ? node : NULL;
}

static uint64_t number(const struct json_node *line, const char *key)
{
    return (uint64_t)json_int_or(line, key, -1);
}

static unsigned digit(char c)
{
    return (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0') & 15;
}

/* A path that is not UTF-8 stands there in hexadecimal, too. free() it. */
static char *read_path(const struct json_node *line, const char *key)
{
    struct buf path = {0};
    const char *hex = json_text_or(line, "hex", NULL), *text = json_text_or(line, key, NULL);
    if (text == NULL) return NULL;
    for (size_t i = 0; hex != NULL && hex[i] != '\0' && hex[i + 1] != '\0'; i += 2)
        buf_add_char(&path, (char)(digit(hex[i]) << 4 | digit(hex[i + 1])));
    if (hex == NULL) buf_add_text(&path, text);
    return buf_take(&path);
}

static bool take_item(struct manifest *m, const struct json_node *line)
{
    manifest_kind kind;
    if (!manifest_kind_of(json_text_or(line, "kind", NULL), &kind) || number(line, "item") != m->item_count)
        return false;
    char *path = read_path(line, "path");
    if (path == NULL) return false;
    manifest_take_item(m, kind, path, json_int_or(line, "size", -1), json_int_or(line, "mtime_ns", -1));
    free(path);
    return true;
}

static bool take_move(struct manifest *m, size_t item, const struct json_node *line)
{
    char *path = read_path(line, "moved");
    if (path == NULL) return false;
    manifest_take_move(m, item, path);
    free(path);
    return true;
}

static bool take_span(struct manifest *m, size_t item, const struct json_node *line)
{
    uint64_t count = number(line, "count"), end = number(line, "end");
    if (number(line, "first") != m->streams) return false;
    if (json_member(line, "end") == NULL) {
        if (count == 1) manifest_take_one(m, item);
        return count == 1;
    }
    if (number(line, "offset") != m->items[item].reached || end <= m->items[item].reached) return false;
    if (count > INT64_MAX || end > INT64_MAX) return false;
    manifest_take_records(m, item, count, end, number(line, "line"));
    return true;
}

/* False: the line is not one of a manifest at this place. */
static bool take(struct manifest *m, const struct json_node *line)
{
    const char *base = json_text_or(line, "base", NULL);
    if (m->base == NULL) {
        if (base == NULL || json_int_or(line, "manifest", 0) != MANIFEST_VERSION) return false;
        manifest_take_base(m, base);
        return true;
    }
    if (json_member(line, "listed") != NULL) {
        m->listed = true;
        return true;
    }
    if (json_member(line, "kind") != NULL) return take_item(m, line);
    uint64_t item = number(line, "item");
    if (item >= m->item_count) return false;
    if (json_member(line, "moved") != NULL) return take_move(m, item, line);
    if (m->items[item].done) return false;
    if (json_member(line, "first") != NULL) return take_span(m, item, line);
    m->items[item].left_out = json_member(line, "out") != NULL;
    m->items[item].done = m->items[item].left_out || json_bool_or(line, "done", false);
    return m->items[item].done;
}

/* The next line of text from `at` on, and where the one behind it begins. False: it has no end. */
static bool next_line(const struct buf *text, size_t at, size_t *len, size_t *after)
{
    const char *newline = at < text->len ? memchr(text->data + at, '\n', text->len - at) : NULL;
    if (newline == NULL) return false;
    *len = (size_t)(newline - (text->data + at));
    *after = at + *len + 1;
    return true;
}

/* Is a stream numbered behind `at`, where reading stopped? */
static bool numbers_behind(const struct buf *text, size_t at)
{
    size_t len, after;
    for (; next_line(text, at, &len, &after); at = after) {
        struct json_node *line = parse_line(text->data + at, len);
        bool numbers = line != NULL && json_member(line, "first") != NULL;
        json_free(line);
        if (numbers) return true;
    }
    return false;
}

static thea_rc cut(struct manifest *m, uint64_t size, uint64_t had, struct thea_err *err)
{
    if (size == had) return THEA_OK;
    if (ftruncate(m->fd, (off_t)size) != 0 || fdatasync(m->fd) != 0)
        return thea_fail(err, THEA_EIO, "%s: cannot be cut: %s", m->path, strerror(errno));
    thea_info("%s: %llu bytes that were not written to their end are cut", m->path,
              (unsigned long long)(had - size));
    return THEA_OK;
}

static thea_rc take_all(struct manifest *m, const struct buf *text, struct thea_err *err)
{
    size_t at = 0, len, after, lines = 0;
    for (; next_line(text, at, &len, &after); at = after, lines++) {
        struct json_node *line = parse_line(text->data + at, len);
        bool good = line != NULL && take(m, line);
        json_free(line);
        if (good) continue;
        if (numbers_behind(text, after))
            return thea_fail(
                err, THEA_EDATA,
                "%s:%zu: damaged: this line is bad, and good ones follow\n"
                "  the numbers of documents that are committed already hang on it: start a new run",
                m->path, lines + 1);
        break;
    }
    m->size = at;
    if (!m->listed) { /* nothing was sent yet */
        manifest_forget_all(m);
        m->size = 0;
    }
    return cut(m, m->size, text->len, err);
}

static thea_rc read_all(struct manifest *m, struct buf *text, struct thea_err *err)
{
    enum { PIECE = 1 << 16 };
    for (;;) {
        ssize_t n = pread(m->fd, buf_reserve(text, PIECE), PIECE, (off_t)text->len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return thea_fail(err, THEA_EIO, "%s: %s", m->path, strerror(errno));
        if (n == 0) return THEA_OK;
        text->len += (size_t)n;
    }
}

/* The folder and the file are there for good, whatever happens next. */
static thea_rc make_file(struct manifest *m, const char *dir, const char *name, struct thea_err *err)
{
    char *folder = NULL;
    if (asprintf(&folder, "%s/manifest", dir) < 0) abort();
    thea_rc rc = THEA_OK;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        rc = thea_fail(err, THEA_ECREATE, "%s: cannot be created: %s", folder, strerror(errno));
    if (asprintf(&m->path, "%s/%s", folder, name) < 0) abort();
    for (char *p = m->path + strlen(folder) + 1; *p != '\0'; p++)
        if (*p == '/' || *p == ':') *p = '.';
    if (rc == THEA_OK) m->fd = open(m->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rc == THEA_OK && m->fd < 0)
        rc = thea_fail(err, THEA_ECREATE, "%s: cannot be created: %s", m->path, strerror(errno));
    int at = rc == THEA_OK ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (at >= 0) {
        (void)fsync(at); /* a file system that cannot sync a folder keeps its entries by other means */
        close(at);
    }
    free(folder);
    return rc;
}

thea_rc manifest_open(struct manifest *m, const char *dir, const char *name, struct thea_err *err)
{
    *m = (struct manifest){.fd = -1};
    if (dir == NULL) return THEA_OK;
    struct buf text = {0};
    thea_rc rc = make_file(m, dir, name, err);
    if (rc == THEA_OK) rc = read_all(m, &text, err);
    if (rc == THEA_OK) rc = take_all(m, &text, err);
    buf_fini(&text);
    return rc;
}
