/* fuzz-safetensors: any bytes as a safetensors file. Run: fuzz-safetensors tests/fuzz/corpus/safetensors.
 * Whatever is accepted is read to its last byte. */
#include "nn/weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weight_file st;
    struct thea_err err;
    unsigned sum = 0;
    if (safetensors_parse(&st, data, size, "input", &err) != THEA_OK) {
        if (thea_err_message(&err)[0] == '\0') abort(); /* every refusal says why */
        return 0;
    }
    for (size_t i = 0; i < st.count; i++) {
        const unsigned char *bytes = st.tensors[i].data;
        sum += (unsigned)strlen(st.tensors[i].name);
        for (uint64_t b = 0; b < st.tensors[i].size_bytes; b++) sum += bytes[b];
    }
    __asm__ volatile("" : : "r"(sum)); /* the reads must happen */
    weight_file_close(&st);
    return 0;
}
