/* fuzz-torch_bin: any bytes as a file of torch.save, and as the pickle in one (which its sum would otherwise
 * keep from the fuzzer). Run: fuzz-torch_bin tests/fuzz/corpus/torch_bin. Whatever is accepted is read to its
 * last byte, through its strides too. */
#include "nn/weights/loader.h"
#include "nn/weights/pickle.h"
#include "nn/weights/torch_bin.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refused(const struct thea_err *err)
{
    if (thea_err_message(err)[0] == '\0') abort(); /* every refusal says why */
}

/* The first and the last elements, as a model would take them. */
static unsigned widen_ends(const struct weight *w)
{
    enum { SOME = 64 };
    uint64_t elements = 1;
    float values[SOME];
    for (uint32_t i = 0; i < w->rank; i++) elements *= w->shape[i];
    size_t n = elements < SOME ? elements : SOME;
    if (n == 0 || (w->dtype != TENSOR_F32 && w->dtype != TENSOR_F16 && w->dtype != TENSOR_BF16)) return 0;
    weight_widen(values, w, 0, n, kernels_select("plain"));
    weight_widen(values, w, elements - n, n, kernels_select("plain"));
    unsigned bits;
    memcpy(&bits, values, sizeof bits);
    return bits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct thea_err err = {0};
    struct weight_file bin;
    struct pickle pickle;
    unsigned sum = 0;
    if (torch_bin_parse(&bin, data, size, "input", &err) != THEA_OK) refused(&err);
    for (size_t i = 0; i < bin.count; i++) {
        const unsigned char *bytes = bin.tensors[i].data;
        sum += (unsigned)strlen(bin.tensors[i].name) + widen_ends(&bin.tensors[i]);
        for (uint64_t b = 0; b < bin.tensors[i].size_bytes; b++) sum += bytes[b];
    }
    weight_file_close(&bin);
    err = (struct thea_err){0};
    if (pickle_parse(&pickle, data, size, "input", &err) != THEA_OK)
        refused(&err);
    else
        sum += strlen(pickle_kind_name(pickle.root->kind)) + (pickle_member(pickle.root, "state") != NULL);
    pickle_close(&pickle);
    __asm__ volatile("" : : "r"(sum)); /* the reads must happen */
    return 0;
}
