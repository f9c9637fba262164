/* Large buffers straight from the system: zeroed, in huge pages where it has them. Rows that lie far apart,
 * one position each, otherwise cost a walk through page tables each. */
#ifndef NN_PAGES_H
#define NN_PAGES_H

#include <stddef.h>

/* Page-aligned; memory comes with the first touch. NULL without memory, or for 0 bytes. */
void *pages_new(size_t bytes);
void pages_free(void *pages, size_t bytes); /* NULL is fine */

#endif
