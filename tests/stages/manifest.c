/* The manifest of a source: what was numbered is found again, wherever the file breaks off. */
#include "tests/stages/helpers.h"

#include "stages/support/manifest.h"

TestSuite(manifest, .init = scratch_make, .fini = scratch_remove);

static void open_good(struct manifest *m)
{
    struct thea_err err = {0};
    cr_assert_eq(manifest_open(m, scratch, "load", &err), THEA_OK, "%s", err.message);
}

static void sync_good(struct manifest *m)
{
    struct thea_err err = {0};
    cr_assert_eq(manifest_sync(m, &err), THEA_OK, "%s", err.message);
}

/* a.txt (stream 0), b.txt left out, r.jsonl (1-3, then 4), c.txt (5), d.txt not numbered. */
static void fill(struct manifest *m)
{
    manifest_set_base(m, "/base");
    manifest_add(m, ITEM_FILE, "/base/a.txt", 7, 123456789);
    manifest_add(m, ITEM_FILE, "/base/b.txt", 0, -5);
    manifest_add(m, ITEM_RECORDS, "/base/r.jsonl", 99, 1);
    manifest_add(m, ITEM_FILE, "/base/c.txt", 1, 1);
    manifest_add(m, ITEM_FILE, "/base/d.txt", 1, 1);
    manifest_list_ends(m);
    sync_good(m);
    manifest_number(m, 0);
    manifest_leave_out(m, 1, "binary");
    sync_good(m);
    manifest_number_records(m, 2, 3, 60, 4);
    sync_good(m);
    manifest_number_records(m, 2, 1, 99, 5);
    manifest_item_done(m, 2);
    manifest_number(m, 3);
    sync_good(m);
}

static void expect_all(const struct manifest *m)
{
    cr_assert(m->listed);
    cr_assert_str_eq(m->base, "/base");
    cr_assert_eq(m->item_count, 5);
    cr_assert_eq(m->streams, 6);
    cr_assert_str_eq(m->items[0].path, "/base/a.txt");
    cr_assert_eq(m->items[0].size, 7);
    cr_assert_eq(m->items[0].mtime_ns, 123456789);
    cr_assert_eq(m->items[1].mtime_ns, -5);
    cr_assert(m->items[1].left_out && m->items[1].done && m->items[2].done && !m->items[4].done);
    cr_assert_eq(m->items[2].kind, ITEM_RECORDS);
    cr_assert(m->items[2].first == 1 && m->items[2].count == 4 && m->items[2].reached == 99);
    const struct manifest_span *s = manifest_find(m, 3);
    cr_assert(s != NULL && s->item == 2 && s->first == 1 && s->offset == 0 && s->end == 99 && s->line == 0);
    cr_assert_eq(manifest_find(m, 4), s, "neighbours are one span");
    s = manifest_find(m, 5);
    cr_assert(s != NULL && s->item == 3 && s->end == 0);
    cr_assert_null(manifest_find(m, 6));
}

Test(manifest, what_was_numbered_is_found_again)
{
    struct manifest m;
    open_good(&m);
    fill(&m);
    expect_all(&m);
    manifest_fini(&m);
    open_good(&m);
    expect_all(&m);
    manifest_fini(&m);
}

Test(manifest, documents_left_out_take_no_number_and_texts_in_a_row_are_one_span)
{
    struct manifest m;
    open_good(&m);
    manifest_set_base(&m, "/");
    for (int i = 0; i < 100; i++) manifest_add(&m, ITEM_FILE, "/f", 1, 1);
    for (size_t i = 0; i < 100; i++) {
        if (i == 50)
            manifest_leave_out(&m, i, "binary");
        else
            manifest_number(&m, i);
    }
    cr_assert_eq(m.streams, 99);
    cr_assert_eq(m.span_count, 2);
    for (uint64_t i = 0; i < 99; i++) {
        const struct manifest_span *s = manifest_find(&m, i);
        cr_assert_eq(s->item + (i - s->first), i < 50 ? i : i + 1);
    }
    manifest_fini(&m);
}

/* However it is cut, what is there is a beginning of what was said, and saying the rest again gives the
 * whole. */
Test(manifest, every_truncation_of_the_file_leaves_a_beginning_that_can_be_continued)
{
    struct manifest m;
    size_t size = 0;
    open_good(&m);
    fill(&m);
    manifest_fini(&m);
    char *whole = get_file("manifest/load", &size);
    uint64_t streams = 0;
    for (size_t n = 0; n <= size; n++) {
        put_file("manifest/load", whole, n);
        open_good(&m);
        cr_assert(m.streams >= streams && m.streams <= 6, "%zu bytes: %d streams", n, (int)m.streams);
        streams = m.streams;
        cr_assert(m.listed ? m.item_count == 5 : m.item_count == 0 && m.size == 0);
        cr_assert(m.size <= n);
        for (uint64_t i = 0; i < streams; i++) cr_assert_not_null(manifest_find(&m, i));
        cr_assert_null(manifest_find(&m, streams));
        struct stat at;
        cr_assert_eq(stat("manifest/load", &at), 0);
        cr_assert_eq((uint64_t)at.st_size, m.size, "the bad end is cut off");
        if (!m.listed) {
            fill(&m);
        } else {
            if (!m.items[0].done) manifest_number(&m, 0);
            if (!m.items[1].done) manifest_leave_out(&m, 1, "binary");
            if (m.items[2].reached < 60) manifest_number_records(&m, 2, 3, 60, 4);
            if (m.items[2].reached < 99) manifest_number_records(&m, 2, 1, 99, 5);
            if (!m.items[2].done) manifest_item_done(&m, 2);
            if (!m.items[3].done) manifest_number(&m, 3);
            sync_good(&m);
        }
        manifest_fini(&m);
        size_t again_size = 0;
        char *again = get_file("manifest/load", &again_size);
        cr_assert(again_size == size && memcmp(again, whole, size) == 0, "cut at %zu", n);
        free(again);
    }
    free(whole);
}

Test(manifest, a_changed_byte_before_numbered_streams_is_refused)
{
    struct manifest m;
    size_t size = 0;
    open_good(&m);
    fill(&m);
    manifest_fini(&m);
    char *whole = get_file("manifest/load", &size);
    const char *last = (const char *)memrchr(whole, '{', size);
    size_t refused = 0;
    for (size_t n = 0; whole + n < last - 10; n += 7) {
        struct thea_err err = {0};
        whole[n] ^= 1;
        put_file("manifest/load", whole, size);
        thea_rc rc = manifest_open(&m, scratch, "load", &err);
        cr_assert_eq(rc, THEA_EDATA, "byte %zu", n);
        cr_assert_not_null(strstr(err.message, "damaged"));
        whole[n] ^= 1;
        manifest_fini(&m);
        refused++;
    }
    cr_assert_gt(refused, 50);
    free(whole);
}

Test(manifest, a_full_disk_is_an_error_that_leaves_the_file_as_it_was)
{
    struct manifest m;
    struct thea_err err = {0};
    open_good(&m);
    fill(&m);
    uint64_t size = m.size;
    manifest_number(&m, 4);
    int real = m.fd;
    m.fd = open("/dev/full", O_RDWR);
    cr_assert_eq(manifest_sync(&m, &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "No space left"), "%s", err.message);
    close(m.fd);
    m.fd = real;
    cr_assert_eq(m.size, size);
    manifest_fini(&m);
}

Test(manifest, a_name_that_is_not_utf8_comes_back_as_it_was)
{
    struct manifest m;
    open_good(&m);
    manifest_set_base(&m, "/");
    manifest_add(&m, ITEM_FILE, "/caf\xE9 \xFF.txt", 1, 1);
    manifest_list_ends(&m);
    sync_good(&m);
    manifest_fini(&m);
    open_good(&m);
    cr_assert_str_eq(m.items[0].path, "/caf\xE9 \xFF.txt");
    manifest_fini(&m);
}

Test(manifest, a_folder_that_cannot_be_made_is_an_error)
{
    struct manifest m;
    struct thea_err err = {0};
    put_text_file("file", "");
    cr_assert_eq(manifest_open(&m, "file", "load", &err), THEA_ECREATE);
    manifest_fini(&m);
}

Test(manifest, by_hand_nothing_is_kept)
{
    struct manifest m;
    struct thea_err err = {0};
    cr_assert_eq(manifest_open(&m, NULL, "load", &err), THEA_OK);
    manifest_set_base(&m, "/");
    for (int i = 0; i < 1000; i++) manifest_number(&m, manifest_add(&m, ITEM_FILE, "/f", -1, 0));
    cr_assert_eq(m.span_count, 1);
    cr_assert_eq(m.unwritten.len, 0);
    sync_good(&m);
    cr_assert_not_null(manifest_find(&m, 999));
    manifest_fini(&m);
}

Test(manifest, records_that_trickle_in_take_a_span_for_hundreds_of_them)
{
    struct manifest m;
    open_good(&m);
    manifest_set_base(&m, "/");
    manifest_add(&m, ITEM_LISTEN, "listen", -1, 0);
    manifest_list_ends(&m);
    for (uint64_t i = 1; i <= 1000; i++) manifest_number_records(&m, 0, 1, i * 10, i);
    sync_good(&m);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(m.span_count, 4);
        const struct manifest_span *s = manifest_find(&m, 999);
        cr_assert(s != NULL && s->first == 768 && s->offset == 7680 && s->line == 768 && s->end == 10000);
        manifest_fini(&m);
        open_good(&m);
    }
    manifest_fini(&m);
}

Test(manifest, a_file_that_was_renamed_is_found_under_its_new_name)
{
    struct manifest m;
    open_good(&m);
    fill(&m);
    manifest_move(&m, 2, "/base/r.jsonl.1");
    sync_good(&m);
    manifest_fini(&m);
    open_good(&m);
    expect_all(&m);
    cr_assert_str_eq(m.items[2].moved, "/base/r.jsonl.1");
    cr_assert_str_eq(m.items[2].path, "/base/r.jsonl", "its name stays");
    manifest_fini(&m);
}

/* --- a source that never ends --- */

static uint64_t file_bytes(void)
{
    struct stat at;
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/manifest/load", scratch);
    cr_assert_eq(stat(path, &at), 0);
    return (uint64_t)at.st_size;
}

Test(manifest, of_what_is_committed_stays_small_however_much_comes)
{
    struct manifest m;
    uint64_t most = 0;
    open_good(&m);
    fill(&m);
    size_t endless = manifest_add(&m, ITEM_STDIN, "-", -1, -1);
    for (uint64_t i = 0; i < 50000; i++) {
        if (i % 10 == 9) manifest_number_records(&m, endless, 0, 11 * i + 5, i + 1); /* a blank line */
        manifest_number_records(&m, endless, 1, 11 * (i + 1), i + 1);
        sync_good(&m);
        if (i % 100 != 0) continue;
        manifest_settle(&m, m.streams - 3);
        cr_assert_leq(m.span_count, 32, "%zu spans", m.span_count);
        if (file_bytes() > most) most = file_bytes();
    }
    cr_assert_lt(most, 1 << 20, "%llu bytes", (unsigned long long)most);
    manifest_fini(&m);
    open_good(&m);
    cr_assert_eq(m.streams, 50006);
    cr_assert_eq(m.item_count, 6);
    cr_assert(m.items[1].left_out && m.items[2].done && !m.items[4].done && !m.items[5].done);
    cr_assert_eq(m.items[5].reached, 550000);
    cr_assert_eq(m.items[5].line, 50000);
    const struct manifest_span *last = manifest_find(&m, 50005);
    cr_assert(last != NULL && last->item == 5 && last->end == 550000 && last->offset <= 550000 - 11);
    cr_assert_null(manifest_find(&m, 50006));
    manifest_fini(&m);
}

Test(manifest, that_was_written_anew_says_the_same)
{
    struct manifest m;
    open_good(&m);
    fill(&m);
    manifest_move(&m, 4, "/base/d.txt.1");
    for (size_t i = 0; i < 2; i++) manifest_add(&m, ITEM_RECORDS, i == 0 ? "/base/x" : "/base/y", 1, 1);
    for (uint64_t i = 0; i < 6000; i++)
        manifest_number_records(&m, 5 + i % 2, 1, (i / 2 + 1) * 10, i / 2 + 1);
    sync_good(&m);
    uint64_t before = file_bytes();
    manifest_settle(&m, 10); /* most is not committed: each span is needed */
    cr_assert_eq(file_bytes(), before);
    manifest_settle(&m, m.streams);
    manifest_fini(&m);
    open_good(&m);
    cr_assert_eq(m.streams, 6006);
    cr_assert_str_eq(m.items[4].moved, "/base/d.txt.1");
    cr_assert(m.items[5].reached == 30000 && m.items[6].reached == 30000 && m.items[6].line == 3000);
    cr_assert(m.items[0].count == 1 && m.items[2].count == 4 && m.items[3].first == 5 &&
              m.items[5].count == 3000);
    manifest_fini(&m);
}

Test(manifest, that_cannot_be_written_anew_stays_as_it_is)
{
    struct manifest m;
    char path[PATH_MAX + 32];
    open_good(&m);
    fill(&m);
    size_t endless = manifest_add(&m, ITEM_STDIN, "-", -1, -1);
    for (uint64_t i = 0; i < 5000; i++) manifest_number_records(&m, endless, 1, i + 1, i + 1);
    sync_good(&m);
    snprintf(path, sizeof path, "%s/manifest/load.new", scratch);
    cr_assert_eq(mkdir(path, 0700), 0); /* in the way */
    uint64_t before = file_bytes();
    manifest_settle(&m, m.streams);
    cr_assert_eq(file_bytes(), before);
    manifest_number_records(&m, endless, 1, 6000, 5001);
    sync_good(&m);
    manifest_fini(&m);
    open_good(&m);
    cr_assert_eq(m.streams, 5007);
    manifest_fini(&m);
}
