/* select: the tables, and which of them this CPU can run. */
#include "kernels/add.h"
#include "kernels/attention.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/shortconv.h"
#include "kernels/softmax.h"
#include "kernels/swiglu.h"
#include "kernels/widen.h"
#include <stdlib.h>
#include <string.h>

static const struct kernels plain = {
    .name = "plain",
    .rmsnorm_forward = rmsnorm_forward,
    .rope_forward = rope_forward,
    .headnorm_forward = headnorm_forward,
    .attention_append = attention_append,
    .attention_forward = attention_forward,
    .attention_scratch = attention_scratch,
    .shortconv_forward = shortconv_forward,
    .swiglu_forward = swiglu_forward,
    .add = add_forward,
    .add_bias = add_bias_forward,
    .logsumexp_update = logsumexp_update,
    .softmax = softmax_forward,
    .from_bf16 = widen_bf16,
    .from_f16 = widen_f16,
    .matmul = matmul_forward_openblas,
};

static bool always(void) { return true; }

/* Best first. */
static const struct {
    const struct kernels *table;
    bool (*runs_here)(void);
} tables[] = {
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
