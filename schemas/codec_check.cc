// What is checked of messages that come and of those that go: see codec_impl.h.
#include "schemas/codec_impl.h"

#include <cstdio>
#include <cstring>

namespace {

void print_shape(char *out, size_t size, uint32_t rank, const uint64_t *shape)
{
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < rank && len < size; i++)
        len += static_cast<size_t>(snprintf(out + len, size - len, "%s%llu", i > 0 ? ", " : "",
                                            static_cast<unsigned long long>(shape[i])));
}

} // namespace

namespace thea::codec {

Quoted::Quoted(const char *s, size_t n)
{
    size_t keep = n < 64 ? n : 64;
    for (size_t i = 0; i < keep; i++)
        text[i] = static_cast<unsigned char>(s[i]) < 32 || s[i] == 127 ? '?' : s[i];
    memcpy(text + keep, n > keep ? "..." : "", n > keep ? 4 : 1);
}

Where::Where(const char *what, size_t i)
{
    snprintf(text, sizeof text, "frame: %s %zu", what, i);
}

Where::Where(const char *what, size_t i, const Quoted &name)
{
    snprintf(text, sizeof text, "frame: %s %zu '%s'", what, i, name.text);
}

thea_rc check_shape(const Where &where, tensor_dtype dtype, uint32_t rank, const uint64_t *shape,
                    uint64_t has, thea_err *err)
{
    const struct tensor_dtype_info *info = tensor_dtype_info(dtype);
    if (info == nullptr)
        return thea_fail(err, THEA_EFRAME, "%s: unknown dtype %d", where.text, static_cast<int>(dtype));
    if (rank > TENSOR_RANK_MAX)
        return thea_fail(err, THEA_EFRAME, "%s: %u dimensions, at most %d", where.text, rank,
                         TENSOR_RANK_MAX);
    char dims[TENSOR_RANK_MAX * 24];
    print_shape(dims, sizeof dims, rank, shape);
    uint64_t innermost = rank > 0 ? shape[rank - 1] : 1;
    if (innermost % info->block_elements != 0)
        return thea_fail(err, THEA_EFRAME,
                         "%s: shape [%s] of %s: the last dimension must be a multiple of %u", where.text,
                         dims, info->name, info->block_elements);
    uint64_t needs;
    if (!tensor_size(&needs, dtype, rank, shape))
        return thea_fail(err, THEA_EFRAME, "%s: shape [%s] of %s overflows 64 bits", where.text, dims,
                         info->name);
    if (needs != has)
        return thea_fail(err, THEA_EFRAME, "%s: shape [%s] of %s needs %llu bytes, has %llu", where.text,
                         dims, info->name, static_cast<unsigned long long>(needs),
                         static_cast<unsigned long long>(has));
    return THEA_OK;
}

} // namespace thea::codec
