/* The status page: see status.h. The text of `work` is guarded by a sequence lock whose bytes are read and
 * written atomically (relaxed), so that a reader in another process, or in a test's other thread, sees either
 * the old or the new text. */
#include "graph/status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void page_begin(struct status_page *page)
{
    page->version = STATUS_VERSION;
    page->magic = STATUS_MAGIC;
}

thea_rc status_create(struct status_page **out, int *fd, struct thea_err *err)
{
    int file = memfd_create("thea-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return thea_fail(err, THEA_EOS, "status page: memfd_create: %s", strerror(errno));
    void *page = MAP_FAILED;
    if (ftruncate(file, STATUS_PAGE_BYTES) != 0 ||
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0 ||
        (page = mmap(NULL, STATUS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)) == MAP_FAILED) {
        thea_rc rc = thea_fail(err, THEA_EOS, "status page: %s", strerror(errno));
        close(file);
        return rc;
    }
    page_begin(page);
    *out = page;
    *fd = file;
    return THEA_OK;
}

/* A page that does not lose its size while mapped: of the right size, and sealed or at least ours. */
static thea_rc check_size(int fd, struct thea_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return thea_fail(err, THEA_EUSAGE, "--status %d: %s; a descriptor of a status page is expected", fd,
                         strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size != STATUS_PAGE_BYTES)
        return thea_fail(err, THEA_EUSAGE, "--status %d: not a status page: %lld bytes, expected %d", fd,
                         (long long)st.st_size, STATUS_PAGE_BYTES);
    return THEA_OK;
}

thea_rc status_map(struct status_page **out, int fd, struct thea_err *err)
{
    if (fd >= 0) {
        thea_rc rc = check_size(fd, err);
        if (rc != THEA_OK) return rc;
    }
    int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    struct status_page *page = mmap(NULL, STATUS_PAGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (page == MAP_FAILED) return thea_fail(err, THEA_EOS, "status page: mmap: %s", strerror(errno));
    if (fd < 0) page_begin(page);
    if (page->magic != STATUS_MAGIC || page->version != STATUS_VERSION) {
        thea_rc rc = thea_fail(err, THEA_EUSAGE,
                               "--status %d: not a status page of version %d (magic %08x, version %u)", fd,
                               STATUS_VERSION, page->magic, page->version);
        munmap(page, STATUS_PAGE_BYTES);
        return rc;
    }
    *out = page;
    return THEA_OK;
}

void status_unmap(struct status_page *page)
{
    if (page != NULL) munmap(page, STATUS_PAGE_BYTES);
}

void status_set_work(struct status_page *page, const char *text)
{
    uint32_t seq = atomic_load_explicit(&page->work_seq, memory_order_relaxed);
    size_t n = strnlen(text, sizeof page->work - 1);
    while (n > 0 && text[n] != '\0' && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--; /* not inside a character */
    atomic_store_explicit(&page->work_seq, seq + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < n; i++) __atomic_store_n(&page->work[i], text[i], __ATOMIC_RELAXED);
    __atomic_store_n(&page->work[n], '\0', __ATOMIC_RELAXED);
    atomic_store_explicit(&page->work_seq, seq + 2, memory_order_release);
}

void status_get_work(const struct status_page *page, char *out, size_t size)
{
    assert(size >= sizeof page->work);
    /* A writer killed in the middle leaves an odd number for ever: after some tries, take what is there. */
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load_explicit(&page->work_seq, memory_order_acquire);
        for (size_t i = 0; i < sizeof page->work; i++)
            out[i] = __atomic_load_n(&page->work[i], __ATOMIC_RELAXED);
        out[sizeof page->work - 1] = '\0';
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && atomic_load_explicit(&page->work_seq, memory_order_relaxed) == before) return;
    }
}

size_t status_get_streams(const struct status_page *page, uint64_t out[STATUS_WORK_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < STATUS_WORK_MAX; i++) {
        uint64_t id = atomic_load_explicit(&page->work_streams[i], memory_order_relaxed);
        if (id != 0) out[n++] = id - 1;
    }
    return n;
}

uint64_t status_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Bucket 0 is below 1.024 us; then each octave [2^k, 2^(k+1)) of that has four of equal width. */
enum { OP_UNIT_SHIFT = 10 };

size_t status_op_bucket(uint64_t ns)
{
    uint64_t units = ns >> OP_UNIT_SHIFT;
    if (units == 0) return 0;
    size_t octave = 63 - (size_t)__builtin_clzll(units);
    size_t quarter = (size_t)(ns >> (octave + OP_UNIT_SHIFT - 2)) & 3, bucket = 1 + octave * 4 + quarter;
    return bucket < STATUS_OP_BUCKETS ? bucket : STATUS_OP_BUCKETS - 1;
}

uint64_t status_op_bound_ns(size_t bucket)
{
    return (UINT64_C(4) + bucket % 4) << (bucket / 4 + OP_UNIT_SHIFT - 2);
}

void status_count_op(struct status_page *page, uint64_t ns)
{
    _Atomic uint64_t *n = &page->op_counts[status_op_bucket(ns)];
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}
