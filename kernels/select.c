/* select: the tables, and which of them this CPU can run. */
#include "kernels/add.h"
#include "kernels/attention.h"
#include "kernels/attention_full.h"
#include "kernels/cpu.h"
#include "kernels/dot.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/implicit.h"
#include "kernels/kernels.h"
#include "kernels/layernorm.h"
#include "kernels/longconv.h"
#include "kernels/matmul.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/shortconv.h"
#include "kernels/shortgate.h"
#include "kernels/softmax.h"
#include "kernels/swiglu.h"
#include "kernels/tanh.h"
#include "kernels/widen.h"
#include <stdlib.h>
#include <string.h>

/* Every operation but those that have one version only. */
#define TABLE(table_name, version)                                                                           \
    {                                                                                                        \
        .name = table_name, .rmsnorm_forward = rmsnorm_forward##version,                                     \
        .rope_forward = rope_forward##version, .headnorm_forward = headnorm_forward##version,                \
        .attention_append = attention_append##version, .attention_forward = attention_forward##version,      \
        .attention_scratch = attention_scratch##version,                                                     \
        .attention_full_forward = attention_full_forward##version,                                           \
        .attention_full_backward = attention_full_backward, .shortconv_forward = shortconv_forward##version, \
        .shortgate_forward = shortgate_forward##version, .shortgate_backward = shortgate_backward,           \
        .swiglu_forward = swiglu_forward##version, .add = add_forward##version,                              \
        .add_bias = add_bias_forward##version, .logsumexp_update = logsumexp_update##version,                \
        .softmax = softmax_forward##version, .dot_rows = dot_rows##version,                                  \
        .from_bf16 = widen_bf16##version, .from_f16 = widen_f16##version, .longconv = &longconv##version,    \
        .implicit = &implicit##version, .matmul = matmul_forward_openblas,                                   \
        .matmul_backward_input = matmul_backward_input_openblas,                                             \
        .matmul_backward_weight = matmul_backward_weight_openblas, .gemm_width = GEMM_WIDTH##version,        \
        .gemm = gemm_forward##version, .gemm_geglu = gemm_geglu_forward##version,                            \
        .layernorm_forward = layernorm_forward##version, .layernorm_backward = layernorm_backward##version,  \
        .gelu_forward = gelu_forward##version, .gelu_backward = gelu_backward##version,                      \
        .gelu_tanh_forward = gelu_tanh_forward##version, .gelu_tanh_backward = gelu_tanh_backward##version,  \
        .geglu_forward = geglu_forward##version, .geglu_backward = geglu_backward##version,                  \
        .tanh_forward = tanh_forward, .tanh_backward = tanh_backward,                                        \
    }

static const struct kernels plain = TABLE("plain", );
#if defined(__x86_64__)
static const struct kernels avx2 = TABLE("avx2", _avx2);
static const struct kernels avx512 = TABLE("avx512", _avx512);
#endif

static bool always(void)
{
    return true;
}

/* Best first. */
static const struct {
    const struct kernels *table;
    bool (*runs_here)(void);
} tables[] = {
#if defined(__x86_64__)
    {&avx512, cpu_has_avx512},
    {&avx2, cpu_has_avx2},
#endif
    {&plain, always},
};

const struct kernels *kernels_select(const char *name)
{
    matmul_setup_openblas();
    if (!name) name = getenv("THEA_KERNELS");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        bool wanted = !name || !*name || strcmp(name, tables[i].table->name) == 0;
        if (wanted && tables[i].runs_here()) return tables[i].table;
    }
    return NULL;
}
