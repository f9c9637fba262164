/* One pool: a sealed memfd cut into slots, and who uses them. See region.h.
 *
 * Invariant: all memory is there before the first slot is given out, so that a shortage is an error here and
 * no SIGBUS later; and the file can neither shrink nor grow, so that no reader can be made to fault. */
#include "graph/wire/region_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static thea_rc fail(struct thea_err *err, uint64_t bytes, const char *what, int number)
{
    return thea_fail(err, THEA_EOS, "%llu bytes of shared memory: %s: %s", (unsigned long long)bytes, what,
                     strerror(number));
}

/* Every page exists afterwards. */
static int allocate(int fd, uint64_t bytes)
{
    int rv;
    do rv = posix_fallocate(fd, 0, (off_t)bytes);
    while (rv == EINTR);
    return rv;
}

static int seal(int fd)
{
    int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(fd, F_ADD_SEALS, needed | F_SEAL_FUTURE_WRITE) == 0) return 0;
    return fcntl(fd, F_ADD_SEALS, needed); /* Linux before 5.1: readers stay read-only by their own choice */
}

static thea_rc map(struct region_pool *pool, struct thea_err *err)
{
    struct stat st;
    pool->fd = memfd_create("thea-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (pool->fd < 0) return fail(err, pool->bytes, "memfd_create", errno);
    int rv = allocate(pool->fd, pool->bytes);
    if (rv != 0) return fail(err, pool->bytes, "posix_fallocate", rv);
    void *base = mmap(NULL, pool->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, pool->fd, 0);
    if (base == MAP_FAILED) return fail(err, pool->bytes, "mmap", errno);
    pool->base = base;
    if (seal(pool->fd) != 0) return fail(err, pool->bytes, "sealing", errno);
    if (fstat(pool->fd, &st) != 0) return fail(err, pool->bytes, "fstat", errno);
    pool->inode = st.st_ino;
    return THEA_OK;
}

thea_rc region_pool_open(struct region_pool **out, uint32_t slots, uint64_t slot_bytes, struct thea_err *err)
{
    assert(slots > 0 && slots <= REGION_SLOTS_MAX && slot_bytes > 0 && slot_bytes % REGION_ALIGNMENT == 0);
    struct region_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) abort();
    pool->fd = -1;
    pool->slots = slots;
    pool->slot_bytes = slot_bytes;
    pool->bytes = slots * slot_bytes;
    pool->slot = calloc(slots, sizeof *pool->slot);
    pool->free = calloc(slots, sizeof *pool->free);
    if (pool->slot == NULL || pool->free == NULL) abort();
    for (uint32_t i = 0; i < slots; i++) pool->free[pool->free_count++] = slots - 1 - i;
    thea_rc rc = map(pool, err);
    if (rc == THEA_OK)
        *out = pool;
    else
        region_pool_close(pool);
    return rc;
}

void region_pool_close(struct region_pool *pool)
{
    if (pool == NULL) return;
    if (pool->base != NULL) munmap(pool->base, pool->bytes);
    if (pool->fd >= 0) close(pool->fd);
    free(pool->slot);
    free(pool->free);
    free(pool);
}

bool region_pool_take(struct region_pool *pool, uint32_t *slot)
{
    if (pool->free_count == 0) return false;
    *slot = pool->free[--pool->free_count];
    struct region_slot *s = &pool->slot[*slot];
    assert(s->references == 0);
    s->references = 1;
    s->generation++;
    return true;
}

void region_pool_refer(struct region_pool *pool, uint32_t slot)
{
    assert(slot < pool->slots && pool->slot[slot].references > 0);
    pool->slot[slot].references++;
}

void region_pool_release(struct region_pool *pool, uint32_t slot)
{
    assert(slot < pool->slots && pool->slot[slot].references > 0);
    if (--pool->slot[slot].references == 0) pool->free[pool->free_count++] = slot;
}

bool region_pool_has(const struct region_pool *pool, const void *data)
{
    const char *at = data;
    return at >= pool->base && at < pool->base + pool->bytes;
}

uint32_t region_pool_in_use(const struct region_pool *pool)
{
    return pool->slots - pool->free_count;
}

struct region_offer region_pool_offer(const struct region_pool *pool)
{
    return (struct region_offer){.number = pool->number,
                                 .slots = pool->slots,
                                 .slot_bytes = pool->slot_bytes,
                                 .pid = (int32_t)getpid(),
                                 .fd = pool->fd,
                                 .inode = pool->inode,
                                 .host = region_host()};
}
