/* One file of weights: see weight_file.h. */
#include "nn/weights/weight_file.h"

#include "nn/weights/map.h"

#include <stdlib.h>

thea_rc weight_file_open(struct weight_file *out, const char *path, weight_file_parser parse,
                         struct thea_err *err)
{
    void *map;
    size_t size;
    *out = (struct weight_file){0};
    thea_rc rc = map_file(&map, &size, path, err);
    if (rc != THEA_OK) return rc;
    rc = parse(out, map != NULL ? map : "", size, path, err);
    if (rc != THEA_OK) {
        unmap_file(map, size);
        return rc;
    }
    out->map = map;
    out->map_bytes = size;
    return THEA_OK;
}

void weight_file_close(struct weight_file *f)
{
    for (size_t i = 0; i < f->count; i++) free((char *)f->tensors[i].name);
    free(f->tensors);
    unmap_file(f->map, f->map_bytes);
    *f = (struct weight_file){0};
}
