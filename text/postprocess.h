/* The "post_processor" of a tokenizer.json: the special tokens around a text. */
#ifndef TEXT_POSTPROCESS_H
#define TEXT_POSTPROCESS_H

#include "text/reader.h"
#include "text/vocab.h"

struct id_list {
    int32_t *at;
    size_t count;
};
struct template_ids {
    struct id_list before, after;
};

/* t zeroed before. Ids are checked against the vocabulary. */
THEA_CHECK thea_rc template_read(struct template_ids *t, const struct place *p, const struct vocab *v,
                                 struct thea_err *err);
void template_fini(struct template_ids *t);

#endif
