/* See serve_jobs.h. */
#include "bin/thea/support/serve_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct serve_job *free_slot(struct serve_jobs *jobs)
{
    for (size_t i = 0; jobs->open < jobs->count && i < jobs->count; i++)
        if (jobs->items[i].held == NULL) return &jobs->items[i];
    jobs->items = reallocarray(jobs->items, jobs->count + 1, sizeof *jobs->items);
    if (jobs->items == NULL) abort();
    return &jobs->items[jobs->count++];
}

struct serve_job *serve_jobs_add(struct serve_jobs *jobs, struct http_held *held,
                                 const struct serve_request *r, size_t bytes)
{
    struct serve_job *job = free_slot(jobs);
    *job = (struct serve_job){.held = held,
                              .serial = ++jobs->serials,
                              .count = r->count,
                              .left = r->count,
                              .tokens = r->tokens,
                              .bytes = bytes,
                              .base64 = r->base64,
                              .vectors = calloc(r->count, sizeof *job->vectors)};
    if (job->vectors == NULL) abort();
    jobs->open++;
    jobs->inputs += r->count;
    jobs->bytes += bytes;
    return job;
}

void serve_jobs_id(const struct serve_jobs *jobs, const struct serve_job *job, size_t index, char out[64])
{
    snprintf(out, 64, "%zu.%u.%zu", (size_t)(job - jobs->items), job->serial, index);
}

static bool take_number(const char **at, size_t *out)
{
    char *end;
    *out = strtoul(*at, &end, 10);
    bool some = end != *at;
    *at = end;
    return some;
}

struct serve_job *serve_jobs_find(struct serve_jobs *jobs, const char *id, size_t *index)
{
    size_t slot, serial;
    if (!take_number(&id, &slot) || *id++ != '.' || !take_number(&id, &serial) || *id++ != '.' ||
        !take_number(&id, index) || slot >= jobs->count)
        return NULL;
    struct serve_job *job = &jobs->items[slot];
    return job->held != NULL && job->serial == serial && *index < job->count ? job : NULL;
}

/* The text of a vector in the line; NULL if it has none. */
static char *take_vector(char *line)
{
    static const char key[] = "\"embedding\": [";
    char *at = strstr(line, key), *end = at != NULL ? strchr(at, ']') : NULL;
    if (end == NULL) return NULL;
    end[1] = '\0';
    return strdup(at + sizeof key - 2);
}

static void take_failure(struct serve_job *job, const char *line, size_t len)
{
    struct json_node *node = NULL;
    struct thea_err ignored;
    const char *why = "no vector came of it";
    if (json_parse(&node, line, len, "line", &ignored) == THEA_OK) why = json_text_or(node, "error", why);
    serve_error_set(&job->failed, 500, "input", "not_embedded", "an input could not be embedded: %s", why);
    json_free(node);
}

struct serve_job *serve_jobs_line(struct serve_jobs *jobs, char *line)
{
    static const char key[] = "{\"id\": \"";
    size_t index, len = strlen(line);
    if (strncmp(line, key, sizeof key - 1) != 0) return NULL;
    struct serve_job *job = serve_jobs_find(jobs, line + sizeof key - 1, &index);
    if (job == NULL || job->vectors[index] != NULL) return NULL;
    char *vector = take_vector(line);
    if (vector == NULL) {
        take_failure(job, line, len);
        vector = strdup("[]");
    }
    if (vector == NULL) abort();
    job->vectors[index] = vector;
    jobs->inputs--;
    return --job->left == 0 ? job : NULL;
}

void serve_jobs_remove(struct serve_jobs *jobs, struct serve_job *job)
{
    for (size_t i = 0; i < job->count; i++) free(job->vectors[i]);
    free(job->vectors);
    jobs->inputs -= job->left;
    jobs->bytes -= job->bytes;
    jobs->open--;
    *job = (struct serve_job){0};
}

void serve_jobs_fini(struct serve_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->items[i].held != NULL) serve_jobs_remove(jobs, &jobs->items[i]);
    free(jobs->items);
    *jobs = (struct serve_jobs){0};
}
