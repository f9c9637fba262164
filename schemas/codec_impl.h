// The inside of the codec, for schemas/codec_*.cc only, which alone face FlatBuffers:
//   - codec_decode.cc: what comes is verified, checked and borrowed
//   - codec_encode.cc: what goes is checked, bounded and written into its caller's memory
//   - codec_check.cc: what is checked of both, and how messages name things
#ifndef SCHEMAS_CODEC_IMPL_H
#define SCHEMAS_CODEC_IMPL_H

#include "schemas/codec.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" // a struct and a function of one name, as C likes it
#include "schemas/dtype.h"
#pragma GCC diagnostic pop

#include <cstddef>

namespace thea::codec {

// Text of a peer, fit for a message: short, and without control characters that a terminal would obey.
struct Quoted {
    char text[80];
    Quoted(const char *s, size_t n);
};

// "frame: tensor 2": the start of messages about one item.
struct Where {
    char text[128];
    Where(const char *what, size_t i);
    Where(const char *what, size_t i, const Quoted &name);
};

// dtype, shape and size of bytes against each other. Errors: THEA_EFRAME.
thea_rc check_shape(const Where &where, tensor_dtype dtype, uint32_t rank, const uint64_t *shape,
                    uint64_t has, thea_err *err);

} // namespace thea::codec

#endif
