/* POST /v1/embeddings: what a body asks for, as OpenAI's interface has it, and the answers in its words. */
#ifndef BIN_THEA_SERVE_REQUEST_H
#define BIN_THEA_SERVE_REQUEST_H

#include "graph/http.h"
#include "graph/json.h"
#include "text/tokenizer.h"

enum { SERVE_INPUTS_MAX = 2048 };

/* What is served. */
struct serve_model {
    const char *name;           /* in answers */
    const char *const *aliases; /* other names that it is called by; NULL-terminated */
    struct tokenizer *tokenizer;
    bool special;      /* tokens around a text, as the pipeline's tokenize puts them */
    char *prompt;      /* in front of a text, as it does; "": none */
    bool takes_tokens; /* the pipeline has a way for token ids */
    bool truncates;    /* what is longer than `length` is cut; else it is refused */
    size_t length;     /* tokens */
    size_t dimensions; /* numbers of a vector */
};

/* Errors as clients read them. */
struct serve_error {
    int status;
    const char *type, *param, *code; /* static; NULL gives null */
    char message[512];
};
void serve_error_reply(const struct serve_error *e, struct http_reply *reply);
/* For http_options.refuse. */
void serve_refuse(void *context, int status, const char *text, struct http_reply *reply);
/* Fill and return false. */
bool serve_error_set(struct serve_error *e, int status, const char *param, const char *code, const char *fmt,
                     ...) THEA_PRINTF(5, 6);

struct serve_request {
    struct json_node *body;
    size_t count;  /* of inputs */
    size_t tokens; /* of all, as the model sees them */
    bool base64;
};
/* False: *e is filled. serve_request_fini also then. */
bool serve_request_parse(struct serve_request *r, const struct serve_model *m, const char *body, size_t len,
                         struct serve_error *e);
void serve_request_fini(struct serve_request *r);
/* Input i as a record with this id: {"id": …, "text": …} or {"id": …, "tokens": […]}, and a newline. */
void serve_request_line(const struct serve_request *r, size_t i, const char *id, struct buf *out);

/* vectors: count texts "[0.1, …]", as the pipeline printed them. */
void serve_answer(const struct serve_model *m, char *const *vectors, size_t count, bool base64, size_t tokens,
                  struct http_reply *reply);
void serve_models(const struct serve_model *m, struct http_reply *reply); /* GET /v1/models */
void serve_model_one(const struct serve_model *m, const char *name, struct http_reply *reply); /* …/NAME */

#endif
