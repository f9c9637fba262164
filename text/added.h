/* Added tokens: found in the text before anything else looks at it. Leftmost, then longest; what lstrip and
 * rstrip swallow belongs to the token. */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct added_token {
    int32_t id;
    bool single_word, lstrip, rstrip;
};

/* A set of them, searched together: a trie over bytes. */
struct added_node {
    uint32_t child, sibling;
    int32_t token;
    unsigned char byte;
}; /* token: index, -1 */
struct added_set {
    struct added_token *tokens;
    size_t count, cap;
    struct added_node *nodes; /* [0] is the root */
    size_t node_count, node_cap;
    bool first[256]; /* bytes that some token begins with */
    int only_first;  /* that byte, if there is just one; else -1 */
};

/* Of two tokens with the same text the first stays. Empty texts are ignored. */
void added_set_add(struct added_set *set, const char *text, size_t len, struct added_token token);
void added_set_fini(struct added_set *set);

/* Walk a valid text: pieces of plain text (id -1) and tokens, in order; plain pieces are never empty.
 *   struct added_walk w = {0};
 *   while (added_next(set, text, len, &w)) use(w.start, w.end, w.id);
 * A token may begin before the end of one that swallowed spaces; then start < the end before. */
struct added_walk {
    size_t start, end;
    int32_t id;
    size_t from_, at_, token_start_, token_end_;
    int32_t pending_;
};
bool added_next(const struct added_set *set, const char *text, size_t len, struct added_walk *w);

#endif
