/* The receiver's side of regions: pools of another process, opened through /proc, checked, mapped read-only.
 * See region.h.
 *
 * Invariant: nothing is mapped that could be cut short under us, and no tensor is given data outside of it.
 * The bytes may change while they are read; sizes and shapes come from the message, and who uses a number as
 * an index checks a copy of it. */
#include "graph/wire/region.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_BYTES_MAX ((uint64_t)1 << 32)

struct region_map {
    uint32_t number, slots; /* number 0: nothing is here */
    uint64_t slot_bytes, bytes, inode;
    const char *base;
    uint64_t *seen; /* newest generation of each slot */
};

struct region_maps {
    struct region_map map[REGION_POOLS_MAX]; /* at number % REGION_POOLS_MAX */
};

static char host[80];

static void find_host(void)
{
    char boot[40] = "?";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f != NULL) {
        if (fscanf(f, "%39s", boot) != 1) boot[0] = '?', boot[1] = '\0';
        fclose(f);
    }
    struct stat st;
    unsigned long long ns = stat("/proc/self/ns/pid", &st) == 0 ? (unsigned long long)st.st_ino : 0;
    snprintf(host, sizeof host, "%s/%llu", boot, ns);
}

const char *region_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_host);
    return host;
}

struct region_maps *region_maps_new(void)
{
    struct region_maps *m = calloc(1, sizeof *m);
    if (m == NULL) abort();
    return m;
}

static void unmap(struct region_map *map)
{
    if (map->number == 0) return;
    munmap((void *)(uintptr_t)map->base, map->bytes);
    free(map->seen);
    *map = (struct region_map){0};
}

void region_maps_free(struct region_maps *m)
{
    if (m == NULL) return;
    for (size_t i = 0; i < REGION_POOLS_MAX; i++) unmap(&m->map[i]);
    free(m);
}

uint32_t region_maps_count(const struct region_maps *m)
{
    uint32_t n = 0;
    for (size_t i = 0; i < REGION_POOLS_MAX; i++) n += m->map[i].number != 0;
    return n;
}

/* --- opening --- */

static thea_rc check_offer(const struct region_offer *o, struct thea_err *err)
{
    if (strcmp(o->host, region_host()) != 0)
        return thea_fail(err, THEA_EPERM, "it is on another host, or in another pid namespace");
    if (o->slots == 0 || o->slots > REGION_SLOTS_MAX || o->slot_bytes == 0 ||
        o->slot_bytes > SLOT_BYTES_MAX || o->slot_bytes % REGION_ALIGNMENT != 0 || o->pid <= 0 || o->fd < 0 ||
        o->number == 0)
        return thea_fail(
            err, THEA_EFRAME,
            "pool %u of %u slots of %llu bytes: expected up to %d slots of a multiple of %d bytes, "
            "up to %llu",
            o->number, o->slots, (unsigned long long)o->slot_bytes, REGION_SLOTS_MAX, REGION_ALIGNMENT,
            (unsigned long long)SLOT_BYTES_MAX);
    return THEA_OK;
}

static thea_rc check_file(int fd, const char *path, const struct region_offer *o, struct thea_err *err)
{
    struct stat st;
    uint64_t bytes = o->slots * o->slot_bytes;
    if (fstat(fd, &st) != 0) return thea_fail(err, THEA_EOS, "%s: %s", path, strerror(errno));
    if (st.st_ino != o->inode)
        return thea_fail(err, THEA_EFRAME, "%s is not what was announced: inode %llu, expected %llu", path,
                         (unsigned long long)st.st_ino, (unsigned long long)o->inode);
    if (st.st_uid != geteuid())
        return thea_fail(err, THEA_EPERM, "%s belongs to user %u, expected %u", path, (unsigned)st.st_uid,
                         (unsigned)geteuid());
    int seals = fcntl(fd, F_GET_SEALS), needed = F_SEAL_SHRINK | F_SEAL_GROW;
    if (seals < 0 || (seals & needed) != needed)
        return thea_fail(err, THEA_EFRAME, "%s is not sealed: it could be cut short under its reader", path);
    if (st.st_size < 0 || (uint64_t)st.st_size != bytes)
        return thea_fail(err, THEA_EFRAME, "%s has %lld bytes, expected %llu", path, (long long)st.st_size,
                         (unsigned long long)bytes);
    if ((uint64_t)st.st_blocks * 512 < bytes)
        return thea_fail(err, THEA_EFRAME, "%s has %llu bytes of memory, expected %llu", path,
                         (unsigned long long)st.st_blocks * 512, (unsigned long long)bytes);
    return THEA_OK;
}

static thea_rc open_file(int *fd, const struct region_offer *o, struct thea_err *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", o->pid, o->fd);
    *fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: whatever it is, opening does not wait */
    if (*fd < 0)
        return thea_fail(err, errno == EACCES || errno == EPERM ? THEA_EPERM : THEA_EOS, "cannot open %s: %s",
                         path, strerror(errno));
    thea_rc rc = check_file(*fd, path, o, err);
    if (rc != THEA_OK) close(*fd);
    return rc;
}

static thea_rc map_offer(struct region_map *map, const struct region_offer *o, struct thea_err *err)
{
    int fd;
    thea_rc rc = open_file(&fd, o, err);
    if (rc != THEA_OK) return rc;
    uint64_t bytes = o->slots * o->slot_bytes;
    void *base = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    int why = errno;
    close(fd);
    if (base == MAP_FAILED)
        return thea_fail(err, THEA_EOS, "cannot map %llu bytes: %s", (unsigned long long)bytes,
                         strerror(why));
    *map = (struct region_map){.number = o->number,
                               .slots = o->slots,
                               .slot_bytes = o->slot_bytes,
                               .bytes = bytes,
                               .inode = o->inode,
                               .base = base,
                               .seen = calloc(o->slots, sizeof *map->seen)};
    if (map->seen == NULL) abort();
    return THEA_OK;
}

thea_rc region_maps_add(struct region_maps *m, const struct region_offer *o, struct thea_err *err)
{
    for (size_t i = 0; i < REGION_POOLS_MAX; i++)
        if (m->map[i].number < o->oldest) unmap(&m->map[i]);
    if (o->slots == 0 && o->number == 0) return THEA_OK;
    struct region_map *map = &m->map[o->number % REGION_POOLS_MAX];
    thea_rc rc = check_offer(o, err);
    if (rc != THEA_OK) return rc;
    if (map->number == o->number && map->inode == o->inode && map->slots == o->slots &&
        map->slot_bytes == o->slot_bytes)
        return THEA_OK;
    unmap(map);
    return map_offer(map, o, err);
}

/* --- reading --- */

static thea_rc resolve(struct region_maps *m, struct tensor *t, struct thea_err *err)
{
    const struct tensor_region *r = &t->region;
    struct region_map *map = &m->map[r->pool % REGION_POOLS_MAX];
    if (r->pool == 0 || map->number != r->pool)
        return thea_fail(err, THEA_EFRAME,
                         "frame: tensor '%s' lies in pool %u, which was not offered on this link", t->name,
                         r->pool);
    uint64_t end = r->offset + t->size_bytes; /* for the message: it may overflow */
    if (r->slot >= map->slots || r->offset > map->slot_bytes || t->size_bytes > map->slot_bytes - r->offset)
        return thea_fail(err, THEA_EFRAME,
                         "frame: tensor '%s' has bytes %llu to %llu of slot %u, pool %u has %u slots of %llu",
                         t->name, (unsigned long long)r->offset, (unsigned long long)end, r->slot, r->pool,
                         map->slots, (unsigned long long)map->slot_bytes);
    if (r->generation < map->seen[r->slot])
        return thea_fail(err, THEA_EFRAME,
                         "frame: tensor '%s' has use %llu of slot %u, of which use %llu was seen", t->name,
                         (unsigned long long)r->generation, r->slot, (unsigned long long)map->seen[r->slot]);
    map->seen[r->slot] = r->generation;
    t->data = map->base + r->slot * map->slot_bytes + r->offset;
    t->in_region = false;
    return THEA_OK;
}

thea_rc region_maps_resolve(struct region_maps *m, struct frame *f, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < f->tensor_count; i++)
        if (f->tensors[i].in_region) rc = resolve(m, &f->tensors[i], err);
    return rc;
}
