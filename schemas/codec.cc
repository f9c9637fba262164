// The one file that faces FlatBuffers: see codec.h. Invariant: no field of a message is read before the
// Verifier has passed all of it, and no decoded struct leaves here before what the Verifier cannot know is
// checked too.
#include "schemas/codec.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" // a struct and a function of one name, as C likes it
#include "schemas/dtype.h"
#pragma GCC diagnostic pop
#include "schemas/frame_generated.h"
#include "schemas/link_generated.h"

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace wire = thea::wire;
namespace fb = flatbuffers;

namespace {

const size_t ALIGNMENT = 64;
const fb::uoffset_t DEPTH_MAX = 8, TABLES_MAX = 4096; // a good frame needs 3 and 1 + 256 + 2 x 64

static_assert(static_cast<int>(wire::Kind::MAX) == FRAME_GRAD, "frame kinds");
static_assert(static_cast<int>(wire::DType::MAX) == TENSOR_Q6_K, "dtypes");
static_assert(static_cast<int>(wire::AttributeValue::Float) == ATTR_FLOAT, "attribute types");
static_assert(static_cast<int>(wire::LinkKind::MAX) == LINK_REFUSE, "link messages");
static_assert(static_cast<int>(wire::Role::MAX) == LINK_RECEIVER, "roles");

// Text of a peer, fit for a message: short, and without control characters that a terminal would obey.
struct Quoted {
    char text[80];
    Quoted(const char *s, size_t n)
    {
        size_t keep = n < 64 ? n : 64;
        for (size_t i = 0; i < keep; i++)
            text[i] = static_cast<unsigned char>(s[i]) < 32 || s[i] == 127 ? '?' : s[i];
        memcpy(text + keep, n > keep ? "..." : "", n > keep ? 4 : 1);
    }
    explicit Quoted(const fb::String *s) : Quoted(s->c_str(), s->size()) {}
};

bool has_nul(const fb::String *s)
{
    return memchr(s->c_str(), '\0', s->size()) != nullptr;
}

const char *text_or_empty(const fb::String *s)
{
    return s != nullptr ? s->c_str() : "";
}

// "frame: tensor 2": the start of messages about one item.
struct Where {
    char text[128];
    Where(const char *what, size_t i) { snprintf(text, sizeof text, "frame: %s %zu", what, i); }
    Where(const char *what, size_t i, const Quoted &name)
    {
        snprintf(text, sizeof text, "frame: %s %zu '%s'", what, i, name.text);
    }
};

thea_rc check_name(const Where &where, const char *what, const fb::String *s, thea_err *err)
{
    if (s->size() == 0) return thea_fail(err, THEA_EFRAME, "%s: %s is empty", where.text, what);
    if (s->size() > FRAME_NAME_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: %s has %u bytes, at most %d", where.text, what, s->size(),
                         FRAME_NAME_MAX);
    if (has_nul(s)) return thea_fail(err, THEA_EFRAME, "%s: %s has a NUL byte", where.text, what);
    return THEA_OK;
}

void print_shape(char *out, size_t size, uint32_t rank, const uint64_t *shape)
{
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < rank && len < size; i++)
        len += static_cast<size_t>(snprintf(out + len, size - len, "%s%llu", i > 0 ? ", " : "",
                                            static_cast<unsigned long long>(shape[i])));
}

// dtype, shape and size of bytes against each other; both for what comes and for what goes.
thea_rc check_shape(const char *where, tensor_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t has,
                    thea_err *err)
{
    const struct tensor_dtype_info *info = tensor_dtype_info(dtype);
    if (info == nullptr)
        return thea_fail(err, THEA_EFRAME, "%s: unknown dtype %d", where, static_cast<int>(dtype));
    if (rank > TENSOR_RANK_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: %u dimensions, at most %d", where, rank, TENSOR_RANK_MAX);
    char dims[TENSOR_RANK_MAX * 24];
    print_shape(dims, sizeof dims, rank, shape);
    uint64_t innermost = rank > 0 ? shape[rank - 1] : 1;
    if (innermost % info->block_elements != 0)
        return thea_fail(err, THEA_EFRAME,
                         "%s: shape [%s] of %s: the last dimension must be a multiple of %u", where, dims,
                         info->name, info->block_elements);
    uint64_t needs;
    if (!tensor_size(&needs, dtype, rank, shape))
        return thea_fail(err, THEA_EFRAME, "%s: shape [%s] of %s overflows 64 bits", where, dims, info->name);
    if (needs != has)
        return thea_fail(err, THEA_EFRAME, "%s: shape [%s] of %s needs %llu bytes, has %llu", where, dims,
                         info->name, static_cast<unsigned long long>(needs),
                         static_cast<unsigned long long>(has));
    return THEA_OK;
}

// Readers use tensors in place: their first byte must be aligned to the widest scalar of an element.
size_t element_alignment(tensor_dtype dtype)
{
    const struct tensor_dtype_info *info = tensor_dtype_info(dtype);
    return info->block_elements > 1 ? 2 : info->block_bytes;
}

thea_rc decode_shape(struct tensor *out, const Where &where, const wire::Tensor *t, uint64_t has,
                     thea_err *err)
{
    uint32_t rank = t->shape() != nullptr ? t->shape()->size() : 0;
    if (rank > TENSOR_RANK_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: %u dimensions, at most %d", where.text, rank,
                         TENSOR_RANK_MAX);
    if (t->dtype() > wire::DType::MAX)
        return thea_fail(err, THEA_EFRAME, "%s: unknown dtype %d", where.text, static_cast<int>(t->dtype()));
    out->dtype = static_cast<tensor_dtype>(t->dtype());
    out->rank = rank;
    memset(out->shape, 0, sizeof out->shape);
    // The Verifier does not look at the alignment of a vector's elements: copy bytes, do not load words.
    if (rank > 0) memcpy(out->shape, t->shape()->Data(), rank * sizeof *out->shape);
    for (uint32_t i = 0; i < rank; i++) out->shape[i] = fb::EndianScalar(out->shape[i]);
    return check_shape(where.text, out->dtype, rank, out->shape, has, err);
}

// Whether bytes or a region begin where an element may: `at` is an address, or an offset in 64-byte aligned
// memory.
thea_rc check_alignment(const struct tensor *t, const Where &where, uint64_t at, thea_err *err)
{
    size_t alignment = element_alignment(t->dtype);
    if (t->size_bytes == 0 || at % alignment == 0) return THEA_OK;
    return thea_fail(err, THEA_EFRAME, "%s: its bytes are not aligned to %zu", where.text, alignment);
}

void decode_region(struct tensor *out, const wire::Region *r)
{
    out->in_region = true;
    out->region = {r->pool(), r->slot(), r->generation(), r->offset()};
}

thea_rc decode_tensor(struct tensor *out, size_t i, const wire::Tensor *t, bool on_link, thea_err *err)
{
    thea_rc rc = check_name(Where("tensor", i), "name", t->name(), err);
    if (rc != THEA_OK) return rc;
    Where where("tensor", i, Quoted(t->name()));
    bool bytes = t->bytes() != nullptr, region = t->region() != nullptr;
    if (bytes && region)
        return thea_fail(err, THEA_EFRAME, "%s: has both bytes and a region, exactly one is expected",
                         where.text);
    if (!bytes && !region)
        return thea_fail(err, THEA_EFRAME, "%s: has neither bytes nor a region", where.text);
    if (region && !on_link)
        return thea_fail(err, THEA_EFRAME,
                         "%s: lies in its sender's shared memory (pool %u), which only links offer",
                         where.text, t->region()->pool());
    out->size_bytes = region ? t->region()->size() : t->bytes()->size();
    rc = decode_shape(out, where, t, out->size_bytes, err);
    if (rc != THEA_OK) return rc;
    out->name = t->name()->c_str();
    out->data = region ? nullptr : t->bytes()->data();
    out->in_region = false;
    out->region = {};
    if (region) decode_region(out, t->region());
    return check_alignment(out, where, region ? out->region.offset : reinterpret_cast<uintptr_t>(out->data),
                           err);
}

thea_rc decode_text(struct attr *out, const Where &where, const wire::Text *text, thea_err *err)
{
    if (text->value() != nullptr && text->value()->size() > ATTR_TEXT_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: its text has %u bytes, at most %d", where.text,
                         text->value()->size(), ATTR_TEXT_MAX);
    if (text->value() != nullptr && has_nul(text->value()))
        return thea_fail(err, THEA_EFRAME, "%s: its text has a NUL byte", where.text);
    out->text = text_or_empty(text->value());
    return THEA_OK;
}

thea_rc decode_attr(struct attr *out, size_t i, const wire::Attribute *a, thea_err *err)
{
    thea_rc rc = check_name(Where("attribute", i), "key", a->key(), err);
    if (rc != THEA_OK) return rc;
    Where where("attribute", i, Quoted(a->key()));
    if (a->value_type() > wire::AttributeValue::MAX)
        return thea_fail(err, THEA_EFRAME, "%s: unknown type %d", where.text,
                         static_cast<int>(a->value_type()));
    if (a->value_type() == wire::AttributeValue::NONE || a->value() == nullptr)
        return thea_fail(err, THEA_EFRAME, "%s: has no value", where.text);
    out->key = a->key()->c_str();
    out->type = static_cast<attr_type>(a->value_type());
    if (out->type == ATTR_TEXT) return decode_text(out, where, a->value_as_Text(), err);
    if (out->type == ATTR_INT)
        out->integer = a->value_as_Integer()->value();
    else
        out->number = a->value_as_Float()->value();
    return THEA_OK;
}

thea_rc check_port(const fb::String *port, thea_err *err)
{
    if (port == nullptr) return THEA_OK;
    if (port->size() > FRAME_PORT_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: port has %u bytes, at most %d", port->size(),
                         FRAME_PORT_MAX);
    if (has_nul(port)) return thea_fail(err, THEA_EFRAME, "frame: port has a NUL byte");
    return THEA_OK;
}

thea_rc check_header(const wire::Frame *f, thea_err *err)
{
    if (f->version() != WIRE_VERSION)
        return thea_fail(err, THEA_EFRAME, "frame: version %u, this build reads version %d", f->version(),
                         WIRE_VERSION);
    if (f->kind() > wire::Kind::MAX)
        return thea_fail(err, THEA_EFRAME, "frame: unknown kind %d", static_cast<int>(f->kind()));
    if (f->tensors() != nullptr && f->tensors()->size() > FRAME_TENSORS_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: %u tensors, at most %d", f->tensors()->size(),
                         FRAME_TENSORS_MAX);
    if (f->attributes() != nullptr && f->attributes()->size() > FRAME_ATTRS_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: %u attributes, at most %d", f->attributes()->size(),
                         FRAME_ATTRS_MAX);
    return check_port(f->port(), err);
}

} // namespace

struct codec_arena {
    struct tensor tensors[FRAME_TENSORS_MAX];
    struct attr attrs[FRAME_ATTRS_MAX];
};

namespace {

thea_rc decode_tensors(struct frame *out, const wire::Frame *f, size_t size, struct codec_arena *arena,
                       bool on_link, thea_err *err)
{
    out->tensors = arena->tensors;
    out->tensor_count = f->tensors() != nullptr ? f->tensors()->size() : 0;
    uint64_t in_message = 0, in_regions = 0;
    for (size_t i = 0; i < out->tensor_count; i++) {
        struct tensor *t = &arena->tensors[i];
        thea_rc rc = decode_tensor(t, i, f->tensors()->Get(static_cast<fb::uoffset_t>(i)), on_link, err);
        if (rc != THEA_OK) return rc;
        if (t->size_bytes > FRAME_MAX_BYTES) // or a sum could overflow
            return thea_fail(err, THEA_EFRAME, "frame: tensor %zu has %llu bytes, at most %d", i,
                             static_cast<unsigned long long>(t->size_bytes), FRAME_MAX_BYTES);
        (t->in_region ? in_regions : in_message) += t->size_bytes;
    }
    // Offsets may point at the same bytes twice, and regions may name the same: whoever copies tensors would
    // be made to copy 256 times what is there.
    if (in_message > size)
        return thea_fail(err, THEA_EFRAME,
                         "frame: its tensors claim %llu bytes of a message of %zu: they overlap",
                         static_cast<unsigned long long>(in_message), size);
    if (in_regions > FRAME_MAX_BYTES)
        return thea_fail(err, THEA_EFRAME, "frame: its tensors claim %llu bytes of shared memory, at most %d",
                         static_cast<unsigned long long>(in_regions), FRAME_MAX_BYTES);
    return THEA_OK;
}

thea_rc decode_attrs(struct frame *out, const wire::Frame *f, struct codec_arena *arena, thea_err *err)
{
    out->attrs = arena->attrs;
    out->attr_count = f->attributes() != nullptr ? f->attributes()->size() : 0;
    for (size_t i = 0; i < out->attr_count; i++) {
        thea_rc rc =
            decode_attr(&arena->attrs[i], i, f->attributes()->Get(static_cast<fb::uoffset_t>(i)), err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

// What both sorts of message need before the Verifier may run.
thea_rc check_envelope(const char *what, const void *bytes, size_t size, size_t max, const char *identifier,
                       thea_err *err)
{
    if (size < 12) return thea_fail(err, THEA_EFRAME, "%s: %zu bytes are too few", what, size);
    if (size > max) return thea_fail(err, THEA_EFRAME, "%s: %zu bytes, at most %zu", what, size, max);
    if (reinterpret_cast<uintptr_t>(bytes) % 8 != 0)
        return thea_fail(err, THEA_ESOFTWARE, "%s: its memory is not aligned to 8", what);
    if (!fb::BufferHasIdentifier(bytes, identifier))
        return thea_fail(err, THEA_EFRAME, "%s: identifier is '%s', expected '%s'", what,
                         Quoted(static_cast<const char *>(bytes) + 4, 4).text, identifier);
    return THEA_OK;
}

} // namespace

codec_kind codec_identify(const void *bytes, size_t size)
{
    if (size < 8) return CODEC_UNKNOWN;
    if (fb::BufferHasIdentifier(bytes, wire::FrameIdentifier())) return CODEC_FRAME;
    return fb::BufferHasIdentifier(bytes, wire::LinkMessageIdentifier()) ? CODEC_LINK : CODEC_UNKNOWN;
}

struct codec_arena *codec_arena_new(void)
{
    return static_cast<struct codec_arena *>(malloc(sizeof(struct codec_arena)));
}

void codec_arena_free(struct codec_arena *arena)
{
    free(arena);
}

namespace {

thea_rc decode_frame(struct frame *out, const void *bytes, size_t size, struct codec_arena *arena,
                     bool on_link, thea_err *err)
{
    thea_rc rc = check_envelope("frame", bytes, size, FRAME_MAX_BYTES, wire::FrameIdentifier(), err);
    if (rc != THEA_OK) return rc;
    fb::Verifier verifier(static_cast<const uint8_t *>(bytes), size, DEPTH_MAX, TABLES_MAX);
    if (!wire::VerifyFrameBuffer(verifier))
        return thea_fail(err, THEA_EFRAME,
                         "frame: damaged: an offset, a length or a required name of its %zu bytes is wrong",
                         size);
    const wire::Frame *f = wire::GetFrame(bytes);
    rc = check_header(f, err);
    if (rc != THEA_OK) return rc;
    memset(out, 0, sizeof *out);
    out->kind = static_cast<frame_kind>(f->kind());
    out->stream = f->stream();
    out->seq = f->seq();
    out->link_seq = f->link_seq();
    out->position = f->position();
    out->epoch = f->epoch();
    out->attempt = f->attempt();
    out->origin = f->origin();
    out->port = text_or_empty(f->port());
    out->trace_id = f->trace_id();
    out->created_ns = f->created_ns();
    out->sent_ns = f->sent_ns();
    rc = decode_tensors(out, f, size, arena, on_link, err);
    return rc != THEA_OK ? rc : decode_attrs(out, f, arena, err);
}

} // namespace

thea_rc codec_decode_frame(struct frame *out, const void *bytes, size_t size, struct codec_arena *arena,
                           thea_err *err)
{
    return decode_frame(out, bytes, size, arena, false, err);
}

thea_rc codec_decode_frame_on_link(struct frame *out, const void *bytes, size_t size,
                                   struct codec_arena *arena, thea_err *err)
{
    return decode_frame(out, bytes, size, arena, true, err);
}

namespace {

thea_rc check_link(const wire::LinkMessage *m, thea_err *err)
{
    if (m->kind() > wire::LinkKind::MAX)
        return thea_fail(err, THEA_EFRAME, "link message: unknown kind %d", static_cast<int>(m->kind()));
    if (m->role() > wire::Role::MAX)
        return thea_fail(err, THEA_EFRAME, "link message: unknown role %d", static_cast<int>(m->role()));
    const struct {
        const char *name;
        const fb::String *text;
    } texts[] = {{"port", m->port()},   {"pattern", m->pattern()}, {"host", m->host()},
                 {"token", m->token()}, {"reason", m->reason()},   {"expected", m->expected()},
                 {"found", m->found()}};
    for (const auto &t : texts)
        if (t.text != nullptr && has_nul(t.text))
            return thea_fail(err, THEA_EFRAME, "link message: its %s has a NUL byte", t.name);
    return THEA_OK;
}

} // namespace

thea_rc codec_decode_link(struct link_message *out, const void *bytes, size_t size, thea_err *err)
{
    thea_rc rc = check_envelope("link message", bytes, size, LINK_MESSAGE_MAX_BYTES,
                                wire::LinkMessageIdentifier(), err);
    if (rc != THEA_OK) return rc;
    fb::Verifier verifier(static_cast<const uint8_t *>(bytes), size, DEPTH_MAX, TABLES_MAX);
    if (!wire::VerifyLinkMessageBuffer(verifier))
        return thea_fail(err, THEA_EFRAME,
                         "link message: damaged: an offset or a length of its %zu bytes is wrong", size);
    const wire::LinkMessage *m = wire::GetLinkMessage(bytes);
    rc = check_link(m, err);
    if (rc != THEA_OK) return rc;
    memset(out, 0, sizeof *out);
    out->kind = static_cast<link_kind>(m->kind());
    out->version = m->version();
    out->run = m->run();
    out->link = m->link();
    out->port = text_or_empty(m->port());
    out->pattern = text_or_empty(m->pattern());
    out->host = text_or_empty(m->host());
    out->token = text_or_empty(m->token());
    out->role = static_cast<link_role>(m->role());
    out->epoch = m->epoch();
    out->incarnation = m->incarnation();
    out->peer_incarnation = m->peer_incarnation();
    out->next_seq = m->next_seq();
    out->pid = m->pid();
    out->peer_pid = m->peer_pid();
    out->attempt = m->attempt();
    out->clock_ns = m->clock_ns();
    out->ack_seq = m->ack_seq();
    out->limit_seq = m->limit_seq();
    out->limit_bytes = m->limit_bytes();
    out->stream = m->stream();
    out->time_ns = m->time_ns();
    out->echo_ns = m->echo_ns();
    out->pool = m->pool();
    out->oldest_pool = m->oldest_pool();
    out->large = m->large();
    out->slots = m->slots();
    out->slot_bytes = m->slot_bytes();
    out->fd = m->fd();
    out->inode = m->inode();
    out->reason = text_or_empty(m->reason());
    out->expected = text_or_empty(m->expected());
    out->found = text_or_empty(m->found());
    return THEA_OK;
}

// --- encoding

namespace {

struct Growing {}; // thrown when a bound was too small: our bug

// Hands the builder the caller's block. The bound is exact enough that the builder never asks for more.
class BlockAllocator : public fb::Allocator {
  public:
    BlockAllocator(uint8_t *block, size_t size) : block_(block), size_(size) {}
    uint8_t *allocate(size_t size) override
    {
        if (size > size_) throw Growing();
        return block_;
    }
    void deallocate(uint8_t *, size_t) override {}
    uint8_t *reallocate_downward(uint8_t *, size_t, size_t, size_t, size_t) override { throw Growing(); }

  private:
    uint8_t *block_;
    size_t size_;
};

size_t length_of(const char *text)
{
    return text != nullptr ? strlen(text) : 0;
}

// Run `fill(builder)` over memory of the caller: at most `bound` bytes.
template <typename Fill>
thea_rc encode_into(size_t bound, codec_alloc alloc, void *context, size_t *offset, size_t *size,
                    thea_err *err, Fill fill)
{
    bound = (bound + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    uint8_t *block = static_cast<uint8_t *>(alloc(context, bound));
    if (block == nullptr) return thea_fail(err, THEA_EOS, "out of memory for a message of %zu bytes", bound);
    try {
        BlockAllocator allocator(block, bound);
        fb::FlatBufferBuilder builder(bound, &allocator);
        builder.Align(
            ALIGNMENT); // nothing is written yet: this makes the whole message a multiple of 64 bytes
        fill(builder);
        *size = builder.GetSize();
        *offset = static_cast<size_t>(builder.GetBufferPointer() - block);
    } catch (const Growing &) {
        return thea_fail(err, THEA_ESOFTWARE, "a message outgrew its bound of %zu bytes", bound);
    }
    return THEA_OK;
}

thea_rc check_out_name(const char *what, size_t i, const char *name, thea_err *err)
{
    size_t n = length_of(name);
    if (n == 0) return thea_fail(err, THEA_EFRAME, "frame: %s %zu has no name", what, i);
    if (n > FRAME_NAME_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: the name of %s %zu has %zu bytes, at most %d", what, i, n,
                         FRAME_NAME_MAX);
    return THEA_OK;
}

// Largest sizes of one table, its vtable and paddings; strings and vectors are added to them.
const size_t FRAME_BOUND = 512, TENSOR_BOUND = 256, ATTR_BOUND = 128, LINK_BOUND = 512;

thea_rc bound_tensors(const struct frame *f, size_t *bound, thea_err *err)
{
    uint64_t in_regions = 0;
    for (size_t i = 0; i < f->tensor_count; i++) {
        const struct tensor *t = &f->tensors[i];
        thea_rc rc = check_out_name("tensor", i, t->name, err);
        if (rc != THEA_OK) return rc;
        Where where("tensor", i, Quoted(t->name, strlen(t->name)));
        rc = check_shape(where.text, t->dtype, t->rank, t->shape, t->size_bytes, err);
        if (rc != THEA_OK) return rc;
        if (t->size_bytes > FRAME_MAX_BYTES)
            return thea_fail(err, THEA_EFRAME, "%s: %llu bytes, a frame has at most %d", where.text,
                             static_cast<unsigned long long>(t->size_bytes), FRAME_MAX_BYTES);
        *bound += TENSOR_BOUND + strlen(t->name) + (t->in_region ? 0 : t->size_bytes);
        in_regions += t->in_region ? t->size_bytes : 0;
    }
    if (in_regions > FRAME_MAX_BYTES)
        return thea_fail(err, THEA_EFRAME, "frame: %llu bytes of tensors, at most %d",
                         static_cast<unsigned long long>(in_regions), FRAME_MAX_BYTES);
    return THEA_OK;
}

thea_rc bound_attrs(const struct frame *f, size_t *bound, thea_err *err)
{
    for (size_t i = 0; i < f->attr_count; i++) {
        const struct attr *a = &f->attrs[i];
        thea_rc rc = check_out_name("attribute", i, a->key, err);
        if (rc != THEA_OK) return rc;
        int type; // not loaded as an enum: a C caller may have put anything there
        memcpy(&type, &a->type, sizeof type);
        if (type < ATTR_TEXT || type > ATTR_FLOAT)
            return thea_fail(err, THEA_EFRAME, "frame: attribute %zu '%s': unknown type %d", i, a->key, type);
        size_t text = a->type == ATTR_TEXT ? length_of(a->text) : 0;
        if (text > ATTR_TEXT_MAX)
            return thea_fail(err, THEA_EFRAME,
                             "frame: attribute %zu '%s': its text has %zu bytes, at most %d", i, a->key, text,
                             ATTR_TEXT_MAX);
        *bound += ATTR_BOUND + strlen(a->key) + text;
    }
    return THEA_OK;
}

// All limits, and the size that the encoded frame cannot exceed.
thea_rc bound_frame(const struct frame *f, size_t *bound, thea_err *err)
{
    if (f->kind < FRAME_DATA || f->kind > FRAME_GRAD)
        return thea_fail(err, THEA_EFRAME, "frame: unknown kind %d", static_cast<int>(f->kind));
    if (f->tensor_count > FRAME_TENSORS_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: %zu tensors, at most %d", f->tensor_count,
                         FRAME_TENSORS_MAX);
    if (f->attr_count > FRAME_ATTRS_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: %zu attributes, at most %d", f->attr_count,
                         FRAME_ATTRS_MAX);
    size_t port = length_of(f->port);
    if (port > FRAME_PORT_MAX)
        return thea_fail(err, THEA_EFRAME, "frame: port has %zu bytes, at most %d", port, FRAME_PORT_MAX);
    *bound = FRAME_BOUND + port;
    thea_rc rc = bound_tensors(f, bound, err);
    if (rc == THEA_OK) rc = bound_attrs(f, bound, err);
    if (rc == THEA_OK && *bound > FRAME_MAX_BYTES)
        rc = thea_fail(err, THEA_EFRAME, "frame: %zu bytes, at most %d", *bound, FRAME_MAX_BYTES);
    return rc;
}

fb::Offset<wire::Tensor> put_tensor(fb::FlatBufferBuilder &b, const struct tensor *t)
{
    fb::Offset<fb::Vector<uint8_t>> bytes;
    const struct tensor_region &r = t->region;
    const wire::Region region(r.pool, r.slot, r.generation, r.offset, t->size_bytes);
    if (!t->in_region) {
        b.ForceVectorAlignment(t->size_bytes, 1, ALIGNMENT);
        bytes = b.CreateVector(static_cast<const uint8_t *>(t->data), t->size_bytes);
    }
    auto shape = b.CreateVector(t->shape, t->rank);
    auto name = b.CreateString(t->name);
    return wire::CreateTensor(b, name, static_cast<wire::DType>(t->dtype), shape, bytes,
                              t->in_region ? &region : nullptr);
}

fb::Offset<wire::Attribute> put_attr(fb::FlatBufferBuilder &b, const struct attr *a)
{
    fb::Offset<void> value;
    if (a->type == ATTR_TEXT)
        value = wire::CreateText(b, b.CreateString(a->text != nullptr ? a->text : "")).Union();
    else if (a->type == ATTR_INT)
        value = wire::CreateInteger(b, a->integer).Union();
    else
        value = wire::CreateFloat(b, a->number).Union();
    return wire::CreateAttribute(b, b.CreateString(a->key), static_cast<wire::AttributeValue>(a->type),
                                 value);
}

void put_frame(fb::FlatBufferBuilder &b, const struct frame *f)
{
    fb::Offset<wire::Tensor> tensors[FRAME_TENSORS_MAX];
    fb::Offset<wire::Attribute> attrs[FRAME_ATTRS_MAX];
    for (size_t i = 0; i < f->tensor_count; i++) tensors[i] = put_tensor(b, &f->tensors[i]);
    for (size_t i = 0; i < f->attr_count; i++) attrs[i] = put_attr(b, &f->attrs[i]);
    fb::Offset<fb::Vector<fb::Offset<wire::Tensor>>> tensor_list;
    fb::Offset<fb::Vector<fb::Offset<wire::Attribute>>> attr_list;
    fb::Offset<fb::String> port;
    if (f->tensor_count > 0) tensor_list = b.CreateVector(tensors, f->tensor_count);
    if (f->attr_count > 0) attr_list = b.CreateVector(attrs, f->attr_count);
    if (length_of(f->port) > 0) port = b.CreateString(f->port);
    b.Finish(wire::CreateFrame(b, WIRE_VERSION, static_cast<wire::Kind>(f->kind), f->stream, f->seq,
                               f->link_seq, f->position, f->epoch, f->attempt, f->origin, port, tensor_list,
                               attr_list, f->trace_id, f->created_ns, f->sent_ns),
             wire::FrameIdentifier());
}

fb::Offset<fb::String> put_text(fb::FlatBufferBuilder &b, const char *text)
{
    return length_of(text) > 0 ? b.CreateString(text) : fb::Offset<fb::String>();
}

void put_link(fb::FlatBufferBuilder &b, const struct link_message *m)
{
    auto port = put_text(b, m->port), pattern = put_text(b, m->pattern), host = put_text(b, m->host),
         token = put_text(b, m->token);
    auto reason = put_text(b, m->reason), expected = put_text(b, m->expected), found = put_text(b, m->found);
    b.Finish(wire::CreateLinkMessage(
                 b, static_cast<wire::LinkKind>(m->kind), m->version, m->run, m->link, port, pattern,
                 static_cast<wire::Role>(m->role), m->epoch, m->incarnation, m->peer_incarnation, m->next_seq,
                 host, m->pid, m->clock_ns, token, m->ack_seq, m->limit_seq, m->limit_bytes, m->stream,
                 m->time_ns, m->echo_ns, reason, expected, found, m->peer_pid, m->attempt, m->pool,
                 m->oldest_pool, m->slots, m->slot_bytes, m->fd, m->inode, m->large),
             wire::LinkMessageIdentifier());
}

} // namespace

thea_rc codec_encode_frame(const struct frame *frame, codec_alloc alloc, void *context, size_t *offset,
                           size_t *size, thea_err *err)
{
    size_t bound = 0;
    thea_rc rc = bound_frame(frame, &bound, err);
    if (rc != THEA_OK) return rc;
    return encode_into(bound, alloc, context, offset, size, err,
                       [frame](fb::FlatBufferBuilder &b) { put_frame(b, frame); });
}

void codec_renumber_frame(void *bytes, uint64_t link_seq)
{
    /* Absent is 0, and nothing is lower. */
    bool there =
        fb::GetMutableRoot<fb::Table>(bytes)->SetField<uint64_t>(wire::Frame::VT_LINK_SEQ, link_seq, 0);
    assert(there);
    (void)there;
}

thea_rc codec_encode_link(const struct link_message *message, codec_alloc alloc, void *context,
                          size_t *offset, size_t *size, thea_err *err)
{
    const struct link_message *m = message;
    size_t bound = LINK_BOUND;
    for (const char *text : {m->port, m->pattern, m->host, m->token, m->reason, m->expected, m->found})
        bound += length_of(text) + 16;
    if (bound > LINK_MESSAGE_MAX_BYTES)
        return thea_fail(err, THEA_EFRAME, "link message: %zu bytes, at most %d", bound,
                         LINK_MESSAGE_MAX_BYTES);
    return encode_into(bound, alloc, context, offset, size, err,
                       [m](fb::FlatBufferBuilder &b) { put_link(b, m); });
}
