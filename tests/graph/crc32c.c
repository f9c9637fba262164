/* crc32c: known values, and the CPU's instruction against the table. */
#include "graph/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 3720, B.4 */
Test(crc32c, gives_the_values_of_the_rfc)
{
    unsigned char bytes[32] = {0};
    cr_assert_eq(crc32c(0, bytes, 32), 0x8A9136AAU);
    memset(bytes, 0xFF, 32);
    cr_assert_eq(crc32c(0, bytes, 32), 0x62A8AB43U);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    cr_assert_eq(crc32c(0, bytes, 32), 0x46DD794EU);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)(31 - i);
    cr_assert_eq(crc32c(0, bytes, 32), 0x113FDB5CU);
    cr_assert_eq(crc32c(0, "123456789", 9), 0xE3069283U);
    cr_assert_eq(crc32c(0, "", 0), 0);
}

Test(crc32c, is_the_same_by_instruction_and_by_table_over_all_lengths_and_alignments)
{
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 167 + 13);
    for (size_t from = 0; from < 9; from++)
        for (size_t n = 0; from + n <= sizeof bytes; n++)
            cr_assert_eq(crc32c(7, bytes + from, n), crc32c_plain(7, bytes + from, n), "%zu %zu", from, n);
}

Test(crc32c, goes_on_where_it_stood)
{
    const char *text = "one result, and the next";
    for (size_t n = 0; n <= strlen(text); n++)
        cr_assert_eq(crc32c(crc32c(0, text, n), text + n, strlen(text) - n), crc32c(0, text, strlen(text)));
}
