/* Normalization forms against utf8proc's own, whole texts at a time; and that a million marks do not take for
 * ever. */
#include "text/normalize.h"

#include "tests/text/support.h"
#include "text/nf.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static uint64_t state = 2463534242u;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

/* Mostly characters that combine, decompose or compose. */
static void random_text(struct buf *text)
{
    static const uint32_t ranges[][2] = {{'a', 26},       {0xC0, 0x180},   {0x300, 0x70},   {0x340, 8},
                                         {0x900, 0x80},   {0x9BE, 1},      {0x1100, 0x100}, {0xAC00, 0x2BA4},
                                         {0x1E00, 0x100}, {0xF900, 0x100}, {0xFB00, 0x50},  {0xFF00, 0x60},
                                         {0x2100, 0x60},  {0x1D400, 0x40}, {0x1D15E, 8},    {0x3041, 0x60},
                                         {0x11127, 0x10}, {0x20, 1},       {0xDC0, 0x40}};
    buf_clear(text);
    for (uint32_t n = 1 + random_below(12); n > 0; n--) {
        const uint32_t *r = ranges[random_below(sizeof ranges / sizeof *ranges)];
        utf8_add(text, r[0] + random_below(r[1]));
    }
}

Test(normalize, forms_are_those_of_the_whole_text)
{
    static const utf8proc_option_t options[] = {
        [NF_C] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NF_D] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [NF_KC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NF_KD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    struct buf text = {0};
    struct mapped out = {0};
    unicode_init();
    for (int i = 0; i < 60000; i++) {
        nf_form form = (nf_form)(i % 4);
        utf8proc_uint8_t *want = NULL;
        random_text(&text);
        struct mapped_view in = {.text = text.data, .len = text.len};
        utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.len,
                                          &want, options[form]);
        nf_normalize(&out, &in, form);
        cr_assert(n >= 0 && out.text.len == (size_t)n && memcmp(out.text.data, want, (size_t)n) == 0,
                  "form %d of '%s': expected '%s', got '%s'", form, text.data, (char *)want, out.text.data);
        if (nf_is_stable(&in, form))
            cr_assert(out.text.len == in.len && memcmp(out.text.data, in.text, in.len) == 0,
                      "'%s' is not stable", text.data);
        cr_assert_eq(mapped_view(&out, 0).ends[out.text.len - 1], (int64_t)text.len);
        free(want);
    }
    mapped_fini(&out);
    buf_fini(&text);
}

Test(normalize, a_million_marks_are_ordered, .timeout = 600)
{
    struct buf text = {0};
    struct mapped out = {0};
    unicode_init();
    for (int i = 0; i < 500000; i++)
        buf_add_text(&text, "\xCC\x81\xCC\xA3"); /* classes 230, 220, alternating */
    struct mapped_view in = {.text = text.data, .len = text.len};
    nf_normalize(&out, &in, NF_D);
    cr_assert_eq(out.text.len, text.len);
    cr_assert_eq(memcmp(out.text.data, "\xCC\xA3\xCC\xA3", 4), 0);
    cr_assert_eq(memcmp(out.text.data + out.text.len - 4, "\xCC\x81\xCC\x81", 4), 0);
    mapped_fini(&out);
    buf_fini(&text);
}

Test(normalize, lower_case_may_be_longer)
{
    struct mapped out = {0};
    struct mapped_view in = {.text = "\xC4\xB0"
                                     "A\xCE\xA3",
                             .len = 5};
    nf_lowercase(&out, &in);
    cr_assert_str_eq(out.text.data, "i\xCC\x87"
                                    "a\xCF\x83");
    cr_assert_eq(mapped_view(&out, 0).ends[0], 2);
    cr_assert_eq(mapped_view(&out, 0).ends[3], 3);
    mapped_fini(&out);
}
