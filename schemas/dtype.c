/* Sizes of dtypes: see dtype.h. Block sizes are those of GGUF's types of the same names. */
#include "schemas/dtype.h"

static const struct tensor_dtype_info dtypes[] = {
    [TENSOR_F32] = {"f32", 1, 4},       [TENSOR_F16] = {"f16", 1, 2},
    [TENSOR_BF16] = {"bf16", 1, 2},     [TENSOR_I8] = {"i8", 1, 1},
    [TENSOR_U8] = {"u8", 1, 1},         [TENSOR_I32] = {"i32", 1, 4},
    [TENSOR_I64] = {"i64", 1, 8},       [TENSOR_Q8_0] = {"q8_0", 32, 34},
    [TENSOR_Q4_0] = {"q4_0", 32, 18},   [TENSOR_Q4_K] = {"q4_k", 256, 144},
    [TENSOR_Q5_K] = {"q5_k", 256, 176}, [TENSOR_Q6_K] = {"q6_k", 256, 210},
};

const struct tensor_dtype_info *tensor_dtype_info(tensor_dtype dtype)
{
    size_t i = (size_t)dtype;
    return i < sizeof dtypes / sizeof *dtypes && dtypes[i].name != NULL ? &dtypes[i] : NULL;
}

bool tensor_size(uint64_t *out, tensor_dtype dtype, uint32_t rank, const uint64_t *shape)
{
    const struct tensor_dtype_info *info = tensor_dtype_info(dtype);
    if (info == NULL || rank > TENSOR_RANK_MAX) return false;
    uint64_t innermost = rank > 0 ? shape[rank - 1] : 1;
    if (innermost % info->block_elements != 0) return false;
    uint64_t bytes = info->block_bytes;
    bool empty = innermost == 0;
    if (!empty && __builtin_mul_overflow(bytes, innermost / info->block_elements, &bytes)) return false;
    for (uint32_t i = 0; i + 1 < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(bytes, shape[i], &bytes))
            return false;
    }
    *out = empty ? 0 : bytes;
    return true;
}
