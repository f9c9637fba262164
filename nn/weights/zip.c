/* Zip directories: see zip.h. Format: members, each a local header and its bytes; then the central directory,
 * an entry a member; then, in zip64 files, a record with 64-bit sizes and a locator of it; then the end
 * record, which may be followed by a comment. Sizes are taken from the central directory: writers that stream
 * leave those of local headers 0. */
#include "nn/weights/zip.h"

#include "nn/weights/crc32.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    COMMENT_MAX = 65535,
    NAME_MAX_BYTES = 1024,
    FLAG_ENCRYPTED = 1 | 1 << 6 | 1 << 13,
};

struct reader {
    const char *path;
    const unsigned char *bytes;
    size_t size;
    uint64_t directory_at, directory_bytes, entries;
    struct thea_err *err;
};

static uint64_t get(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static bool is_mark(const unsigned char *p, unsigned char a, unsigned char b)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b;
}

/* The end record: the last one whose comment reaches exactly to the end of the file. */
static const unsigned char *find_end(const struct reader *r)
{
    for (size_t back = END_BYTES; back <= r->size && back <= END_BYTES + COMMENT_MAX; back++) {
        const unsigned char *p = r->bytes + r->size - back;
        if (is_mark(p, 5, 6) && get(p + 20, 2) == back - END_BYTES) return p;
    }
    return NULL;
}

static thea_rc damaged(const struct reader *r, const char *what)
{
    return thea_fail(r->err, THEA_EDATA, "%s: damaged zip file: %s", r->path, what);
}

/* The zip64 record, if there is one: its figures win. *limit: where the directory must end. */
static thea_rc read_end64(struct reader *r, uint64_t *limit)
{
    uint64_t end_at = *limit;
    if (end_at < LOCATOR_BYTES || !is_mark(r->bytes + end_at - LOCATOR_BYTES, 6, 7)) return THEA_OK;
    uint64_t at = get(r->bytes + end_at - LOCATOR_BYTES + 8, 8);
    if (at > end_at - LOCATOR_BYTES || end_at - LOCATOR_BYTES - at < END64_BYTES ||
        !is_mark(r->bytes + at, 6, 6))
        return damaged(r, "its zip64 locator leads nowhere");
    const unsigned char *p = r->bytes + at;
    if (get(p + 16, 4) != 0 || get(p + 20, 4) != 0 || get(p + 24, 8) != get(p + 32, 8))
        return damaged(r, "it is one of several volumes");
    r->entries = get(p + 32, 8);
    r->directory_bytes = get(p + 40, 8);
    r->directory_at = get(p + 48, 8);
    *limit = at;
    return THEA_OK;
}

static thea_rc read_end(struct reader *r)
{
    const unsigned char *end = find_end(r);
    if (end == NULL)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: no zip directory at its end (%zu bytes): truncated, or an unfinished download",
                         r->path, r->size);
    if (get(end + 4, 2) != 0 || get(end + 6, 2) != 0 || get(end + 8, 2) != get(end + 10, 2))
        return damaged(r, "it is one of several volumes");
    r->entries = get(end + 10, 2);
    r->directory_bytes = get(end + 12, 4);
    r->directory_at = get(end + 16, 4);
    uint64_t limit = (uint64_t)(end - r->bytes);
    thea_rc rc = read_end64(r, &limit);
    if (rc != THEA_OK) return rc;
    if (r->directory_at > limit || r->directory_bytes > limit - r->directory_at)
        return damaged(r, "its directory is said to lie outside of the file");
    if (r->entries > r->directory_bytes / ENTRY_BYTES)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: damaged zip file: its directory of %llu bytes cannot hold %llu members",
                         r->path, (unsigned long long)r->directory_bytes, (unsigned long long)r->entries);
    return THEA_OK;
}

/* An entry of the central directory, its 64-bit figures taken from the extra field where the others are
 * saturated. */
struct entry {
    const unsigned char *name;
    size_t name_bytes, bytes; /* bytes: of the whole entry */
    uint64_t stored, size, header_at;
    uint32_t crc, flags, method;
};

static bool read_wide(uint64_t *value, const unsigned char **at, const unsigned char *end)
{
    if (*value != UINT32_MAX) return true;
    if (end - *at < 8) return false;
    *value = get(*at, 8);
    *at += 8;
    return true;
}

static bool read_extra(struct entry *e, const unsigned char *at, size_t bytes)
{
    const unsigned char *end = at + bytes;
    while (end - at >= 4) {
        size_t n = get(at + 2, 2);
        if (n > (size_t)(end - at) - 4) return false;
        if (get(at, 2) == 1) {
            const unsigned char *field = at + 4, *field_end = field + n;
            return read_wide(&e->size, &field, field_end) && read_wide(&e->stored, &field, field_end) &&
                   read_wide(&e->header_at, &field, field_end);
        }
        at += 4 + n;
    }
    return e->size != UINT32_MAX && e->stored != UINT32_MAX && e->header_at != UINT32_MAX;
}

static bool read_entry(struct entry *e, const unsigned char *p, const unsigned char *end)
{
    if (end - p < ENTRY_BYTES || !is_mark(p, 1, 2)) return false;
    size_t extra = get(p + 30, 2), comment = get(p + 32, 2);
    *e = (struct entry){.name = p + ENTRY_BYTES,
                        .name_bytes = get(p + 28, 2),
                        .flags = (uint32_t)get(p + 8, 2),
                        .method = (uint32_t)get(p + 10, 2),
                        .crc = (uint32_t)get(p + 16, 4),
                        .stored = get(p + 20, 4),
                        .size = get(p + 24, 4),
                        .header_at = get(p + 42, 4)};
    e->bytes = ENTRY_BYTES + e->name_bytes + extra + comment;
    return (size_t)(end - p) >= e->bytes && read_extra(e, e->name + e->name_bytes, extra);
}

/* The member's own header must tell the same, and its bytes lie before the directory. */
static const char *find_data(struct zip_member *m, const struct entry *e, const struct reader *r)
{
    uint64_t limit = r->directory_at;
    if (e->header_at > limit || limit - e->header_at < LOCAL_BYTES) return "it begins outside of the file";
    const unsigned char *p = r->bytes + e->header_at;
    if (!is_mark(p, 3, 4)) return "there is no header where the directory says that it begins";
    uint64_t name_bytes = get(p + 26, 2), skip = LOCAL_BYTES + name_bytes + get(p + 28, 2);
    if (limit - e->header_at < skip) return "its header goes beyond the file";
    if (name_bytes != e->name_bytes || memcmp(p + LOCAL_BYTES, e->name, name_bytes) != 0)
        return "its own header has another name";
    if (get(p + 8, 2) != e->method) return "its own header has another method";
    if (limit - e->header_at - skip < e->size) return "its bytes go beyond the file: truncated";
    m->data = p + skip;
    return NULL;
}

static thea_rc add_member(struct zip_member *m, const struct entry *e, const struct reader *r)
{
    if (e->name_bytes == 0 || e->name_bytes > NAME_MAX_BYTES || memchr(e->name, 0, e->name_bytes) != NULL)
        return damaged(r, "a member's name is empty, longer than 1024 bytes, or holds a zero byte");
    m->name = strndup((const char *)e->name, e->name_bytes);
    if (m->name == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    if ((e->flags & FLAG_ENCRYPTED) != 0)
        return thea_fail(r->err, THEA_EDATA,
                         "%s: member '%.200s' is encrypted; accepted: members stored as they are", r->path,
                         m->name);
    if (e->method != 0)
        return thea_fail(
            r->err, THEA_EDATA,
            "%s: member '%.200s' is compressed (method %u); accepted: members stored as they are, as "
            "torch.save writes them",
            r->path, m->name, e->method);
    if (e->stored != e->size)
        return thea_fail(r->err, THEA_EDATA, "%s: member '%.200s': stored in %llu bytes, but %llu long",
                         r->path, m->name, (unsigned long long)e->stored, (unsigned long long)e->size);
    m->size = e->size;
    m->crc = e->crc;
    m->header_at = e->header_at;
    const char *wrong = find_data(m, e, r);
    if (wrong == NULL) return THEA_OK;
    return thea_fail(r->err, THEA_EDATA, "%s: member '%.200s': %s", r->path, m->name, wrong);
}

static int by_place(const void *a, const void *b)
{
    const struct zip_member *x = a, *y = b;
    return (x->header_at > y->header_at) - (x->header_at < y->header_at);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zip_member *)a)->name, ((const struct zip_member *)b)->name);
}

/* No byte belongs to two members, no name is there twice. Leaves them sorted by name. */
static thea_rc check_members(struct zip *z, const struct reader *r)
{
    qsort(z->members, z->count, sizeof *z->members, by_place);
    for (size_t i = 1; i < z->count; i++) {
        const struct zip_member *a = &z->members[i - 1], *b = &z->members[i];
        if (b->header_at < (uint64_t)(a->data - r->bytes) + a->size)
            return thea_fail(r->err, THEA_EDATA, "%s: members '%.200s' and '%.200s' overlap", r->path,
                             a->name, b->name);
    }
    qsort(z->members, z->count, sizeof *z->members, by_name);
    for (size_t i = 1; i < z->count; i++) {
        if (strcmp(z->members[i - 1].name, z->members[i].name) == 0)
            return thea_fail(r->err, THEA_EDATA, "%s: member '%.200s' is there twice", r->path,
                             z->members[i].name);
    }
    return THEA_OK;
}

static thea_rc read_directory(struct zip *z, const struct reader *r)
{
    const unsigned char *p = r->bytes + r->directory_at, *end = p + r->directory_bytes;
    z->members = calloc(r->entries + 1, sizeof *z->members);
    if (z->members == NULL) return thea_fail(r->err, THEA_EOS, "%s: out of memory", r->path);
    for (uint64_t i = 0; i < r->entries; i++) {
        struct entry e;
        if (!read_entry(&e, p, end))
            return thea_fail(r->err, THEA_EDATA,
                             "%s: damaged zip file: entry %llu of its directory is broken", r->path,
                             (unsigned long long)i);
        thea_rc rc = add_member(&z->members[z->count++], &e, r);
        if (rc != THEA_OK) return rc;
        p += e.bytes;
    }
    if (p != end) return damaged(r, "its directory has bytes that belong to no member");
    return check_members(z, r);
}

thea_rc zip_parse(struct zip *out, const void *bytes, size_t size, const char *path, struct thea_err *err)
{
    *out = (struct zip){0};
    struct reader r = {.path = path, .bytes = bytes, .size = size, .err = err};
    thea_rc rc = read_end(&r);
    if (rc == THEA_OK) rc = read_directory(out, &r);
    if (rc != THEA_OK) zip_close(out);
    return rc;
}

void zip_close(struct zip *z)
{
    for (size_t i = 0; i < z->count; i++) free(z->members[i].name);
    free(z->members);
    *z = (struct zip){0};
}

const struct zip_member *zip_find(const struct zip *z, const char *name)
{
    struct zip_member key = {.name = (char *)name};
    return z->count > 0 ? bsearch(&key, z->members, z->count, sizeof *z->members, by_name) : NULL;
}

thea_rc zip_verify(const struct zip_member *m, const char *path, struct thea_err *err)
{
    if (m->crc == 0) return THEA_OK;
    uint32_t crc = crc32_update(0, m->data, m->size);
    if (crc == m->crc) return THEA_OK;
    return thea_fail(err, THEA_EDATA,
                     "%s: member '%.200s' is damaged: its bytes sum up to %08x, the directory says %08x",
                     path, m->name, crc, m->crc);
}
