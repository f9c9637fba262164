/* See bytelevel.h. The printable bytes of Latin-1 stand for themselves; the 68 others get the characters from
 * U+0100 on, in order. */
#include "text/bytelevel.h"

#include "text/utf8.h"

static bool stands_for_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

uint32_t bytelevel_char(unsigned char byte)
{
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xAD ? 0x143 : 0x121u + (byte - 0x7Fu); /* 7F-A0, then AD */
}

int bytelevel_byte(uint32_t code)
{
    if (code < 0x100) return stands_for_itself(code) ? (int)code : -1;
    if (code <= 0x120) return (int)(code - 0x100);
    if (code <= 0x142) return (int)(code - 0x121 + 0x7F);
    return code == 0x143 ? 0xAD : -1;
}

void bytelevel_encode(struct buf *to, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) utf8_add(to, bytelevel_char((unsigned char)bytes[i]));
}

bool bytelevel_decode(struct buf *to, const char *text, size_t len)
{
    size_t before = to->len;
    for (size_t i = 0; i < len;) {
        int byte = bytelevel_byte(utf8_next(text, &i));
        if (byte < 0) {
            to->len = before;
            if (to->data != NULL) to->data[before] = '\0';
            return false;
        }
        buf_add_char(to, (char)byte);
    }
    return true;
}
