/* Unicode normalization forms and lower case, keeping the way back to the document. Linear, whatever the
 * text. */
#ifndef TEXT_NF_H
#define TEXT_NF_H

#include "text/mapped.h"
#include <stdbool.h>

typedef enum { NF_C, NF_D, NF_KC, NF_KD } nf_form;

void nf_normalize(struct mapped *out, const struct mapped_view *in, nf_form form); /* replaces out */
void nf_lowercase(struct mapped *out, const struct mapped_view *in);
/* True if normalizing would certainly change nothing (a cheap look; false says nothing). */
bool nf_is_stable(const struct mapped_view *in, nf_form form);

#endif
