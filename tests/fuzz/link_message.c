/* libFuzzer target: any bytes as a link message; what passes has all its texts, and is the same after another
 * round. */
#include "schemas/codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *grow(void *context, size_t size)
{
    void **block = context;
    free(*block);
    *block = NULL;
    return posix_memalign(block, 64, size) == 0 ? *block : NULL;
}

static void round_trip(const struct link_message *m)
{
    void *block = NULL;
    size_t offset, size;
    struct link_message again;
    /* What shares its texts' bytes may be too large when they are written out. */
    if (codec_encode_link(m, grow, &block, &offset, &size, NULL) == THEA_OK) {
        if (codec_decode_link(&again, (char *)block + offset, size, NULL) != THEA_OK) abort();
        if (again.kind != m->kind || again.limit_seq != m->limit_seq || strcmp(again.reason, m->reason) != 0)
            abort();
    }
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *exact = NULL;
    if (posix_memalign(&exact, 64, size > 0 ? size : 1) != 0) abort();
    memcpy(exact, data, size);
    struct link_message m;
    struct thea_err err = {0};
    thea_rc rc = codec_decode_link(&m, exact, size, &err);
    if (rc == THEA_OK)
        round_trip(&m);
    else if (rc != THEA_EFRAME || err.message[0] == '\0')
        abort();
    free(exact);
    return 0;
}
