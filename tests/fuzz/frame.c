/* libFuzzer target: any bytes as a frame. What passes is used as a stage would: all tensors read, copied,
 * matched. */
#include "graph/wire/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec_arena *arena;
    if (arena == NULL) arena = codec_arena_new();
    void *exact = NULL;
    if (posix_memalign(&exact, 64, size > 0 ? size : 1) != 0) abort();
    memcpy(exact, data, size);
    struct frame f;
    struct thea_err err = {0};
    thea_rc rc = codec_decode_frame(&f, exact, size, arena, &err);
    if (rc == THEA_OK) {
        struct frame *copy = frame_copy(&f);
        char text[128];
        for (size_t i = 0; i < copy->tensor_count; i++) {
            const struct tensor *t = &copy->tensors[i];
            if (memcmp(t->data, f.tensors[i].data, t->size_bytes) != 0) abort();
            if (strlen(tensor_describe(text, t)) >= sizeof text) abort();
            if (tensor_match(t, t->dtype, "*", NULL) != THEA_OK) abort();
        }
        free(copy);
    } else if (rc != THEA_EFRAME || err.message[0] == '\0') {
        abort();
    }
    free(exact);
    return 0;
}
