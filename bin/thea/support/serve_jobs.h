/* Requests under way: each has its inputs in the pipeline under ids "SLOT.SERIAL.INDEX", by which results
 * find back. Nothing waits for a client: one that has gone away is noticed when its answer is ready. */
#ifndef BIN_THEA_SERVE_JOBS_H
#define BIN_THEA_SERVE_JOBS_H

#include "bin/thea/support/serve_request.h"

struct serve_job {
    struct http_held *held; /* NULL: free */
    unsigned serial;
    size_t count, left, tokens, bytes;
    bool base64;
    char **vectors;            /* "[…]"; NULL: has not come */
    struct serve_error failed; /* status 0: it has not */
};
struct serve_jobs {
    struct serve_job *items;
    size_t count, open; /* open: that wait */
    size_t inputs;      /* of them, not answered yet */
    size_t bytes;       /* of the bodies of those that wait */
    unsigned serials;
};

struct serve_job *serve_jobs_add(struct serve_jobs *jobs, struct http_held *held,
                                 const struct serve_request *r, size_t bytes);
void serve_jobs_id(const struct serve_jobs *jobs, const struct serve_job *job, size_t index, char out[64]);
/* The job whose input has this id; NULL: none (its request was given up). */
struct serve_job *serve_jobs_find(struct serve_jobs *jobs, const char *id, size_t *index);
/* A line of the pipeline's, {"id": …, "embedding": […]} or {"id": …, "error": …}: the job that it completes,
 * else NULL. The line may be changed. */
struct serve_job *serve_jobs_line(struct serve_jobs *jobs, char *line);
void serve_jobs_remove(struct serve_jobs *jobs, struct serve_job *job);
void serve_jobs_fini(struct serve_jobs *jobs);

#endif
