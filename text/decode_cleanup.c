/* See decode_cleanup.h. */
#include "text/decode_cleanup.h"

#include <string.h>

/* In this order: what one makes, the next ones see. */
static const struct {
    const char *find, *put;
} repairs[] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

static void replace(struct buf *text, const char *find, const char *put)
{
    size_t n = strlen(find), m = strlen(put), from = 0, to = 0; /* no replacement is longer */
    for (const char *hit; (hit = memmem(text->data + from, text->len - from, find, n)) != NULL;) {
        size_t keep = (size_t)(hit - text->data) - from;
        memmove(text->data + to, text->data + from, keep);
        memcpy(text->data + to + keep, put, m);
        to += keep + m;
        from += keep + n;
    }
    memmove(text->data + to, text->data + from, text->len - from);
    text->len = to + text->len - from;
    text->data[text->len] = '\0';
}

void decode_cleanup(struct buf *token)
{
    if (token->len == 0 || memchr(token->data, ' ', token->len) == NULL) return;
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++)
        replace(token, repairs[i].find, repairs[i].put);
}
