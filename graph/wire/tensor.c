/* Tensors: see tensor.h. */
#include "graph/wire/tensor.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DESCRIBE_BYTES = 128, DTYPES_END = TENSOR_Q6_K + 1 };

thea_rc tensor_dtype_parse(tensor_dtype *out, const char *name, struct thea_err *err)
{
    char known[128] = "";
    size_t len = 0;
    for (int i = 0; i < DTYPES_END; i++) {
        const struct tensor_dtype_info *info = tensor_dtype_info((tensor_dtype)i);
        if (info == NULL) continue;
        if (strcmp(info->name, name) == 0) {
            *out = (tensor_dtype)i;
            return THEA_OK;
        }
        len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", info->name);
    }
    return thea_fail(err, THEA_EUSAGE, "unknown dtype '%s'; known are %s", name, known);
}

uint64_t tensor_elements(const struct tensor *t)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

/* Append to a text of DESCRIBE_BYTES that ends in "..." when it does not fit. */
THEA_PRINTF(3, 4) static void append(char *out, size_t *len, const char *fmt, ...)
{
    if (*len >= DESCRIBE_BYTES) return;
    va_list args;
    va_start(args, fmt);
    *len += (size_t)vsnprintf(out + *len, DESCRIBE_BYTES - *len, fmt, args);
    va_end(args);
    if (*len >= DESCRIBE_BYTES) memcpy(out + DESCRIBE_BYTES - 4, "...", 4);
}

const char *tensor_describe(char *out, const struct tensor *t)
{
    const struct tensor_dtype_info *info = tensor_dtype_info(t->dtype);
    size_t len = 0;
    if (info != NULL)
        append(out, &len, "%s [", info->name);
    else
        append(out, &len, "dtype %d [", (int)t->dtype);
    for (uint32_t i = 0; i < t->rank && i < TENSOR_RANK_MAX; i++)
        append(out, &len, "%s%llu", i > 0 ? ", " : "", (unsigned long long)t->shape[i]);
    append(out, &len, "]");
    return out;
}

static struct tensor tensor_make(const char *name, tensor_dtype dtype, const void *data)
{
    struct tensor t;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.dtype = dtype;
    t.data = data;
    return t;
}

struct tensor tensor_1d(const char *name, tensor_dtype dtype, const void *data, uint64_t n)
{
    struct tensor t = tensor_make(name, dtype, data);
    t.rank = 1;
    t.shape[0] = n;
    if (!tensor_size(&t.size_bytes, dtype, t.rank, t.shape))
        t.size_bytes = UINT64_MAX; /* refused when encoded */
    return t;
}

struct tensor tensor_2d(const char *name, tensor_dtype dtype, const void *data, uint64_t rows,
                        uint64_t columns)
{
    struct tensor t = tensor_make(name, dtype, data);
    t.rank = 2;
    t.shape[0] = rows;
    t.shape[1] = columns;
    if (!tensor_size(&t.size_bytes, dtype, t.rank, t.shape)) t.size_bytes = UINT64_MAX;
    return t;
}

/* One item of a pattern and where the next begins; false at the end. */
struct pattern_item {
    const char *text;
    size_t len;
};

static bool pattern_next(const char **at, struct pattern_item *item)
{
    while (isspace((unsigned char)**at)) ++*at;
    if (**at == '\0') return false;
    item->text = *at;
    *at += strcspn(*at, ",");
    item->len = (size_t)(*at - item->text);
    while (item->len > 0 && isspace((unsigned char)item->text[item->len - 1])) item->len--;
    if (**at == ',') ++*at;
    return true;
}

/* Does size fit item i? A number is fixed; a word takes the size it had the first time. */
static bool item_fits(const struct pattern_item *items, uint32_t i, const uint64_t *shape)
{
    if (isdigit((unsigned char)items[i].text[0])) {
        errno = 0;
        return strtoull(items[i].text, NULL, 10) == shape[i] && errno == 0;
    }
    for (uint32_t k = 0; k < i; k++)
        if (items[k].len == items[i].len && memcmp(items[k].text, items[i].text, items[i].len) == 0)
            return shape[k] == shape[i];
    return true;
}

static bool shape_fits(const struct tensor *t, const char *pattern)
{
    if (strcmp(pattern, "*") == 0) return true;
    struct pattern_item items[TENSOR_RANK_MAX];
    uint32_t rank = 0;
    struct pattern_item item;
    while (pattern_next(&pattern, &item)) {
        if (rank == TENSOR_RANK_MAX) return false;
        items[rank++] = item;
    }
    if (rank != t->rank) return false;
    for (uint32_t i = 0; i < rank; i++)
        if (!item_fits(items, i, t->shape)) return false;
    return true;
}

thea_rc tensor_match(const struct tensor *t, tensor_dtype dtype, const char *shape, struct thea_err *err)
{
    if (t->dtype == dtype && shape_fits(t, shape)) return THEA_OK;
    const struct tensor_dtype_info *info = tensor_dtype_info(dtype);
    char found[DESCRIBE_BYTES];
    return thea_fail(err, THEA_EFRAME, "tensor '%s': expected %s [%s], found %s", t->name,
                     info != NULL ? info->name : "?", shape, tensor_describe(found, t));
}
