/* Which rows layers gives, where nobody says so: what its readers read decides. */
#include "tests/graph/control/parsing.h"

TestSuite(spec_rows, .init = use_test_kinds);

/* What `rows` of `layers` is, with these options of it and these readers; "": nobody said and nobody decided.
 */
static void expect_rows(const char *options, const char *readers, const char *want)
{
    struct buf text = {0};
    buf_printf(&text,
               "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load}\n"
               "  layers: {kind: layers, from: tokenize%s}\n%s",
               options, readers);
    struct spec *s = parse_with(buf_text(&text), NULL);
    const struct spec_option *rows = option(s, "layers", "rows");
    cr_expect_str_eq(rows != NULL ? rows->values[0] : "", want, "%s", buf_text(&text));
    cr_expect(rows == NULL || rows->count == 1);
    spec_free(s);
    buf_fini(&text);
}

#define CLS    "  pool: {kind: pool, from: layers.final, pooling: cls}\n"
#define MEAN   "  pool: {kind: pool, from: layers.final, pooling: mean}\n"
#define SILENT "  pool: {kind: pool, from: layers.final}\n"
#define WRITE  "  write: {kind: write, from: pool}\n"

Test(spec_rows, a_stage_gives_the_first_row_alone_where_all_that_read_it_read_no_more)
{
    expect_rows("", CLS WRITE, "first");
    expect_rows(", split: 2", CLS WRITE, "first");
    expect_rows("",
                CLS "  two: {kind: pool, from: layers.final, pooling: cls}\n" WRITE
                    "  out: {kind: write, from: two}\n",
                "first");
    expect_rows(", rows: all", CLS WRITE, "all");
    expect_rows(", rows: first", SILENT WRITE, "first");
}

Test(spec_rows, a_stage_gives_every_row_to_who_may_need_them)
{
    expect_rows("", MEAN WRITE, "");
    expect_rows("", SILENT WRITE, "");
    expect_rows("", CLS WRITE "  states: {kind: write, from: layers.final}\n", "");
    expect_rows("", CLS WRITE "  score: {kind: score, from: layers}\n  out: {kind: write, from: score}\n",
                "");
    expect_rows("", "  score: {kind: score, from: layers}\n  out: {kind: write, from: score}\n", "");
}

Test(spec_rows, the_command_lines_pooling_decides_which_rows_are_given)
{
    static const char text[] =
        "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load}\n"
        "  layers: {kind: layers, from: tokenize}\n" CLS WRITE;
    struct spec_overrides o = {.sets = (const char *const[]){"pool.pooling=mean"}, .set_count = 1};
    struct spec *s = parse_with(text, &o);
    cr_expect_null(option(s, "layers", "rows"));
    spec_free(s);
    o = (struct spec_overrides){.sets = (const char *const[]){"pool.pooling=mean", "layers.rows=first"},
                                .set_count = 2};
    expect_cli_error(text, &o, THEA_EUSAGE,
                     "--set layers.rows=first: stage 'pool' needs every row of 'layers.final', and 'rows: "
                     "first' gives the first of each stream alone");
}
