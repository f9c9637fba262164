/* Reserved state memory: see kv.h. */
#include "nn/kv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, TILE = 16 };

thea_rc kv_reserve(void **out, size_t bytes, struct thea_err *err)
{
    *out = NULL;
    if (bytes == 0) return THEA_OK;
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return thea_fail(err, THEA_EOS,
                         "cannot reserve %zu bytes of address space for a document's state: %s", bytes,
                         strerror(errno));
    }
    madvise(memory, bytes,
            MADV_NOHUGEPAGE); /* a short document would fill a 2 MiB page for each head of each block */
    *out = memory;
    return THEA_OK;
}

void kv_release(void *memory, size_t bytes)
{
    if (memory != NULL) munmap(memory, bytes);
}

size_t kv_cache_bytes(size_t context, size_t kv_heads, size_t head_size)
{
    return 2 * kv_heads * attention_head_floats(context, head_size) * sizeof(float);
}

struct attention_cache kv_cache(void *memory, size_t context, size_t kv_heads, size_t head_size)
{
    size_t stride = attention_head_floats(context, head_size);
    float *k = memory;
    return (struct attention_cache){.k = k,
                                    .v = k + kv_heads * stride,
                                    .head_stride = stride,
                                    .kv_heads = kv_heads,
                                    .head_size = head_size};
}

size_t kv_touched_bytes(size_t positions, size_t kv_heads, size_t head_size)
{
    size_t rows = (positions + TILE - 1) / TILE * TILE, head = rows * head_size * sizeof(float);
    return 2 * kv_heads * ((head + PAGE - 1) / PAGE * PAGE);
}
