// Encoding: see codec.h. Invariant: nothing is allocated for a message that no reader would take, and what is
// allocated is never too small: a bound of the encoded size is known before the first byte is written.
#include "schemas/codec_impl.h"

#include "schemas/frame_generated.h"
#include "schemas/link_generated.h"

#include <cassert>
#include <cstring>

namespace wire = thea::wire;
namespace fb = flatbuffers;
using thea::codec::check_shape;
using thea::codec::Quoted;
using thea::codec::Where;

namespace {

const size_t ALIGNMENT = 64;

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
        rc = check_shape(where, t->dtype, t->rank, t->shape, t->size_bytes, err);
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
