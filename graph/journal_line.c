/* One line of a journal: written, read, checked. */
#include "graph/journal_impl.h"

#include "graph/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CRC_DIGITS = 8, READ_BYTES = 64 << 10 };

static const char *const kinds[JOURNAL_KINDS] = {"head",   "commit", "aside", "cancel",
                                                 "rotate", "sync",   "done"};

/* Members of each kind that must be there: numbers that are not negative, and texts. */
static const struct {
    const char *numbers[6];
    const char *texts[6];
} members[JOURNAL_KINDS] = {
    [JOURNAL_HEAD] = {{"base"}, {"run", "format", "order", "output", "name"}},
    [JOURNAL_COMMIT] = {{"stream", "attempt", "file", "off", "len", "crc"}, {NULL}},
    [JOURNAL_ASIDE] = {{"stream", "tries"}, {"reason"}},
    [JOURNAL_CANCEL] = {{"stream"}, {NULL}},
    [JOURNAL_ROTATE] = {{"file"}, {"name"}},
    [JOURNAL_SYNC] = {{"file", "size"}, {NULL}},
};

struct json_node *journal_line_new(journal_kind kind)
{
    struct json_node *line = json_new_map();
    json_put(line, "what", json_new_string(kinds[kind]));
    return line;
}

void journal_line_add(struct buf *out, struct json_node *json)
{
    char *text = json_print(json, 0, 0);
    buf_printf(out, "%08x %s\n", crc32c(0, text, strlen(text)), text);
    free(text);
    json_free(json);
}

uint64_t journal_number(const struct journal_line *line, const char *key)
{
    return (uint64_t)json_int_or(line->json, key, 0);
}

static bool has_members(const struct journal_line *line)
{
    for (size_t i = 0; i < 6 && members[line->kind].numbers[i] != NULL; i++) {
        if (json_int_or(line->json, members[line->kind].numbers[i], -1) < 0) return false;
    }
    for (size_t i = 0; i < 6 && members[line->kind].texts[i] != NULL; i++) {
        if (json_text(json_member(line->json, members[line->kind].texts[i]), NULL) == NULL) return false;
    }
    return true;
}

static bool find_kind(struct journal_line *line)
{
    const char *what = json_text_or(line->json, "what", "");
    for (line->kind = 0; line->kind < JOURNAL_KINDS; line->kind++) {
        if (strcmp(kinds[line->kind], what) == 0) return true;
    }
    return false;
}

static bool crc_holds(const char *text, size_t len)
{
    uint32_t crc = 0;
    if (len < CRC_DIGITS + 1 || text[CRC_DIGITS] != ' ') return false;
    for (size_t i = 0; i < CRC_DIGITS; i++) {
        const char *digits = "0123456789abcdef", *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL) return false;
        crc = crc << 4 | (uint32_t)(digit - digits);
    }
    return crc == crc32c(0, text + CRC_DIGITS + 1, len - CRC_DIGITS - 1);
}

/* text: without its newline. */
static bool parse(struct journal_line *line, const char *text, size_t len)
{
    if (len > JOURNAL_LINE_MAX || !crc_holds(text, len)) return false;
    thea_rc rc = json_parse(&line->json, text + CRC_DIGITS + 1, len - CRC_DIGITS - 1, "journal", NULL);
    if (rc == THEA_OK && find_kind(line) && has_members(line)) return true;
    json_free(line->json);
    line->json = NULL;
    return false;
}

static thea_rc read_more(struct journal_reader *r, struct thea_err *err)
{
    buf_drop_front(&r->held, r->start);
    r->start = 0;
    uint64_t from = r->at + r->held.len;
    ssize_t n;
    do n = pread(r->fd, buf_reserve(&r->held, READ_BYTES), READ_BYTES, (off_t)from);
    while (n < 0 && errno == EINTR);
    if (n < 0) return thea_fail(err, THEA_EIO, "cannot read the journal: %s", strerror(errno));
    r->held.len += (size_t)n;
    r->ended = n == 0;
    return THEA_OK;
}

/* Where the next line ends: its newline; NULL at the end of the file. What is longer than any line of ours is
 * passed over, not kept. */
static thea_rc find_newline(struct journal_reader *r, const char **newline, bool *too_long,
                            struct thea_err *err)
{
    size_t seen = 0;
    *newline = NULL;
    for (;;) {
        size_t have = r->held.len - r->start;
        if (have > seen) *newline = memchr(r->held.data + r->start + seen, '\n', have - seen);
        if (*newline != NULL || r->ended) return THEA_OK;
        seen = have;
        if (have > JOURNAL_LINE_MAX) {
            *too_long = true;
            r->at += have;
            r->start = r->held.len;
            seen = 0;
        }
        thea_rc rc = read_more(r, err);
        if (rc != THEA_OK) return rc;
    }
}

thea_rc journal_read(struct journal_reader *r, struct journal_line *line, struct thea_err *err)
{
    const char *newline;
    bool too_long = false;
    *line = (struct journal_line){.at = r->at};
    thea_rc rc = find_newline(r, &newline, &too_long, err);
    if (rc != THEA_OK) return rc;
    const char *text = buf_text(&r->held) + r->start;
    size_t len = newline != NULL ? (size_t)(newline - text) : r->held.len - r->start;
    if (newline == NULL && len == 0 && !too_long) return THEA_DONE;
    bool holds = newline != NULL && !too_long && parse(line, text, len);
    r->start += len + (newline != NULL);
    r->at += len + (newline != NULL);
    r->line_count++;
    line->end = r->at;
    return holds ? THEA_OK : THEA_EDATA;
}
