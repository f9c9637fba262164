/* load: lines of JSON, each a document of text or of token ids. */
#include "tests/stages/loading.h"

TestSuite(load_records, .init = scratch_make, .fini = scratch_remove);

Test(load_records, json_lines_are_documents_with_their_own_ids)
{
    struct loaded l;
    put_text_file("r.jsonl", "{\"id\": \"a\", \"text\": \"one\"}\n\n{\"text\": \"two\\u0000\", \"more\": "
                             "[1]}\r\n{\"id\": 7, \"text\": \"\"}");
    load(&l, ARGS("r.jsonl"));
    expect_ids(&l, ARGS("a", "r.jsonl:3", "7"));
    cr_assert_str_eq(buf_text(&l.text[0]), "one");
    cr_assert_eq(l.text[1].len, 4);
    cr_assert_eq(l.text[2].len, 0);
    done(&l);
}

Test(load_records, a_jsonl_file_is_plain_text_when_asked)
{
    struct loaded l;
    put_text_file("r.jsonl", "not json\n");
    load(&l, ARGS("--format", "text", "r.jsonl"));
    cr_assert_str_eq(buf_text(&l.text[0]), "not json\n");
    done(&l);
}

Test(load_records, token_records_leave_on_tokens_in_pieces)
{
    struct loaded l;
    struct thea_err err = {0};
    struct buf text = {0};
    buf_add_text(&text, "{\"id\": \"t\", \"tokens\": [0");
    for (int i = 1; i < 5000; i++) buf_printf(&text, ", %d", i);
    buf_add_text(&text, "]}\n{\"id\": \"none\", \"tokens\": []}\n");
    put_file("ids.jsonl", text.data, text.len);
    cr_assert_eq(load_ports(&l, ARGS("--format", "tokens", "ids.jsonl"), ARGS("tokens"), &err), THEA_OK, "%s",
                 err.message);
    expect_ids(&l, ARGS("t", "none"));
    cr_assert_eq(l.text[0].len, 5000 * sizeof(int32_t));
    const int32_t *ids = (const void *)l.text[0].data;
    for (int i = 0; i < 5000; i++) cr_assert_eq(ids[i], i);
    const struct frame *second = harness_frame(l.h, "tokens", 1);
    cr_assert_eq(second->position, 4096);
    cr_assert_eq(frame_attr_int(second, "bytes", -1), -1);
    buf_fini(&text);
    done(&l);
}

Test(load_records, format_tokens_has_no_docs)
{
    put_text_file("ids.jsonl", "{\"id\": \"a\", \"tokens\": [1]}\n");
    expect_failure(ARGS("--format", "tokens", "ids.jsonl"), THEA_ECONFIG, "only 'tokens' is made");
}

Test(load_records, a_record_of_tokens_does_not_vanish_when_docs_are_read)
{
    put_text_file("r.jsonl", "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"b\", \"tokens\": [1]}\n");
    expect_failure(ARGS("r.jsonl"), THEA_EDATA, "r.jsonl:2: has tokens");
}

Test(load_records, bad_json_lines_are_errors_with_file_and_line)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"b\", text}\n", "r.jsonl:2:16: not valid JSON"},
        {"[1, 2]\n", "r.jsonl:1: a line must be a map, this is a list"},
        {"{\"id\": \"a\"}\n", "r.jsonl:1: neither text nor tokens"},
        {"{\"id\": \"a\", \"text\": 5}\n", "r.jsonl:1: text must be a string"},
        {"{\"id\": \"a\", \"text\": \"x\", \"tokens\": [1]}\n", "only one of them"},
        {"{\"id\": [], \"text\": \"x\"}\n", "the id must be a string or an integer"},
        {"{\"id\": \"\", \"text\": \"x\"}\n", "the id must not be empty"},
        {"{\"id\": \"a\", \"id\": \"b\", \"text\": \"x\"}\n", "duplicate"},
        {"{\"id\": \"a\", \"text\": \"caf\xE9\"}\n", "r.jsonl:1:"},
        {"{\"id\": \"a\", \"tokens\": \"1 2\"}\n", "tokens must be a list of integers, this is a string"},
        {"{\"id\": \"a\", \"tokens\": [1, 2.5]}\n", "token 1 must be an integer"},
        {"{\"id\": \"a\", \"tokens\": [-1]}\n", "token 0 must be an integer"},
        {"{\"id\": \"a\", \"tokens\": [2147483648]}\n", "token 0 must be an integer"},
        {"{\"id\": \"a\", \"text\": \"x\"", "r.jsonl:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text_file("r.jsonl", bad[i].text);
        expect_failure(ARGS("r.jsonl"), THEA_EDATA, bad[i].part);
        expect_failure(ARGS("r.jsonl"), THEA_EDATA, "accepted");
    }
}

Test(load_records, a_json_line_that_is_too_long_is_left_out_and_the_next_is_read)
{
    struct loaded l;
    struct buf text = {0};
    buf_add_text(&text, "{\"id\": \"big\", \"text\": \"");
    for (int i = 0; i < 300000; i++) buf_add_char(&text, 'x');
    buf_add_text(&text, "\"}\n{\"id\": \"small\", \"text\": \"y\"}\n");
    put_file("r.jsonl", text.data, text.len);
    load(&l, ARGS("--max-bytes", "1KiB", "r.jsonl"));
    expect_ids(&l, ARGS("small"));
    cr_assert_eq(harness_page(l.h)->skipped, 1);
    buf_fini(&text);
    done(&l);
}
