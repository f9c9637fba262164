/* The loader: see loader.h. Its memory is one reservation, large enough for every tensor of the files as f32
 * and once more for packed copies of matrices, filled from the front. */
#include "nn/weights/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ALIGNMENT = 64,
    HUGE_PAGE = 2 << 20,
    PROBLEMS_SHOWN = 12,
    PANEL_MAX = 128 /* columns, of all pieces that one matrix is packed in */
};

static size_t elements(const struct weight *w)
{
    size_t n = 1;
    for (uint32_t i = 0; i < w->rank; i++) n *= w->shape[i];
    return n;
}

static size_t element_bytes(const struct weight *w)
{
    return w->dtype == TENSOR_F32 ? 4 : w->dtype == TENSOR_F16 || w->dtype == TENSOR_BF16 ? 2 : 0;
}

/* A view may have more elements than are stored (torch's expand): no weight is made so. */
static bool is_expanded(const struct weight *w)
{
    uint64_t bytes = element_bytes(w);
    for (uint32_t i = 0; i < w->rank; i++)
        if (__builtin_mul_overflow(bytes, w->shape[i], &bytes)) return true;
    return bytes > w->size_bytes;
}

/* Bytes of w as f32, and of a packed copy where it can be a matrix's: filled up to whole panels. */
static size_t bytes_to_reserve(const struct weight *w)
{
    size_t n = elements(w), packed = w->rank >= 2 && n > 0 ? n + n / w->shape[w->rank - 2] * PANEL_MAX : 0;
    return (n + packed) * sizeof(float) + 2 * ALIGNMENT;
}

thea_rc loader_init(struct loader *l, const struct weights *weights, const struct kernels *kernels,
                    struct thea_err *err)
{
    *l = (struct loader){.weights = weights, .kernels = kernels};
    size_t total = HUGE_PAGE, count = weights_count(weights);
    for (size_t i = 0; i < count; i++) {
        const struct weight *w = weights_at(weights, i);
        if (element_bytes(w) > 0 && !is_expanded(w)) total += bytes_to_reserve(w);
    }
    l->used_tensors = calloc(count + 1, sizeof *l->used_tensors);
    if (l->used_tensors == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    void *memory =
        mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return thea_fail(err, THEA_EOS, "cannot reserve %zu bytes for weights: %s", total, strerror(errno));
    madvise(memory, total, MADV_HUGEPAGE);
    l->memory = memory;
    l->reserved = total;
    return THEA_OK;
}

void loader_fini(struct loader *l)
{
    if (l->memory != NULL) munmap(l->memory, l->reserved);
    free(l->used_tensors);
    buf_fini(&l->problems);
    *l = (struct loader){0};
}

thea_rc loader_check(const struct loader *l, const char *what, struct thea_err *err)
{
    if (l->problem_count == 0) return THEA_OK;
    size_t hidden = l->problem_count > PROBLEMS_SHOWN ? l->problem_count - PROBLEMS_SHOWN : 0;
    char more[64] = "";
    if (hidden > 0) snprintf(more, sizeof more, "\n  and %zu more", hidden);
    return thea_fail(err, THEA_EDATA, "%s: the weights do not fit config.json%s%s", what,
                     buf_text(&l->problems), more);
}

void loader_problem(struct loader *l, const char *fmt, ...)
{
    if (l->problem_count++ >= PROBLEMS_SHOWN) return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(&l->problems, "\n  %s", text);
}

static void print_shape(char out[128], const uint64_t *shape, size_t rank)
{
    size_t at = (size_t)snprintf(out, 128, "[");
    for (size_t i = 0; i < rank && at < 120; i++) {
        at += (size_t)snprintf(out + at, 128 - at, "%s%llu", i > 0 ? ", " : "", (unsigned long long)shape[i]);
    }
    if (at < 127) snprintf(out + at, 128 - at, "]");
}

static const struct weight *find(struct loader *l, const char *name, const uint64_t *shape)
{
    size_t rank = 0;
    while (shape[rank] != 0) rank++;
    char want[128], have[128];
    print_shape(want, shape, rank);
    const struct weight *w = weights_find(l->weights, name);
    if (w == NULL) {
        loader_problem(l, "missing      %s %s", name, want);
        return NULL;
    }
    l->used_tensors[weights_index(l->weights, w)] = true;
    if (w->rank != rank || memcmp(w->shape, shape, rank * sizeof *shape) != 0) {
        print_shape(have, w->shape, w->rank);
        loader_problem(l, "wrong shape  %s: the file has %s, config.json asks for %s", name, have, want);
        return NULL;
    }
    if (element_bytes(w) == 0) {
        loader_problem(l, "wrong dtype  %s: the file has %s, accepted are F32, F16, BF16", name,
                       w->dtype_name);
        return NULL;
    }
    if (is_expanded(w)) {
        loader_problem(l, "expanded     %s: %s, of which %llu bytes are stored", name, want,
                       (unsigned long long)w->size_bytes);
        return NULL;
    }
    return w;
}

void loader_check_left_over(struct loader *l, bool (*elsewhere)(const void *context, const char *name),
                            const void *context)
{
    char have[128];
    for (size_t i = 0; i < weights_count(l->weights); i++) {
        const struct weight *w = weights_at(l->weights, i);
        if (l->used_tensors[i] || elsewhere(context, w->name)) continue;
        print_shape(have, w->shape, w->rank);
        loader_problem(l, "left over    %s %s: config.json asks for no such weight", w->name, have);
    }
}

static float *take(struct loader *l, size_t floats)
{
    size_t bytes = (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    float *out = (float *)(void *)(l->memory + l->used);
    l->used += bytes;
    return l->used <= l->reserved ? out : NULL; /* each tensor is taken once, so this holds */
}

static bool usable_in_place(const struct weight *w)
{
    return w->dtype == TENSOR_F32 && !w->strided && (uintptr_t)w->data % sizeof(float) == 0;
}

/* n elements that lie one after the other, from the one at `at` elements from data. */
static void widen_run(float *dst, const struct weight *w, uint64_t at, size_t n, const struct kernels *k)
{
    const unsigned char *src = w->data;
    if (w->dtype == TENSOR_F32) {
        memcpy(dst, src + at * 4, n * 4);
        return;
    }
    const unsigned char *half = src + at * 2;
    void (*widen)(float *, const uint16_t *, size_t) = w->dtype == TENSOR_BF16 ? k->from_bf16 : k->from_f16;
    if ((uintptr_t)half % 2 == 0) {
        widen(dst, (const uint16_t *)(const void *)half, n);
        return;
    }
    for (size_t i = 0; i < n;) { /* odd offset in the file: through an aligned copy */
        uint16_t piece[1024];
        size_t m = n - i < 1024 ? n - i : 1024;
        memcpy(piece, half + 2 * i, 2 * m);
        widen(dst + i, piece, m);
        i += m;
    }
}

/* Where element `i`, counted in C order, lies; *run: how many lie one after the other from there on. */
static uint64_t locate(const struct weight *w, uint64_t i, size_t *run)
{
    uint64_t at = 0;
    *run = 1;
    for (uint32_t d = w->rank; d-- > 0;) {
        uint64_t place = i % w->shape[d];
        if (d + 1 == w->rank && w->stride[d] == 1) *run = w->shape[d] - place;
        at += place * w->stride[d];
        i /= w->shape[d];
    }
    return at;
}

void weight_widen(float *dst, const struct weight *w, uint64_t at, size_t n, const struct kernels *k)
{
    if (!w->strided) {
        widen_run(dst, w, at, n, k);
        return;
    }
    for (size_t i = 0, run; i < n; i += run) {
        uint64_t place = locate(w, at + i, &run);
        run = run < n - i ? run : n - i;
        widen_run(dst + i, w, place, run, k);
    }
}

/* The mapped pages of a tensor that has been widened are not needed again: give them back. */
static void forget_pages(const struct weight *w)
{
    uintptr_t page = 4096, begin = ((uintptr_t)w->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)w->data + w->size_bytes) / page * page;
    if (end > begin)
        madvise((void *)begin, end - begin,
                MADV_DONTNEED); /* a clean file mapping: a later use reads it again */
}

static void widen_into(struct loader *l, float *dst, const struct weight *w)
{
    weight_widen(dst, w, 0, elements(w), l->kernels);
    forget_pages(w);
}

static const float *as_f32(struct loader *l, const struct weight *w)
{
    if (usable_in_place(w)) return w->data;
    float *dst = take(l, elements(w));
    if (dst == NULL) return NULL;
    widen_into(l, dst, w);
    return dst;
}

static void full_name(char out[256], const char *prefix, const char *name)
{
    snprintf(out, 256, "%s%s", prefix, name);
}

const float *loader_tensor(struct loader *l, const char *prefix, const char *name, const uint64_t *shape)
{
    char full[256];
    full_name(full, prefix, name);
    const struct weight *w = find(l, full, shape);
    return w != NULL ? as_f32(l, w) : NULL;
}

const struct weight *loader_raw(struct loader *l, const char *name, const uint64_t *shape)
{
    return find(l, name, shape);
}

static void load_bias(struct loader *l, struct linear *out, const char *prefix, const char *const *biases,
                      const size_t *rows, size_t parts)
{
    float *bias = take(l, out->out);
    out->bias = bias;
    for (size_t i = 0, at = 0; i < parts; at += rows[i], i++) {
        char full[256];
        full_name(full, prefix, biases[i]);
        const struct weight *w = find(l, full, (const uint64_t[]){rows[i], 0});
        if (w != NULL && bias != NULL) weight_widen(bias + at, w, 0, rows[i], l->kernels);
    }
}

void loader_linear(struct loader *l, struct linear *out, const char *prefix, const char *const *names,
                   const char *const *biases, const size_t *rows, size_t parts, size_t in)
{
    const struct weight *w[LINEAR_PARTS];
    bool all = true, in_place = true;
    *out = (struct linear){.in = in};
    for (size_t i = 0; i < parts; i++) {
        char full[256];
        full_name(full, prefix, names[i]);
        w[i] = find(l, full, (const uint64_t[]){rows[i], in, 0});
        all = all && w[i] != NULL;
        in_place = in_place && w[i] != NULL && usable_in_place(w[i]);
        out->out += rows[i];
    }
    if (biases != NULL) load_bias(l, out, prefix, biases, rows, parts);
    if (!all) return;
    if (in_place) {
        for (size_t i = 0; i < parts; i++) {
            out->part[i].w = w[i]->data;
            out->part[i].rows = rows[i];
        }
        out->parts = parts;
        return;
    }
    float *merged = take(l, out->out * in);
    for (size_t i = 0, at = 0; merged != NULL && i < parts; at += rows[i] * in, i++)
        widen_into(l, merged + at, w[i]);
    out->part[0].w = merged;
    out->part[0].rows = out->out;
    out->parts = 1;
}

void loader_pack(struct loader *l, struct linear *x)
{
    size_t floats = linear_packed_floats(x, l->kernels);
    float *memory = floats > 0 ? take(l, floats) : NULL;
    if (memory != NULL) linear_pack(x, l->kernels, memory);
}
