/* Tokenizers: tokenizer.json of the Hugging Face ecosystem to ids and back, exactly as the reference does.
 * Byte-level BPE with its pre-tokenizer regexes; SentencePiece-style BPE with byte fallback; added and
 * special tokens; WordPiece; normalizers, post-processors and decoders those need. A feature that is not
 * supported is refused by name when the file is opened, never at a text. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "graph/buf.h"
#include "text/added.h"
#include <stdbool.h>
#include <stdint.h>

struct tokenizer; /* immutable after open; use one per thread (it holds scratch) */

/* path: tokenizer.json, or a directory that has one, or else vocab.txt (and tokenizer_config.json). Errors:
 * THEA_ENOINPUT, THEA_EDATA ("tokenizer.json: pre_tokenizer 'Foo' is not supported; supported: …"). */
THEA_CHECK thea_rc tokenizer_open(struct tokenizer **out, const char *path, struct thea_err *err);
void tokenizer_close(struct tokenizer *t);
size_t tokenizer_vocab_size(const struct tokenizer *t); /* highest id + 1, added tokens included */
int32_t tokenizer_id(const struct tokenizer *t, const char *token); /* -1 if none */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* The token that its post-processor puts after a text, the last one if it puts several: [SEP] of a BERT; -1
 * if it puts none. */
int32_t tokenizer_closing(const struct tokenizer *t);

/* A BERT tokenizer that tells upper case from lower case. */
bool tokenizer_is_cased(const struct tokenizer *t);

struct token_list {
    int32_t *ids;
    int64_t *ends;
    size_t count, cap;
}; /* ends: byte offset in the text after each token; special tokens without text repeat the one before */
void token_list_fini(struct token_list *list);

/* Replaces *out. special: run the post-processor (adds BOS …); special tokens written in the text are found
 * either way. text must be valid UTF-8 (THEA_EDOC otherwise, with the byte offset); it may hold U+0000. */
THEA_CHECK thea_rc tokenizer_encode(struct tokenizer *t, const char *text, size_t len, bool special,
                                    struct token_list *out, struct thea_err *err);
/* The same in steps, so that tokens of a long text can leave while others are not made yet:
 *   struct token_walk w = {0};
 *   while ((rc = tokenizer_encode_next(t, text, len, special, &w, enough, &list, &err)) == THEA_AGAIN)
 * take(&list); Each appends `enough` tokens (> 0) and those made along with them, or all that are left, then
 * OK. Between steps the list may be emptied, and other texts encoded; the text stays as it is. */
struct token_walk {
    struct added_walk piece_; /* between added tokens */
    size_t at_;               /* in it */
    int64_t end_;             /* of the token before */
    bool begun_, in_piece_;
};
THEA_CHECK thea_rc tokenizer_encode_next(struct tokenizer *t, const char *text, size_t len, bool special,
                                         struct token_walk *w, size_t enough, struct token_list *out,
                                         struct thea_err *err);
/* Appends to out. Ids outside the vocabulary: THEA_EDOC. Undecodable bytes become U+FFFD as the reference
 * does. */
THEA_CHECK thea_rc tokenizer_decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                                    struct buf *out, struct thea_err *err);

/* Decoding as ids come: what can be said for sure is appended to out, whole characters only; the
 * concatenation of all calls equals tokenizer_decode of all ids. */
struct token_decoder;
THEA_CHECK thea_rc token_decoder_new(struct token_decoder **out, struct tokenizer *t, bool skip_special,
                                     struct thea_err *err);
void token_decoder_free(struct token_decoder *d);
THEA_CHECK thea_rc token_decoder_push(struct token_decoder *d, const int32_t *ids, size_t n, struct buf *out,
                                      struct thea_err *err);
THEA_CHECK thea_rc token_decoder_flush(struct token_decoder *d, struct buf *out, struct thea_err *err);

#endif
