/* Frames as JSON: see frame_json.h. Invariant: only bytes that tensor_size says are there are read. */
#include "graph/wire/frame_json.h"

#include <math.h>
#include <string.h>

static double element(const struct tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case TENSOR_F32: {
        float v;
        memcpy(&v, (const char *)t->data + i * 4, 4);
        return (double)v;
    }
    case TENSOR_I32: {
        int32_t v;
        memcpy(&v, (const char *)t->data + i * 4, 4);
        return v;
    }
    case TENSOR_I64: {
        int64_t v;
        memcpy(&v, (const char *)t->data + i * 8, 8);
        return (double)v;
    }
    case TENSOR_I8: return ((const int8_t *)t->data)[i];
    case TENSOR_U8: return ((const uint8_t *)t->data)[i];
    default: return (double)NAN; /* other types are shown by shape alone */
    }
}

static bool has_elements(const struct tensor *t)
{
    return t->data != NULL && t->dtype != TENSOR_F16 && t->dtype != TENSOR_BF16 && t->dtype < TENSOR_Q8_0;
}

/* Not cut inside a character. */
static struct json_node *text_of(const struct tensor *t, size_t bytes)
{
    const unsigned char *s = t->data;
    size_t n = t->size_bytes < bytes ? (size_t)t->size_bytes : bytes;
    while (n > 0 && n < t->size_bytes && (s[n] & 0xC0) == 0x80) n--;
    return json_new_text(t->data, n);
}

static struct json_node *tensor_json(const struct tensor *t, size_t values)
{
    struct json_node *map = json_new_map(), *shape = json_new_list();
    for (uint32_t i = 0; i < t->rank; i++) json_append(shape, json_new_int((int64_t)t->shape[i]));
    const struct tensor_dtype_info *dtype = tensor_dtype_info(t->dtype);
    json_put(map, "name", json_new_string(t->name));
    json_put(map, "dtype", json_new_string(dtype != NULL ? dtype->name : "?"));
    json_put(map, "shape", shape);
    if (values == 0 || !has_elements(t)) return map;
    if (t->dtype == TENSOR_U8) {
        json_put(map, "text", text_of(t, values));
        return map;
    }
    struct json_node *list = json_new_list();
    for (uint64_t i = 0; i < tensor_elements(t) && i < values; i++)
        json_append(list, json_new_number(element(t, i)));
    json_put(map, "values", list);
    return map;
}

static struct json_node *attr_json(const struct attr *a)
{
    if (a->type == ATTR_TEXT) return json_new_string(a->text);
    return a->type == ATTR_INT ? json_new_int(a->integer) : json_new_number(a->number);
}

struct json_node *frame_json(const struct frame *f, size_t values)
{
    struct json_node *map = json_new_map(), *attrs = json_new_map(), *list = json_new_list();
    json_put(map, "kind", json_new_string(frame_kind_name(f->kind)));
    json_put(map, "stream", json_new_int((int64_t)f->stream));
    json_put(map, "seq", json_new_int((int64_t)f->seq));
    json_put(map, "position", json_new_int((int64_t)f->position));
    json_put(map, "port", json_new_string(f->port));
    for (size_t i = 0; i < f->attr_count; i++) json_put(attrs, f->attrs[i].key, attr_json(&f->attrs[i]));
    for (size_t i = 0; i < f->tensor_count; i++) json_append(list, tensor_json(&f->tensors[i], values));
    json_put(map, "attributes", attrs);
    json_put(map, "tensors", list);
    return map;
}
