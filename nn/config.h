/* config.json, read with checks: each value by name, type and range. The first thing that is wrong stays;
 * later reads do nothing. */
#ifndef NN_CONFIG_H
#define NN_CONFIG_H

#include "graph/json.h"

#include <stddef.h>

struct config {
    const struct json_node *map;
    const char *path; /* for messages */
    struct thea_err *err;
    thea_rc rc;
};

/* Record that `key` is wrong; the message goes on after "<path>: <key>: ". */
void config_fail(struct config *c, const char *key, const char *fmt, ...) THEA_PRINTF(3, 4);
/* A member, or NULL when it is absent or null. */
const struct json_node *config_get(const struct config *c, const char *key);

/* An integer of [min, max]; absent: `fallback`, and with CONFIG_REQUIRED an error. */
#define CONFIG_REQUIRED SIZE_MAX
size_t config_size(struct config *c, const char *key, size_t min, size_t max, size_t fallback);
/* A finite number above `above`. */
double config_number(struct config *c, const char *key, double above, double fallback);
bool config_bool(struct config *c, const char *key, bool fallback);
/* A token id: an integer, or the first of a list; -1 when absent. */
int config_token(struct config *c, const char *key, size_t vocab);

#endif
