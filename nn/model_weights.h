/* A model's weights under the names that its family knows them by, and the rule for those that nobody uses.
 */
#ifndef NN_MODEL_WEIGHTS_H
#define NN_MODEL_WEIGHTS_H

#include "nn/families/family.h"

/* The weights of dir, prefixes stripped and buffers left out as the family says. Errors: as weights_open, and
 * THEA_EDATA. */
THEA_CHECK thea_rc model_weights_open(struct weights **out, const struct model_config *c, const char *dir,
                                      struct thea_err *err);
/* Of a family that is strict: collect in l the weights that neither this part (blocks first..last) has asked
 * for nor another part would, and that are no rest that the family names. */
void model_weights_check_rest(struct loader *l, const struct model_config *c, size_t first, size_t last);

#endif
