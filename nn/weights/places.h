/* The directories in which models are looked for by name, in order, and what lies there. */
#ifndef NN_WEIGHTS_PLACES_H
#define NN_WEIGHTS_PLACES_H

#include <stdbool.h>
#include <stddef.h>

enum { PLACES_MAX = 32 };

struct place {
    char *dir;
    bool hub; /* a Hugging Face cache: models--ORG--NAME/{refs/main,snapshots/HASH} */
};

struct places {
    struct place at[PLACES_MAX];
    size_t count;
};

void places_init(struct places *p); /* from the environment and the running program's place */
void places_fini(struct places *p);

/* The directory that `name` would have in a place, or NULL when it is not there; free it. *unfinished (may be
 * NULL): the hub has the model's folder but no whole snapshot. */
char *place_find(const struct place *p, const char *name, bool *unfinished);
/* Every model of a place: directories with a config.json, also one level down (ORG/NAME). */
void place_list(const struct place *p, void (*visit)(void *context, const char *name, const char *dir),
                void *context);

#endif
