/* Kinds: what stage programs there are and what their tables say, known only through `thea-KIND --describe`.
 */
#ifndef GRAPH_CONTROL_KINDS_H
#define GRAPH_CONTROL_KINDS_H

#include "graph/json.h"

/* Absolute path of the program of a kind (free it): "./build/thea-mine" and other paths as they are (relative
 * to base_dir), else thea-KIND in THEA_STAGE_PATH, the folder of this executable, <prefix>/libexec/thea.
 * Errors: THEA_ENOINPUT with the nearest kind. */
THEA_CHECK thea_rc kind_find(char **program, const char *kind, const char *base_dir, struct thea_err *err);
/* Run `program --describe args…` (NULL-terminated args, may be NULL) and parse what it prints; the program's
 * own message on failure, with its status. Results are cached per argument vector for the process's life.
 * *out is borrowed from that cache. 30 s at most. */
THEA_CHECK thea_rc kind_describe(const struct json_node **out, const char *program, const char *const *args,
                                 struct thea_err *err);
/* Every kind that can be found, sorted, NULL-terminated; free with kind_list_free. */
char **kind_list(void);
void kind_list_free(char **list);
/* Directory of the running executable, and the prefix it is installed in (build/<preset> in a build tree).
 * Borrowed, absolute. */
const char *kind_bin_dir(void);
const char *kind_prefix(void);

#endif
