/* One file of torch.save: a zip whose member ROOT/data.pkl says which tensors lie where in the members
 * ROOT/data/KEY, mapped read-only. Tensors may share storage. The state dict is the outermost dict, or lies
 * in it under a name that training code gives it (state_dict, state, model, module). */
#ifndef NN_WEIGHTS_TORCH_BIN_H
#define NN_WEIGHTS_TORCH_BIN_H

#include "nn/weights/weight_file.h"

#include <stdbool.h>

/* Errors: THEA_ENOINPUT (no such file), THEA_EPERM, THEA_EIO, THEA_EDATA (names file, and tensor, member or
 * byte; what was found and is accepted). */
THEA_CHECK thea_rc torch_bin_open(struct weight_file *out, const char *path, struct thea_err *err);
/* The same for bytes in memory that outlive it (close does not free them); `path` is how errors name them. */
THEA_CHECK thea_rc torch_bin_parse(struct weight_file *out, const void *bytes, size_t size, const char *path,
                                   struct thea_err *err);

/* Do all members of the open file have the sums that its directory gives? Reads the file. Errors: THEA_EDATA.
 */
THEA_CHECK thea_rc torch_bin_verify(const struct weight_file *b, const char *path, struct thea_err *err);

#endif
