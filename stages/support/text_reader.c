/* Text from a descriptor: see text_reader.h. */
#include "stages/support/text_reader.h"

#include "stages/support/chars.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *text_reader_limit(char *out, uint64_t bytes)
{
    static const char *const units[] = {"GiB", "MiB", "KiB"};
    for (int i = 0; i < 3; i++) {
        uint64_t unit = (uint64_t)1 << (30 - 10 * i);
        if (bytes < unit || bytes % unit != 0) continue;
        snprintf(out, TEXT_READER_LIMIT, "%llu %s", (unsigned long long)(bytes / unit), units[i]);
        return out;
    }
    snprintf(out, TEXT_READER_LIMIT, "%llu bytes", (unsigned long long)bytes);
    return out;
}

/* read(2), again when a signal came between. */
static ssize_t read_some(int fd, char *to, size_t room)
{
    ssize_t n;
    do n = read(fd, to, room);
    while (n < 0 && errno == EINTR);
    return n;
}

bool text_reader_check(int fd, uint64_t max_bytes, uint64_t *bytes, char *reason, size_t reason_size)
{
    char text[1 << 16];
    size_t carried = 0;
    *bytes = 0;
    for (;;) {
        ssize_t n = read_some(fd, text + carried, sizeof text - carried);
        if (n < 0) {
            snprintf(reason, reason_size, "unreadable: %s", strerror(errno));
            return false;
        }
        if (n == 0) break;
        *bytes += (uint64_t)n;
        if (*bytes > max_bytes) {
            char limit[TEXT_READER_LIMIT];
            snprintf(reason, reason_size, "over %s", text_reader_limit(limit, max_bytes));
            return false;
        }
        if (memchr(text + carried, '\0', (size_t)n) != NULL) {
            snprintf(reason, reason_size, "binary");
            return false;
        }
        size_t len = carried + (size_t)n;
        bool cut = false;
        size_t good = chars_valid(text, len, &cut);
        carried = len - good;
        if (carried > 0 && !cut) break;
        memmove(text, text + good, carried);
    }
    if (carried > 0) {
        snprintf(reason, reason_size, "not UTF-8");
        return false;
    }
    if (lseek(fd, 0, SEEK_SET) != 0) {
        snprintf(reason, reason_size, "unreadable: %s", strerror(errno));
        return false;
    }
    return true;
}

static thea_rc bad_text(const struct text_reader *r, uint64_t at, const char *what, struct thea_err *err)
{
    return thea_fail(err, THEA_EDATA, "%s: byte %llu: %s%s", r->name, (unsigned long long)at, what,
                     r->checked ? " (the file changed while it was read)"
                                : "; text must be UTF-8 without zero bytes");
}

static ssize_t read_more(struct text_reader *r, char *to, size_t room)
{
    if (r->read_at != NULL) return r->read_at(r->context, to, room, r->offset + r->carry_len);
    return read_some(r->fd, to, room);
}

thea_rc text_reader_next(struct text_reader *r, char *to, size_t room, size_t *n, struct thea_err *err)
{
    *n = 0;
    while (!r->ended) {
        memcpy(to, r->carry, r->carry_len);
        size_t want = room - r->carry_len;
        uint64_t left = r->limit - r->offset - r->carry_len;
        if (r->checked && want > left) want = (size_t)left;
        ssize_t got = want == 0 ? 0 : read_more(r, to + r->carry_len, want);
        if (got < 0) return thea_fail(err, THEA_EIO, "%s: %s", r->name, strerror(errno));
        size_t len = r->carry_len + (size_t)got;
        char limit[TEXT_READER_LIMIT];
        if (r->offset + len > r->limit)
            return thea_fail(err, THEA_EDATA, "%s: over %s (max_bytes)", r->name,
                             text_reader_limit(limit, r->limit));
        const char *zero = memchr(to, '\0', len);
        if (zero != NULL)
            return bad_text(r, r->offset + (uint64_t)(zero - to), "a zero byte: this is not text", err);
        bool cut = false;
        size_t good = chars_valid(to, len, &cut);
        r->carry_len = len - good;
        if (r->carry_len > 0 && (!cut || got == 0)) return bad_text(r, r->offset + good, "not UTF-8", err);
        memcpy(r->carry, to + good, r->carry_len);
        r->offset += good;
        if (got == 0) {
            r->ended = true;
            if (r->checked && r->offset < r->limit)
                return thea_fail(err, THEA_EDATA, "%s: became shorter while it was read (%llu of %llu bytes)",
                                 r->name, (unsigned long long)r->offset, (unsigned long long)r->limit);
        }
        if (good > 0) {
            *n = good;
            return THEA_OK;
        }
    }
    return THEA_DONE;
}
