/* What a pickle of tensors may name and call, all of it: see `functions`. Each is done here, in C; a name
 * that is not known is refused where it is read, before anything could call it. */
#include "nn/weights/pickle_machine.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct pickle_value *(*function)(struct pickle_machine *m, const struct pickle_value *args);

struct pickle_function {
    const char *module, *name;
    function call;
};

static const struct pickle_value *argument(const struct pickle_value *args, size_t i, pickle_kind kind)
{
    const struct pickle_value *v = i < args->items.count ? args->items.at[i] : NULL;
    return v != NULL && v->kind == kind ? v : NULL;
}

static struct pickle_value *make_dict(struct pickle_machine *m, const struct pickle_value *args)
{
    if (args->items.count == 0) return pickle_new(m, PICKLE_DICT);
    pickle_fail(m, "collections.OrderedDict is called with %zu arguments; accepted: none", args->items.count);
    return NULL;
}

static struct pickle_value *make_size(struct pickle_machine *m, const struct pickle_value *args)
{
    const struct pickle_value *sizes = argument(args, 0, PICKLE_TUPLE);
    if (sizes != NULL && args->items.count == 1) return args->items.at[0];
    pickle_fail(m, "torch.Size is called with something else than one tuple");
    return NULL;
}

static bool read_sizes(struct pickle_machine *m, uint64_t out[TENSOR_RANK_MAX],
                       const struct pickle_value *sizes, const char *what)
{
    for (size_t i = 0; i < sizes->items.count; i++) {
        const struct pickle_value *v = argument(sizes, i, PICKLE_INT);
        if (v == NULL || v->integer < 0) {
            pickle_fail(m, "a tensor's %s must be integers, 0 or more", what);
            return false;
        }
        out[i] = (uint64_t)v->integer;
    }
    return true;
}

/* (storage, offset, size, stride, …) */
static struct pickle_value *rebuild(struct pickle_machine *m, const struct pickle_value *args,
                                    const struct dtype *dtype)
{
    const struct pickle_value *storage = argument(args, 0, PICKLE_STORAGE),
                              *offset = argument(args, 1, PICKLE_INT);
    const struct pickle_value *shape = argument(args, 2, PICKLE_TUPLE),
                              *stride = argument(args, 3, PICKLE_TUPLE);
    if (storage == NULL || offset == NULL || shape == NULL || stride == NULL || offset->integer < 0) {
        pickle_fail(m, "a tensor is rebuilt from something else than (storage, offset, size, stride, …)");
        return NULL;
    }
    if (shape->items.count != stride->items.count || shape->items.count > TENSOR_RANK_MAX) {
        pickle_fail(m, "a tensor has %zu sizes and %zu strides; accepted: as many of each, %d at most",
                    shape->items.count, stride->items.count, TENSOR_RANK_MAX);
        return NULL;
    }
    struct pickle_value *v = pickle_new(m, PICKLE_TENSOR);
    struct pickle_tensor *t = v != NULL ? pickle_memory(m, sizeof *t) : NULL;
    if (t == NULL) return NULL;
    *t = (struct pickle_tensor){.storage = &storage->storage,
                                .dtype = dtype != NULL ? dtype : storage->storage.dtype,
                                .offset = (uint64_t)offset->integer,
                                .rank = (uint32_t)shape->items.count};
    v->tensor = t;
    return read_sizes(m, t->shape, shape, "sizes") && read_sizes(m, t->stride, stride, "strides") ? v : NULL;
}

static struct pickle_value *make_tensor(struct pickle_machine *m, const struct pickle_value *args)
{
    return rebuild(m, args, NULL);
}

/* (storage, offset, size, stride, requires_grad, hooks, dtype, …): of types that have no storage class. */
static struct pickle_value *make_typed_tensor(struct pickle_machine *m, const struct pickle_value *args)
{
    const struct pickle_value *dtype = argument(args, 6, PICKLE_DTYPE);
    if (dtype != NULL) return rebuild(m, args, dtype->dtype);
    pickle_fail(m, "torch._utils._rebuild_tensor_v3 is called without a dtype");
    return NULL;
}

/* (tensor, requires_grad, hooks) */
static struct pickle_value *make_parameter(struct pickle_machine *m, const struct pickle_value *args)
{
    if (argument(args, 0, PICKLE_TENSOR) != NULL) return args->items.at[0];
    pickle_fail(m, "torch._utils._rebuild_parameter is called without a tensor");
    return NULL;
}

static const struct pickle_function functions[] = {
    {"collections", "OrderedDict", make_dict},
    {"torch", "Size", make_size},
    {"torch._utils", "_rebuild_tensor", make_tensor},
    {"torch._utils", "_rebuild_tensor_v2", make_tensor},
    {"torch._utils", "_rebuild_tensor_v3", make_typed_tensor},
    {"torch._utils", "_rebuild_parameter", make_parameter},
};

static bool is(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* A name from the file, for a message: what is not plain ASCII becomes '?', what is long is cut. */
static const char *shown(char out[100], const char *text, size_t len)
{
    size_t n = len < 96 ? len : 96;
    for (size_t i = 0; i < n; i++) out[i] = (char)(isgraph((unsigned char)text[i]) ? text[i] : '?');
    memcpy(out + n, n < len ? "..." : "", n < len ? 4 : 1);
    return out;
}

static const struct dtype *find_dtype(const char *module, size_t module_len, const char *name,
                                      size_t name_len)
{
    char text[64];
    if (name_len >= sizeof text) return NULL;
    memcpy(text, name, name_len);
    text[name_len] = '\0';
    if (strlen(text) != name_len) return NULL;
    if (is(module, module_len, "torch.storage") && strcmp(text, "UntypedStorage") == 0)
        return dtype_named("U8");
    if (!is(module, module_len, "torch")) return NULL;
    const struct dtype *d = dtype_of_storage(text);
    return d != NULL ? d : dtype_of_torch(text);
}

void pickle_global(struct pickle_machine *m, const char *module, size_t module_len, const char *name,
                   size_t name_len)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!is(module, module_len, functions[i].module) || !is(name, name_len, functions[i].name)) continue;
        struct pickle_value *v = pickle_new(m, PICKLE_FUNCTION);
        if (v != NULL) v->function = &functions[i];
        pickle_push(m, v);
        return;
    }
    const struct dtype *dtype = find_dtype(module, module_len, name, name_len);
    if (dtype == NULL) {
        char a[100], b[100];
        pickle_fail(m,
                    "it asks for '%s.%s', which no tensor needs; nothing of it is run\n"
                    "  accepted  torch's storages, dtypes and rebuild functions, collections.OrderedDict",
                    shown(a, module, module_len), shown(b, name, name_len));
        return;
    }
    struct pickle_value *v = pickle_new(m, PICKLE_DTYPE);
    if (v != NULL) v->dtype = dtype;
    pickle_push(m, v);
}

void pickle_reduce(struct pickle_machine *m)
{
    struct pickle_value *args = pickle_pop(m), *callee = pickle_pop(m);
    if (args == NULL || callee == NULL) return;
    if (callee->kind != PICKLE_FUNCTION || args->kind != PICKLE_TUPLE) {
        pickle_fail(m, "it calls %s with %s; accepted: a function that rebuilds tensors, with a tuple",
                    pickle_kind_name(callee->kind), pickle_kind_name(args->kind));
        return;
    }
    pickle_push(m, callee->function->call(m, args));
}

void pickle_persistent(struct pickle_machine *m)
{
    struct pickle_value *id = pickle_pop(m);
    if (id == NULL) return;
    static const char accepted[] = "accepted: ('storage', class, key, location, elements)";
    if (id->kind != PICKLE_TUPLE || id->items.count != 5) {
        pickle_fail(m, "a persistent id is %s; %s",
                    id->kind == PICKLE_TUPLE ? "a tuple of another length" : pickle_kind_name(id->kind),
                    accepted);
        return;
    }
    const struct pickle_value *tag = id->items.at[0], *class = argument(id, 1, PICKLE_DTYPE);
    const struct pickle_value *key = argument(id, 2, PICKLE_TEXT), *elements = argument(id, 4, PICKLE_INT);
    if (!pickle_is_text(tag, "storage") || class == NULL || key == NULL || elements == NULL ||
        argument(id, 3, PICKLE_TEXT) == NULL || elements->integer < 0) {
        pickle_fail(m, "a persistent id names no storage; %s", accepted);
        return;
    }
    struct pickle_value *v = pickle_new(m, PICKLE_STORAGE);
    if (v == NULL) return;
    v->storage = (struct pickle_storage){key, class->dtype, (uint64_t)elements->integer};
    pickle_push(m, v);
}
