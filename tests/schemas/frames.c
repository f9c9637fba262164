/* Messages for tests: see frames.h. The writer goes forward: a table, then what it refers to, whose place is
 * filled in then. */
#include "tests/schemas/frames.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

void *encoded_alloc(void *encoded, size_t size)
{
    struct encoded *e = encoded;
    free(e->block);
    e->block = NULL;
    e->allocations++;
    if (e->refuse || posix_memalign(&e->block, 64, size) != 0) return NULL;
    return e->block;
}

void encoded_fini(struct encoded *e)
{
    free(e->block);
    *e = (struct encoded){0};
}

struct encoded encoded_frame(const struct frame *f)
{
    struct encoded e = {0};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_frame(f, encoded_alloc, &e, &e.offset, &e.size, &err), THEA_OK, "%s",
                 err.message);
    return e;
}

const void *encoded_bytes(const struct encoded *e)
{
    return (const char *)e->block + e->offset;
}

thea_rc decode_alone(const void *bytes, size_t size, struct thea_err *err)
{
    struct codec_arena *arena = codec_arena_new();
    struct frame f;
    thea_rc rc = codec_decode_frame(&f, bytes, size, arena, err);
    codec_arena_free(arena);
    return rc;
}

void *exact_copy(const void *bytes, size_t size)
{
    void *block = NULL;
    if (posix_memalign(&block, 64, size > 0 ? size : 1) != 0) abort();
    if (size > 0) memcpy(block, bytes, size);
    return block;
}

void wire_fini(struct wire *w)
{
    free(w->bytes);
    *w = (struct wire){0};
}

static void put(struct wire *w, const void *bytes, size_t size)
{
    wire_fini(w);
    *w = (struct wire){exact_copy(bytes, size), size};
}

/* --- the writer --- */

enum { WRITER_BYTES = 1 << 18, FRAME_SLOTS = 15, TENSOR_SLOTS = 5, ATTRIBUTE_SLOTS = 3 };
struct writer {
    unsigned char bytes[WRITER_BYTES];
    size_t len;
};

static void align(struct writer *w, size_t to)
{
    w->len = (w->len + to - 1) / to * to;
}

static void raw(struct writer *w, const void *bytes, size_t n)
{
    assert(w->len + n <= sizeof w->bytes);
    if (n > 0) memcpy(w->bytes + w->len, bytes, n);
    w->len += n;
}

static void raw32(struct writer *w, uint32_t v)
{
    raw(w, &v, 4);
}

/* The offset field at `at` leads to here. */
static void point(struct writer *w, size_t at)
{
    uint32_t distance = (uint32_t)(w->len - at);
    memcpy(w->bytes + at, &distance, 4);
}

struct field {
    unsigned slot;
    size_t size;
    uint64_t value;
    size_t at;
}; /* at: where it was written */

/* A vtable and its table; at (0: the root) is the offset field that leads to it. */
static void table(struct writer *w, size_t at, struct field *fields, size_t n, unsigned slots)
{
    align(w, 8);
    size_t vtable = w->len;
    uint16_t vt[2 + FRAME_SLOTS] = {(uint16_t)(4 + 2 * slots), 0};
    raw(w, vt, 4 + 2 * (size_t)slots);
    align(w, 8);
    size_t start = w->len;
    if (at == 0)
        w->bytes[0] = (unsigned char)start;
    else
        point(w, at);
    raw32(w, (uint32_t)(start - vtable));
    for (size_t i = 0; i < n; i++) {
        align(w, fields[i].size > 8 ? 8 : fields[i].size);
        fields[i].at = w->len;
        vt[2 + fields[i].slot] = (uint16_t)(w->len - start);
        if (fields[i].size > 8)
            w->bytes[w->len] = 7, w->len += fields[i].size; /* a region of pool 7 */
        else
            raw(w, &fields[i].value, fields[i].size);
    }
    vt[1] = (uint16_t)(w->len - start);
    memcpy(w->bytes + vtable, vt, 4 + 2 * (size_t)slots);
}

static void string(struct writer *w, size_t at, const char *text, size_t n)
{
    align(w, 4);
    point(w, at);
    raw32(w, (uint32_t)n);
    raw(w, text, n);
    raw(w, "", 1);
}

/* A vector of n offsets; returns where the first is. */
static size_t vector(struct writer *w, size_t at, size_t n)
{
    align(w, 4);
    point(w, at);
    raw32(w, (uint32_t)n);
    size_t first = w->len;
    w->len += 4 * n;
    return first;
}

struct text {
    const char *bytes;
    size_t n;
};
struct spec {
    uint64_t version, kind;
    struct text port;
    size_t tensors, attributes; /* so many references to one tensor, one attribute */
    struct text name, key, value;
    bool no_name, no_bytes, region, no_key, no_value;
    uint64_t dtype, value_type;
    uint32_t rank;
    uint64_t shape[9];
    size_t size, misaligned;
};

static void tensor_into(struct writer *w, size_t at, const struct spec *s)
{
    struct field f[5] = {{1, 1, s->dtype, 0}, {2, 4, 0, 0}};
    size_t n = 2, name = 0, bytes = 0;
    if (!s->no_name) name = n, f[n++] = (struct field){0, 4, 0, 0};
    if (!s->no_bytes) bytes = n, f[n++] = (struct field){3, 4, 0, 0};
    if (s->region) f[n++] = (struct field){4, 32, 0, 0};
    table(w, at, f, n, TENSOR_SLOTS);
    if (!s->no_name) string(w, f[name].at, s->name.bytes, s->name.n);
    align(w, 8);
    w->len += 4; /* so that the elements behind the length are aligned */
    point(w, f[1].at);
    raw32(w, s->rank);
    raw(w, s->shape, 8 * (size_t)s->rank);
    if (s->no_bytes) return;
    align(w, 64);
    w->len += 60 + s->misaligned;
    point(w, f[bytes].at);
    raw32(w, (uint32_t)s->size);
    w->len += s->size;
}

static void attribute_into(struct writer *w, size_t at, const struct spec *s)
{
    struct field f[3] = {{1, 1, s->value_type, 0}};
    size_t n = 1, key = 0, value = 0;
    if (!s->no_key) key = n, f[n++] = (struct field){0, 4, 0, 0};
    if (!s->no_value) value = n, f[n++] = (struct field){2, 4, 0, 0};
    table(w, at, f, n, ATTRIBUTE_SLOTS);
    if (!s->no_key) string(w, f[key].at, s->key.bytes, s->key.n);
    if (s->no_value) return;
    struct field text = {0, 4, 0, 0};
    table(w, f[value].at, &text, 1, 1);
    string(w, text.at, s->value.bytes, s->value.n);
}

/* All references of a vector lead where the first does. */
static void share(struct writer *w, size_t first, size_t n)
{
    uint32_t distance;
    memcpy(&distance, w->bytes + first, 4);
    for (size_t i = 1; i < n; i++) {
        uint32_t d = distance - (uint32_t)(4 * i);
        memcpy(w->bytes + first + 4 * i, &d, 4);
    }
}

static void build(struct wire *out, const struct spec *s)
{
    struct writer *w = calloc(1, sizeof *w);
    if (w == NULL) abort();
    w->len = 8;
    memcpy(w->bytes + 4, "THF1", 4);
    struct field f[5] = {
        {0, 4, s->version, 0}, {1, 1, s->kind, 0}, {9, 4, 0, 0}, {10, 4, 0, 0}, {11, 4, 0, 0}};
    table(w, 0, f, 5, FRAME_SLOTS);
    string(w, f[2].at, s->port.bytes, s->port.n);
    size_t first = vector(w, f[3].at, s->tensors);
    tensor_into(w, first, s);
    share(w, first, s->tensors);
    first = vector(w, f[4].at, s->attributes);
    attribute_into(w, first, s);
    share(w, first, s->attributes);
    align(w, 8);
    put(out, w->bytes, w->len);
    free(w);
}

static struct spec good(void)
{
    return (struct spec){.version = 1,
                         .port = {"residual", 8},
                         .tensors = 1,
                         .attributes = 1,
                         .name = {"x", 1},
                         .key = {"k", 1},
                         .value = {"v", 1},
                         .value_type = 1,
                         .rank = 1,
                         .shape = {1},
                         .size = 4};
}

/* --- damages --- */

#define DAMAGE(name, ...)                                                                                    \
    void wire_##name(struct wire *w)                                                                         \
    {                                                                                                        \
        struct spec s = good();                                                                              \
        __VA_ARGS__;                                                                                         \
        build(w, &s);                                                                                        \
    }

static const char long_text[ATTR_TEXT_MAX + 2] = {'t', 't'};

DAMAGE(good, (void)s)
DAMAGE(no_name, s.no_name = true)
DAMAGE(no_key, s.no_key = true)
DAMAGE(version, s.version = 2)
DAMAGE(kind, s.kind = 200)
DAMAGE(empty_name, s.name = (struct text){"", 0})
DAMAGE(nul_name, s.name = (struct text){"a\0b", 3})
DAMAGE(dtype, s.dtype = 9)
DAMAGE(rank, s.rank = 9)
DAMAGE(few_bytes, s.rank = 2, s.shape[0] = 512, s.shape[1] = 128)
DAMAGE(many_bytes, s.size = 8)
DAMAGE(overflow, s.rank = 2, s.shape[0] = s.shape[1] = 1ull << 32)
DAMAGE(wraps, s.shape[0] = (1ull << 62) + 1)
DAMAGE(half_block, s.dtype = TENSOR_Q8_0, s.shape[0] = 16, s.size = 17)
DAMAGE(both, s.region = true)
DAMAGE(neither, s.no_bytes = true)
DAMAGE(region, s.region = s.no_bytes = true)
DAMAGE(unaligned, s.dtype = TENSOR_I64, s.size = 8, s.misaligned = 4)
DAMAGE(shared_bytes, s.tensors = 2, s.dtype = TENSOR_U8, s.shape[0] = s.size = 5000)
DAMAGE(many_tensors, s.tensors = 257)
DAMAGE(many_attributes, s.attributes = 65)
DAMAGE(empty_key, s.key = (struct text){"", 0})
DAMAGE(nul_key, s.key = (struct text){"a\0b", 3})
DAMAGE(no_value, s.no_value = true, s.value_type = 0)
DAMAGE(attribute_type, s.value_type = 9)
DAMAGE(nul_text, s.value = (struct text){"a\0b", 3})
DAMAGE(nul_port, s.port = (struct text){"a\0b", 3})
DAMAGE(long_text, s.value = (struct text){long_text, ATTR_TEXT_MAX + 1})

void wire_long_name(struct wire *w)
{
    char name[FRAME_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    struct spec s = good();
    s.name = (struct text){name, sizeof name};
    build(w, &s);
}

void wire_long_port(struct wire *w)
{
    char port[FRAME_PORT_MAX + 1];
    memset(port, 'p', sizeof port);
    struct spec s = good();
    s.port = (struct text){port, sizeof port};
    build(w, &s);
}

void wire_nothing(struct wire *w)
{
    put(w, "", 0);
}

void wire_eight_bytes(struct wire *w)
{
    put(w, "\0\0\0\0THF1", 8);
}

void wire_text(struct wire *w)
{
    put(w, "not a text of a frame", 21);
}

void wire_control_identifier(struct wire *w)
{
    wire_good(w);
    memcpy(w->bytes + 4, "\033[2J", 4);
}

void wire_root_beyond(struct wire *w)
{
    wire_good(w);
    w->bytes[2] = 1;
}

void wire_root_misaligned(struct wire *w)
{
    wire_good(w);
    w->bytes[0] += 2;
}

void wire_vtable_beyond(struct wire *w)
{
    wire_good(w);
    w->bytes[w->bytes[0] + 2] = 1; /* the root table's distance to its vtable */
}

/* Where a text lies in a message. */
static unsigned char *find(const struct wire *w, const char *text)
{
    return memmem(w->bytes, w->size, text, strlen(text));
}

void wire_string_open(struct wire *w)
{
    wire_good(w);
    find(w, "residual")[8] = 'X';
}

void wire_vector_long(struct wire *w)
{
    wire_good(w);
    find(w, "residual")[-3] = 200; /* the string's length */
}

void wire_link_message(struct wire *w)
{
    struct encoded e = {0};
    struct link_message m = {.kind = LINK_STOP, .version = 1};
    if (codec_encode_link(&m, encoded_alloc, &e, &e.offset, &e.size, NULL) != THEA_OK) abort();
    put(w, (char *)e.block + e.offset, e.size);
    encoded_fini(&e);
}

void wire_link_kind(struct wire *w)
{
    struct writer *b = calloc(1, sizeof *b);
    if (b == NULL) abort();
    b->len = 8;
    memcpy(b->bytes + 4, "THL1", 4);
    struct field kind = {0, 1, 99, 0};
    table(b, 0, &kind, 1, 1);
    align(b, 8);
    put(w, b->bytes, b->len);
    free(b);
}
