/* The status page: what is mapped, what is refused, and its text. */
#include "graph/status.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void expect_refused(int fd, const char *text)
{
    struct status_page *page = NULL;
    struct thea_err err = {0};
    cr_assert_eq(status_map(&page, fd, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, text), "'%s' is not in '%s'", text, err.message);
    cr_assert_null(page);
}

Test(status_page, is_one_memory_for_writer_and_reader)
{
    struct status_page *writer, *reader;
    int fd;
    cr_assert_eq(status_create(&writer, &fd, NULL), THEA_OK);
    cr_assert_eq(status_map(&reader, fd, NULL), THEA_OK);
    atomic_store(&writer->frames_in, 7);
    status_set_work(writer, "a document");
    char text[256];
    status_get_work(reader, text, sizeof text);
    cr_assert_eq(atomic_load(&reader->frames_in), 7);
    cr_assert_str_eq(text, "a document");
    status_unmap(reader);
    status_unmap(writer);
    close(fd);
}

Test(status_page, a_process_without_one_has_its_own)
{
    struct status_page *page;
    cr_assert_eq(status_map(&page, -1, NULL), THEA_OK);
    cr_assert_eq(page->magic, STATUS_MAGIC);
    status_unmap(page);
    status_unmap(NULL);
}

Test(status_page, a_closed_descriptor_is_refused)
{
    expect_refused(987, "--status 987: Bad file descriptor; a descriptor of a status page is expected");
}

Test(status_page, what_has_another_size_is_refused)
{
    int fd = memfd_create("page", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, STATUS_PAGE_BYTES - 1), 0);
    expect_refused(fd, "not a status page");
    close(fd);
}

Test(status_page, what_is_no_file_is_refused)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    expect_refused(ends[0], "not a status page");
}

Test(status_page, another_magic_or_version_is_refused)
{
    struct status_page *page;
    int fd;
    cr_assert_eq(status_create(&page, &fd, NULL), THEA_OK);
    page->version++;
    expect_refused(fd, "not a status page of version");
    page->version--;
    page->magic ^= 1;
    expect_refused(fd, "not a status page of version");
}

Test(status_page, a_page_cannot_lose_its_size_while_it_is_mapped)
{
    struct status_page *page;
    int fd;
    cr_assert_eq(status_create(&page, &fd, NULL), THEA_OK);
    cr_assert_neq(ftruncate(fd, 0), 0);
}

Test(status_page, a_long_text_is_cut_between_characters)
{
    struct status_page *page;
    char text[400], got[256];
    cr_assert_eq(status_map(&page, -1, NULL), THEA_OK);
    for (size_t i = 0; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA4", 2);
    text[sizeof text - 2] = '\0';
    status_set_work(page, text);
    status_get_work(page, got, sizeof got);
    cr_assert_eq(strlen(got) % 2, 0, "%zu bytes of two-byte characters", strlen(got));
    cr_assert_geq(strlen(got), 250);
    cr_assert_eq(memcmp(got, text, strlen(got)), 0);
}

Test(status_page, a_writer_killed_in_mid_text_does_not_stop_its_reader)
{
    struct status_page *page;
    char text[256];
    cr_assert_eq(status_map(&page, -1, NULL), THEA_OK);
    status_set_work(page, "half");
    atomic_fetch_add(&page->work_seq, 1);
    status_get_work(page, text, sizeof text);
    cr_assert_str_eq(text, "half");
}
