/* Element types of model files: see dtype.h. */
#include "nn/weights/dtype.h"

#include <stdbool.h>
#include <string.h>

static const struct dtype dtypes[] = {
    {"F32", "float32", "FloatStorage", TENSOR_F32, 32},
    {"F16", "float16", "HalfStorage", TENSOR_F16, 16},
    {"BF16", "bfloat16", "BFloat16Storage", TENSOR_BF16, 16},
    {"I8", "int8", "CharStorage", TENSOR_I8, 8},
    {"U8", "uint8", "ByteStorage", TENSOR_U8, 8},
    {"I32", "int32", "IntStorage", TENSOR_I32, 32},
    {"I64", "int64", "LongStorage", TENSOR_I64, 64},
    {"F64", "float64", "DoubleStorage", DTYPE_OTHER, 64},
    {"BOOL", "bool", "BoolStorage", DTYPE_OTHER, 8},
    {"I16", "int16", "ShortStorage", DTYPE_OTHER, 16},
    {"U16", "uint16", NULL, DTYPE_OTHER, 16},
    {"U32", "uint32", NULL, DTYPE_OTHER, 32},
    {"U64", "uint64", NULL, DTYPE_OTHER, 64},
    {"C64", "complex64", "ComplexFloatStorage", DTYPE_OTHER, 64},
    {"C128", "complex128", "ComplexDoubleStorage", DTYPE_OTHER, 128},
    {"F8_E4M3", "float8_e4m3fn", NULL, DTYPE_OTHER, 8},
    {"F8_E5M2", "float8_e5m2", NULL, DTYPE_OTHER, 8},
    {"F8_E8M0", "float8_e8m0fnu", NULL, DTYPE_OTHER, 8},
    {"F6_E2M3", NULL, NULL, DTYPE_OTHER, 6},
    {"F6_E3M2", NULL, NULL, DTYPE_OTHER, 6},
    {"F4", NULL, NULL, DTYPE_OTHER, 4},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

const struct dtype *dtype_named(const char *name)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (same(name, dtypes[i].name)) return &dtypes[i];
    return NULL;
}

const struct dtype *dtype_of_torch(const char *torch)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (same(torch, dtypes[i].torch)) return &dtypes[i];
    return NULL;
}

const struct dtype *dtype_of_storage(const char *storage)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (same(storage, dtypes[i].storage)) return &dtypes[i];
    return NULL;
}

const struct dtype *dtype_of(tensor_dtype dtype)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype && dtype != DTYPE_OTHER) return &dtypes[i];
    return NULL;
}

const char *dtype_names(void)
{
    return "F32, F16, BF16, I8, U8, I32, I64, F64, BOOL, I16, U16, U32, U64, C64, F8_E4M3, F8_E5M2, F8_E8M0, "
           "F6_E2M3, F6_E3M2, F4";
}
