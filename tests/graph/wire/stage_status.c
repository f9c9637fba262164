/* The status page as a stage writes it. */
#include "graph/wire/stage_core.h"

#include <criterion/criterion.h>
#include <string.h>

static struct status_page page;
static struct stage st = {.page = &page};

Test(stage_status, every_link_has_a_row_however_many_came_and_went)
{
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < STATUS_LINKS_MAX; i++) {
            struct status_link *row = stage_status_row(&st, "tokens", round * 100 + i + 1, i % 2 == 0);
            cr_assert_not_null(row);
            cr_assert_eq(row->number, round * 100 + i + 1);
            cr_assert_eq(row->outgoing, i % 2 == 0);
            cr_assert_eq(row->frames, 0, "it counts what another link did");
            row->frames = 7;
        }
        cr_assert_null(stage_status_row(&st, "tokens", 9999, false), "a row that is in use was given away");
        for (uint32_t i = 0; i < STATUS_LINKS_MAX; i++)
            stage_status_row_closed(&st, round * 100 + i + 1, i % 2 == 0);
    }
    cr_assert_eq(page.link_count, STATUS_LINKS_MAX);
}

Test(stage_status, a_link_that_comes_back_has_one_row_and_counts_on)
{
    struct status_link *row = stage_status_row(&st, "tokens", 3, true);
    row->frames = 5;
    cr_assert_neq(stage_status_row(&st, "tokens", 3, false), row,
                  "the other end of a loop to itself is another");
    stage_status_row_closed(&st, 3, true);
    cr_assert_eq(stage_status_row(&st, "tokens", 3, true), row);
    cr_assert_eq(row->frames, 5);
    cr_assert_eq(row->closed, 0);
    cr_assert_eq(page.link_count, 2);
}
