/* The unpickler's stack machine, for its own files: pickle.c (memory and stack), pickle_ops.c
 * (instructions) and pickle_calls.c (functions that are known). */
#ifndef NN_WEIGHTS_PICKLE_MACHINE_H
#define NN_WEIGHTS_PICKLE_MACHINE_H

#include "nn/weights/pickle.h"

struct pickle_machine {
    const unsigned char *start, *at, *end;
    const unsigned char *op; /* the instruction that runs */
    struct pickle_value **stack;
    size_t depth, stack_cap;
    size_t *marks; /* depths */
    size_t mark_count, marks_cap;
    struct pickle_value **memo;
    size_t memo_count, memo_cap;
    struct pickle *out;
    size_t values;
    const char *path;
    struct thea_err *err;
    thea_rc rc;
    bool done;
};

/* Record what is wrong with the instruction that runs. The first stays. */
void pickle_fail(struct pickle_machine *m, const char *fmt, ...) THEA_PRINTF(2, 3);
struct pickle_value *pickle_new(struct pickle_machine *m, pickle_kind kind); /* NULL after a failure */
void *pickle_memory(struct pickle_machine *m, size_t bytes);                 /* lives as long as the pickle */
void pickle_push(struct pickle_machine *m, struct pickle_value *v);          /* NULL is passed over */
struct pickle_value *pickle_pop(struct pickle_machine *m);                   /* NULL after a failure */
struct pickle_value *pickle_top(struct pickle_machine *m);                   /* the same, left there */
/* What lies under the last mark is out of reach until the mark is taken: the depth that cannot be gone below.
 */
size_t pickle_bottom(const struct pickle_machine *m);
/* Room for one more entry of `bytes` in an array (a pointer's address); false, recorded, without memory. */
bool pickle_grow(struct pickle_machine *m, void *array, size_t count, size_t *cap, size_t bytes);
void pickle_no_memory(struct pickle_machine *m);
void pickle_step(struct pickle_machine *m); /* run one instruction */

/* What GLOBAL and STACK_GLOBAL do: push what module.name is, if it is known. */
void pickle_global(struct pickle_machine *m, const char *module, size_t module_len, const char *name,
                   size_t name_len);
void pickle_reduce(struct pickle_machine *m);     /* function, arguments -> its result */
void pickle_persistent(struct pickle_machine *m); /* ('storage', class, key, location, elements) -> storage */

#endif
