/* A restricted unpickler: the values that files of tensors are made of, and nothing else. A pickle is a
 * program for a small stack machine; this one has the instructions that build numbers, texts, tuples, lists
 * and dicts, knows by name the few functions that rebuild tensors, and refuses all others. It runs nothing,
 * imports nothing, and takes memory linear in the pickle's size. */
#ifndef NN_WEIGHTS_PICKLE_H
#define NN_WEIGHTS_PICKLE_H

#include "graph/err.h"
#include "nn/weights/dtype.h"

#include <stdbool.h>

enum { PICKLE_BYTES_MAX = 64 << 20, PICKLE_VALUES_MAX = 4 << 20 };

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_FUNCTION, /* one of those that are known */
    PICKLE_DTYPE,    /* torch.float32; torch.FloatStorage */
    PICKLE_STORAGE,
    PICKLE_TENSOR,
} pickle_kind;

struct pickle_function;

struct pickle_storage {
    const struct pickle_value *key; /* text: the member data/KEY holds it */
    const struct dtype *dtype;
    uint64_t elements;
};

struct pickle_tensor {
    const struct pickle_storage *storage;
    const struct dtype *dtype; /* the storage's, unless said otherwise */
    uint64_t offset;           /* in elements, like strides */
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX], stride[TENSOR_RANK_MAX];
};

struct pickle_value {
    pickle_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            const char *bytes; /* in the pickle: not ended by a zero byte */
            size_t len;
        } text;
        struct {
            struct pickle_value **at; /* of a dict: key, value, key, value, … */
            size_t count, cap;
        } items;
        const struct pickle_function *function;
        const struct dtype *dtype;
        struct pickle_storage storage;
        struct pickle_tensor *tensor;
    };
};

struct pickle {
    struct pickle_value *root;
    struct pickle_pages *pages; /* its values live there */
};

/* bytes outlive *out. `path` is how errors name the file. Values may hold each other in circles: do not walk
 * them without a bound. Errors: THEA_EDATA (the byte, what was found, what is accepted), THEA_EOS. */
THEA_CHECK thea_rc pickle_parse(struct pickle *out, const void *bytes, size_t size, const char *path,
                                struct thea_err *err);
void pickle_close(struct pickle *p);

const char *pickle_kind_name(pickle_kind kind); /* "a dict", …: for messages */
/* The value under a key of a dict, the last one; NULL if none, or `dict` is no dict. */
const struct pickle_value *pickle_member(const struct pickle_value *dict, const char *key);
bool pickle_is_text(const struct pickle_value *v, const char *text);

#endif
