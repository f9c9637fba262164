/* The table of unicode.h. */
#include "text/unicode.h"

#include <pthread.h>
#include <stddef.h>
#include <utf8proc.h>

const uint8_t *unicode_table;
static uint8_t table[0x110000];

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

/* Other_Alphabetic that is neither letter nor mark: circled and squared Latin letters. */
static bool is_enclosed_letter(uint32_t c)
{
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

static int of_category(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return UNICODE_LETTER | UNICODE_WORD;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return UNICODE_MARK | UNICODE_WORD | UNICODE_JOINS;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: return UNICODE_NUMBER | UNICODE_WORD;
    case UTF8PROC_CATEGORY_NO: return UNICODE_NUMBER;
    case UTF8PROC_CATEGORY_PC: return UNICODE_PUNCTUATION | UNICODE_WORD;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return UNICODE_PUNCTUATION;
    default: return 0;
    }
}

/* Letters and digits of Unicode 15.1 and 16, which the reference knows and utf8proc 2.8 does not yet. */
static const struct {
    uint32_t first, last;
    int what;
} newer[] = {
    {0x1C89, 0x1C8A, UNICODE_LETTER},   {0xA7CB, 0xA7CD, UNICODE_LETTER},
    {0xA7DA, 0xA7DC, UNICODE_LETTER},   {0x105C0, 0x105F3, UNICODE_LETTER},
    {0x10D4A, 0x10D65, UNICODE_LETTER}, {0x10D6F, 0x10D85, UNICODE_LETTER},
    {0x10EC2, 0x10EC4, UNICODE_LETTER}, {0x11380, 0x11389, UNICODE_LETTER},
    {0x1138B, 0x1138B, UNICODE_LETTER}, {0x1138E, 0x1138E, UNICODE_LETTER},
    {0x11390, 0x113B5, UNICODE_LETTER}, {0x113B7, 0x113B7, UNICODE_LETTER},
    {0x113D1, 0x113D1, UNICODE_LETTER}, {0x113D3, 0x113D3, UNICODE_LETTER},
    {0x11BC0, 0x11BE0, UNICODE_LETTER}, {0x13460, 0x143FA, UNICODE_LETTER},
    {0x16100, 0x1611D, UNICODE_LETTER}, {0x16D40, 0x16D6C, UNICODE_LETTER},
    {0x18CFF, 0x18CFF, UNICODE_LETTER}, {0x1E5D0, 0x1E5ED, UNICODE_LETTER},
    {0x1E5F0, 0x1E5F0, UNICODE_LETTER}, {0x2EBF0, 0x2EE5D, UNICODE_LETTER},
    {0x10D40, 0x10D49, UNICODE_NUMBER}, {0x116D0, 0x116E3, UNICODE_NUMBER},
    {0x11BF0, 0x11BF9, UNICODE_NUMBER}, {0x16130, 0x16139, UNICODE_NUMBER},
    {0x16D70, 0x16D79, UNICODE_NUMBER}, {0x1CCF0, 0x1CCF9, UNICODE_NUMBER},
    {0x1E5F1, 0x1E5FA, UNICODE_NUMBER},
};

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
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        for (uint32_t c = newer[i].first; c <= newer[i].last; c++)
            table[c] |= (uint8_t)(newer[i].what | UNICODE_WORD);
    unicode_table = table;
}

void unicode_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}
