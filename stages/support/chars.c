/* Characters: see chars.h. Validity follows table 3-7 of the Unicode standard. */
#include "stages/support/chars.h"

#include <string.h>

/* Bytes that a character with this first byte has; 0 for a byte that begins none. */
static size_t length_of(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Is the second byte one that may follow the first? (Overlong forms and surrogates show here.) */
static bool second_fits(unsigned char first, unsigned char second)
{
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

size_t chars_valid(const char *text, size_t len, bool *cut)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    if (cut != NULL) *cut = false;
    while (i < len) {
        uint64_t eight;
        if (len - i >= 8 && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080U) == 0)) {
            i += 8;
            continue;
        }
        size_t n = length_of(s[i]);
        if (n == 0) return i;
        for (size_t k = 1; k < n; k++) {
            if (i + k == len) {
                if (cut != NULL) *cut = true;
                return i;
            }
            bool good = k == 1 ? second_fits(s[i], s[i + 1]) : (s[i + k] & 0xC0) == 0x80;
            if (!good) return i;
        }
        i += n;
    }
    return i;
}

size_t chars_cut(const char *text, size_t len, size_t n)
{
    if (n >= len) return len;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    return n;
}

uint32_t chars_decode(const char *text, size_t len, size_t *n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t bytes = length_of(s[0]);
    if (bytes == 0 || bytes > len) {
        *n = 1;
        return 0xFFFD;
    }
    *n = bytes;
    uint32_t code = bytes == 1 ? s[0] : s[0] & (0x7FU >> bytes);
    for (size_t k = 1; k < bytes; k++) code = code << 6 | (s[k] & 0x3FU);
    return code;
}

int chars_code_width(uint32_t code)
{
    static const struct range {
        uint32_t first, last;
    } wide[] = {{0x1100, 0x115F}, {0x2E80, 0x303E},   {0x3041, 0x33FF},  {0x3400, 0x4DBF}, {0x4E00, 0x9FFF},
                {0xA000, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},  {0xFE30, 0xFE6F}, {0xFF00, 0xFF60},
                {0xFFE0, 0xFFE6}, {0x1F300, 0x1FAFF}, {0x20000, 0x3FFFD}};
    static const struct range none[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD},
                                        {0x064B, 0x065F}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
                                        {0x200B, 0x200F}, {0x2028, 0x202E}, {0x20D0, 0x20FF},
                                        {0x3099, 0x309A}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (code >= none[i].first && code <= none[i].last) return 0;
    }
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        if (code >= wide[i].first && code <= wide[i].last) return 2;
    }
    return 1;
}

/* Control characters, and the marks that reorder a line, have no business on a terminal. */
static bool is_unsafe(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t chars_width(const char *text, size_t len)
{
    size_t width = 0;
    for (size_t i = 0, n = 1; i < len; i += n) {
        uint32_t code = chars_decode(text + i, len - i, &n);
        width += is_unsafe(code) ? 1 : (size_t)chars_code_width(code);
    }
    return width;
}

size_t chars_add_cell(struct buf *out, const char *text, size_t len, size_t columns)
{
    size_t total = chars_width(text, len), room = total <= columns || columns == 0 ? columns : columns - 1,
           used = 0;
    for (size_t i = 0, n = 1; i < len; i += n) {
        uint32_t code = chars_decode(text + i, len - i, &n);
        size_t width = is_unsafe(code) ? 1 : (size_t)chars_code_width(code);
        if (used + width > room) break;
        if (is_unsafe(code))
            buf_add_char(out, ' ');
        else if (chars_valid(text + i, n, NULL) != n)
            buf_add_char(out, '?');
        else
            buf_add(out, text + i, n);
        used += width;
    }
    if (total <= columns || columns == 0) return used;
    buf_add_text(out, "…");
    return used + 1;
}
