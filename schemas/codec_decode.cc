// Decoding: see codec.h. Invariant: no field of a message is read before the Verifier has passed all of it,
// and no decoded struct leaves here before what the Verifier cannot know is checked too.
#include "schemas/codec_impl.h"

#include "schemas/frame_generated.h"
#include "schemas/link_generated.h"

#include <cstdlib>
#include <cstring>

namespace wire = thea::wire;
namespace fb = flatbuffers;
using thea::codec::check_shape;
using thea::codec::Quoted;
using thea::codec::Where;

struct codec_arena {
    struct tensor tensors[FRAME_TENSORS_MAX];
    struct attr attrs[FRAME_ATTRS_MAX];
};

struct codec_arena *codec_arena_new(void)
{
    return static_cast<struct codec_arena *>(malloc(sizeof(struct codec_arena)));
}

void codec_arena_free(struct codec_arena *arena)
{
    free(arena);
}

namespace {

const fb::uoffset_t DEPTH_MAX = 8, TABLES_MAX = 4096; // a good frame needs 3 and 1 + 256 + 2 x 64

static_assert(static_cast<int>(wire::Kind::MAX) == FRAME_GRAD, "frame kinds");
static_assert(static_cast<int>(wire::DType::MAX) == TENSOR_Q6_K, "dtypes");
static_assert(static_cast<int>(wire::AttributeValue::Float) == ATTR_FLOAT, "attribute types");
static_assert(static_cast<int>(wire::LinkKind::MAX) == LINK_REFUSE, "link messages");
static_assert(static_cast<int>(wire::Role::MAX) == LINK_RECEIVER, "roles");

// --- what frames and link messages share

Quoted quoted(const fb::String *s)
{
    return Quoted(s->c_str(), s->size());
}

bool has_nul(const fb::String *s)
{
    return memchr(s->c_str(), '\0', s->size()) != nullptr;
}

const char *text_or_empty(const fb::String *s)
{
    return s != nullptr ? s->c_str() : "";
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

// --- frames

thea_rc check_name(const Where &where, const char *what, const fb::String *s, thea_err *err)
{
    if (s->size() == 0) return thea_fail(err, THEA_EFRAME, "%s: %s is empty", where.text, what);
    if (s->size() > FRAME_NAME_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: %s has %u bytes, at most %d", where.text, what, s->size(),
                         FRAME_NAME_MAX);
    if (has_nul(s)) return thea_fail(err, THEA_EFRAME, "%s: %s has a NUL byte", where.text, what);
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
    return check_shape(where, out->dtype, rank, out->shape, has, err);
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
    Where where("tensor", i, quoted(t->name()));
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
    Where where("attribute", i, quoted(a->key()));
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

// --- link messages

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

// --- which of the two a message is

codec_kind codec_identify(const void *bytes, size_t size)
{
    if (size < 8) return CODEC_UNKNOWN;
    if (fb::BufferHasIdentifier(bytes, wire::FrameIdentifier())) return CODEC_FRAME;
    return fb::BufferHasIdentifier(bytes, wire::LinkMessageIdentifier()) ? CODEC_LINK : CODEC_UNKNOWN;
}
