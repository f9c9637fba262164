/* libFuzzer target: any bytes as a frame, from a pipe and from a link whose sender has offered pool 7. What
 * passes is used as a stage would: all tensors read, copied, matched. */
#include "graph/wire/region_impl.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct frame *f)
{
    struct frame *copy = frame_copy(f);
    char text[128];
    for (size_t i = 0; i < copy->tensor_count; i++) {
        const struct tensor *t = &copy->tensors[i];
        if (t->in_region || memcmp(t->data, f->tensors[i].data, t->size_bytes) != 0) abort();
        if (strlen(tensor_describe(text, t)) >= sizeof text) abort();
        if (tensor_match(t, t->dtype, "*", NULL) != THEA_OK) abort();
    }
    free(copy);
}

static void check(thea_rc rc, const struct frame *f, const struct thea_err *err)
{
    if (rc == THEA_OK)
        use(f);
    else if (rc != THEA_EFRAME || err->message[0] == '\0')
        abort();
}

static struct region_maps *maps_new(void)
{
    struct region_maps *m = region_maps_new();
    struct region_pool *pool;
    struct thea_err err;
    if (region_pool_open(&pool, 4, 4096, &err) != THEA_OK) abort();
    pool->number = 7;
    struct region_offer o = region_pool_offer(pool);
    if (region_maps_add(m, &o, &err) != THEA_OK) abort();
    region_pool_close(pool); /* what is mapped stays */
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec_arena *arena;
    static struct region_maps *maps;
    if (arena == NULL) arena = codec_arena_new(), maps = maps_new();
    void *exact = NULL;
    if (posix_memalign(&exact, 64, size > 0 ? size : 1) != 0) abort();
    memcpy(exact, data, size);
    struct frame f;
    struct thea_err err = {0};
    thea_rc rc = codec_decode_frame(&f, exact, size, arena, &err);
    check(rc, &f, &err);
    err.message[0] = '\0';
    rc = codec_decode_frame_on_link(&f, exact, size, arena, &err);
    if (rc == THEA_OK) rc = region_maps_resolve(maps, &f, &err);
    check(rc, &f, &err);
    free(exact);
    return 0;
}
