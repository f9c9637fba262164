/* fuzz-journal: any bytes as a journal and its output. The input is the output's content, a NUL, then lines;
 * those that begin with '+' get their checksum here, or nothing would pass it. What is refused must be left
 * as it was; what is taken must be whole: the next commit is there after the next start, and nothing is cut.
 */
#include "graph/buf.h"
#include "graph/crc32c.h"
#include "graph/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static int outside = -1;

/* The current directory is one of our own, and the names of a journal lead nowhere else. */
static void enter_scratch(void)
{
    static char scratch[] = "/dev/shm/thea-fuzz-XXXXXX";
    if (outside < 0) {
        outside = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        need(outside >= 0 && mkdtemp(scratch) != NULL);
    }
    need(chdir(scratch) == 0);
}

static bool leads_elsewhere(const uint8_t *data, size_t size)
{
    return memchr(data, '/', size) != NULL || memchr(data, '\\', size) != NULL; /* "\u002f" */
}

static void leave_scratch(void)
{
    DIR *dir = opendir(".");
    need(dir != NULL);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' || strlen(e->d_name) > 2) (void)!unlink(e->d_name);
    closedir(dir);
    need(fchdir(outside) == 0);
}

static void put(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    need(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void expect(const char *path, const void *bytes, size_t n)
{
    struct buf now = {0};
    int fd = open(path, O_RDONLY);
    need(fd >= 0);
    now.len = (size_t)read(fd, buf_reserve(&now, n + 1), n + 1);
    need(now.len == n && memcmp(now.data, bytes, n) == 0);
    close(fd);
    buf_fini(&now);
}

static void add_lines(struct buf *out, const char *at, size_t left)
{
    while (left > 0) {
        const char *newline = memchr(at, '\n', left);
        size_t len = newline != NULL ? (size_t)(newline - at) : left, taken = len + (newline != NULL);
        bool sum = len > 0 && at[0] == '+';
        if (sum) buf_printf(out, "%08x ", crc32c(0, at + 1, len - 1));
        buf_add(out, at + sum, taken - sum);
        at += taken;
        left -= taken;
    }
}

static void use(const struct journal_options *o, struct journal *j)
{
    struct stat at;
    char more[] = "more";
    struct iovec part = {more, 4};
    uint64_t stream = 0, commits = journal_found(j)->commits, tail = journal_tail(j);
    while (ranges_has(journal_streams(j), stream)) stream++;
    need(fstat(journal_output_fd(j), &at) == 0 && (uint64_t)at.st_size == tail);
    need(journal_commit(j, stream, 0, &part, 1, NULL) == THEA_OK);
    journal_close(j);
    need(journal_open(&j, o, NULL) == THEA_OK);
    need(journal_found(j)->commits == commits + 1 && journal_tail(j) == tail + 4);
    need(journal_found(j)->cut_bytes == 0 && journal_found(j)->cut_lines == 0);
    journal_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_options o = {.path = "journal",
                                .run = "r",
                                .output = "out",
                                .format = "jsonl",
                                .order = "input",
                                .sync_interval_ns = UINT64_MAX};
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    if (end == NULL || leads_elsewhere(data, size)) return 0;
    struct buf lines = {0};
    struct journal *j = NULL;
    struct thea_err err = {0};
    enter_scratch();
    put("out", data, (size_t)(end - data));
    add_lines(&lines, (const char *)end + 1, size - (size_t)(end + 1 - data));
    put("journal", buf_text(&lines), lines.len);
    if (journal_open(&j, &o, &err) == THEA_OK) {
        use(&o, j);
    } else {
        need(err.message[0] != '\0');
        if (err.rc == THEA_EDATA || err.rc == THEA_EUSAGE) {
            expect("journal", buf_text(&lines), lines.len);
            expect("out", data, (size_t)(end - data));
        }
    }
    buf_fini(&lines);
    leave_scratch();
    return 0;
}
