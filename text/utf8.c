/* UTF-8: see utf8.h. One function knows the table of valid sequences (sequence); all checks go through it. */
#include "text/utf8.h"

#include <string.h>

size_t utf8_put(char out[UTF8_MAX], uint32_t code)
{
    unsigned char *to = (unsigned char *)out;
    if (code < 0x80) {
        to[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (unsigned char)(0xC0 | code >> 6);
        to[1] = (unsigned char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (unsigned char)(0xE0 | code >> 12);
        to[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (unsigned char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (unsigned char)(0xF0 | code >> 18);
    to[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (unsigned char)(0x80 | (code & 0x3F));
    return 4;
}

void utf8_add(struct buf *to, uint32_t code)
{
    char bytes[UTF8_MAX];
    buf_add(to, bytes, utf8_put(bytes, code));
}

size_t utf8_count(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

bool utf8_is_ascii(const char *text, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        if (word & 0x8080808080808080u) return false;
    }
    for (; i < len; i++)
        if ((unsigned char)text[i] >= 0x80) return false;
    return true;
}

/* Length of the sequence at s. *good: it is whole and valid. Otherwise the length of its longest valid
 * beginning (at least 1), and *more: it ends with the text, so that further bytes may still complete it. */
static size_t sequence(const unsigned char *s, size_t len, bool *good, bool *more)
{
    *good = s[0] < 0x80;
    *more = false;
    if (*good) return 1;
    size_t n = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    if (n == 0) return 1;
    unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t k = 1; k < n; k++) {
        if (k == len) return *more = true, k;
        if (s[k] < low || s[k] > high) return k;
        low = 0x80, high = 0xBF;
    }
    *good = true;
    return n;
}

bool utf8_valid(const char *text, size_t len, size_t *bad)
{
    const unsigned char *s = (const unsigned char *)text;
    bool good, more;
    for (size_t i = 0; i < len;) {
        uint64_t word;
        while (i + 8 <= len && (memcpy(&word, text + i, 8), (word & 0x8080808080808080u) == 0)) i += 8;
        if (i == len) break;
        size_t n = sequence(s + i, len - i, &good, &more);
        if (!good) return *bad = i, false;
        i += n;
    }
    return true;
}

size_t utf8_add_lossy(struct buf *to, const char *bytes, size_t len, bool last)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t from = 0, i = 0;
    while (i < len) {
        bool good, more;
        size_t n = sequence(s + i, len - i, &good, &more);
        if (!good && more && !last) break;
        if (!good) {
            buf_add(to, bytes + from, i - from);
            buf_add_text(to, "\xEF\xBF\xBD");
            from = i + n;
        }
        i += n;
    }
    buf_add(to, bytes + from, i - from);
    return i;
}
