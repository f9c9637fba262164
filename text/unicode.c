/* The table of unicode.h. */
#include "text/unicode.h"

#include <pthread.h>
#include <stddef.h>
#include <utf8proc.h>

const uint8_t *unicode_table;
static uint8_t table[0x110000];

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* Other_Alphabetic that is neither letter nor mark: circled and squared Latin letters. */
static bool is_enclosed_letter(uint32_t c)
{
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

static int of_category(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return UNICODE_LETTER | UNICODE_WORD;
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: return UNICODE_MARK | UNICODE_WORD | UNICODE_JOINS;
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: return UNICODE_NUMBER | UNICODE_WORD;
    case UTF8PROC_CATEGORY_NO: return UNICODE_NUMBER;
    case UTF8PROC_CATEGORY_PC: return UNICODE_PUNCTUATION | UNICODE_WORD;
    case UTF8PROC_CATEGORY_PD: case UTF8PROC_CATEGORY_PS: case UTF8PROC_CATEGORY_PE: case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF: case UTF8PROC_CATEGORY_PO: return UNICODE_PUNCTUATION;
    default: return 0;
    }
}

static void fill(void)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        int what = of_category(utf8proc_category((utf8proc_int32_t)c));
        if (is_space(c)) what |= UNICODE_SPACE;
        if (is_enclosed_letter(c) || c == 0x200C || c == 0x200D) what |= UNICODE_WORD;
        if (c > 32 && c < 127 && !(what & (UNICODE_LETTER | UNICODE_NUMBER))) what |= UNICODE_PUNCTUATION;
        if ((c >= 0x1160 && c <= 0x11FF) || (c >= 0xD7B0 && c <= 0xD7FF)) what |= UNICODE_JOINS;
        table[c] = (uint8_t)what;
    }
    unicode_table = table;
}

void unicode_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}
