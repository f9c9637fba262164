/* The growable buffer. */
#include "graph/buf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(buf, an_empty_one_is_an_empty_text)
{
    struct buf b = {0};
    cr_assert_str_eq(buf_text(&b), "");
    char *taken = buf_take(&b);
    cr_assert_str_eq(taken, "");
    free(taken);
    buf_fini(&b);
}

Test(buf, what_is_added_follows_and_a_nul_ends_it)
{
    struct buf b = {0};
    buf_add_text(&b, "ab");
    buf_add_char(&b, 'c');
    buf_add(&b, "d\0e", 3);
    buf_printf(&b, "%d-%s", 7, "x");
    cr_assert_eq(b.len, 9);
    cr_assert_eq(memcmp(b.data, "abcd\0e7-x", 10), 0);
    buf_drop_front(&b, 5);
    cr_assert_str_eq(buf_text(&b), "e7-x");
    buf_drop_front(&b, 4);
    cr_assert_str_eq(buf_text(&b), "");
    buf_fini(&b);
    cr_assert_null(b.data);
}

Test(buf, it_grows_and_keeps_its_content)
{
    struct buf b = {0};
    for (int i = 0; i < 100000; i++) buf_printf(&b, "%d,", i % 10);
    cr_assert_eq(b.len, 200000);
    cr_assert_eq(b.data[199998], '9');
    cr_assert_eq(b.data[b.len], '\0');
    size_t cap = b.cap;
    buf_clear(&b);
    cr_assert_eq(b.cap, cap, "memory was not kept");
    cr_assert_str_eq(buf_text(&b), "");
    buf_fini(&b);
}

Test(buf, reserved_room_is_not_yet_content)
{
    struct buf b = {0};
    buf_add_text(&b, "x");
    memcpy(buf_reserve(&b, 1000), "yz", 2);
    cr_assert_eq(b.len, 1);
    b.len += 2;
    buf_add_char(&b, '!');
    cr_assert_str_eq(buf_text(&b), "xyz!");
    char *taken = buf_take(&b);
    cr_assert_str_eq(taken, "xyz!");
    cr_assert_eq(b.len, 0);
    free(taken);
}

Test(buf, foreign_text_does_not_steer_a_terminal)
{
    struct buf b = {0};
    buf_add_printable(&b, "a\tb\n\033[2Jc\x7f \xc2\x9b"
                          "1m d\xc3\xa9\xc2\xa0\xc2");
    cr_assert_str_eq(buf_text(&b), "a?b??[2Jc? ?1m d\xc3\xa9\xc2\xa0\xc2");
    buf_fini(&b);
}
