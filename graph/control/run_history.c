/* The course of a run: see run_history.h. */
#include "graph/control/run_history.h"

static int64_t sum(const struct json_node *list, const char *key)
{
    int64_t total = 0;
    for (size_t i = 0; i < json_count(list); i++) total += json_int_or(json_item(list, i), key, 0);
    return total;
}

void run_history_add(struct run_history *h, const struct json_node *status)
{
    h->samples[h->next] =
        (struct run_sample){.seconds = json_number_or(status, "up_s", 0),
                            .tokens = json_int_or(status, "tokens", 0),
                            .documents = json_int_or(status, "documents", 0),
                            .queue = sum(json_member(status, "links"), "queue"),
                            .rss_bytes = sum(json_member(status, "processes"), "rss_bytes") +
                                         json_int_or(status, "rss_bytes", 0)};
    h->next = (h->next + 1) % RUN_HISTORY_SAMPLES;
    if (h->count < RUN_HISTORY_SAMPLES) h->count++;
}

struct json_node *run_history_json(const struct run_history *h)
{
    struct json_node *out = json_new_list();
    size_t oldest = h->count < RUN_HISTORY_SAMPLES ? 0 : h->next;
    for (size_t i = 0; i < h->count; i++) {
        const struct run_sample *s = &h->samples[(oldest + i) % RUN_HISTORY_SAMPLES];
        struct json_node *one = json_new_list();
        json_append(one, json_new_number(s->seconds));
        json_append(one, json_new_int(s->tokens));
        json_append(one, json_new_int(s->documents));
        json_append(one, json_new_int(s->queue));
        json_append(one, json_new_int(s->rss_bytes));
        json_append(out, one);
    }
    return out;
}
