/* Can this pipeline be served, and what would be: its source, its sink, its tokenizer, its model. */
#ifndef BIN_THEA_SERVE_INSPECT_H
#define BIN_THEA_SERVE_INSPECT_H

#include "bin/thea/support/serve_request.h"
#include "graph/control/spec.h"

struct serve_found {
    const char *source, *sink; /* names of its `load` and its `write`; of the spec */
    char *name;                /* the model's, as clients call it */
    struct serve_model model;  /* tokenizer and limits; name and aliases are the caller's to set */
};

/* Errors: THEA_EUSAGE (it does not end in vectors, …), and those of opening the tokenizer and config.json. */
THEA_CHECK thea_rc serve_inspect(struct serve_found *out, const struct spec *spec, struct thea_err *err);
void serve_found_fini(struct serve_found *f);

#endif
