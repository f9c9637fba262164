/* fuzz-config: any text as a config.json. Run: fuzz-config tests/fuzz/corpus/config. What is accepted must
 * have sizes that fit each other. */
#include "nn/families/family.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_config *c;
    struct thea_err err;
    if (model_config_parse(&c, (const char *)data, size, "input", &err) != THEA_OK) return 0;
    const struct model_info *info = &c->info;
    if (info->heads % info->kv_heads != 0 || info->head_size == 0 || info->blocks > FAMILY_BLOCKS_MAX ||
        info->feed_forward == 0)
        abort();
    if (info->causal ? info->head_size % 2 != 0 : info->heads * info->head_size != info->hidden) abort();
    for (size_t i = 0; i < info->blocks; i++) {
        if (c->blocks[i].mixer == NULL || c->blocks[i].feed_forward == NULL) abort();
    }
    free(c);
    return 0;
}
