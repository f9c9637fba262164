/* What a supervisor and this process say to each other: docs/architecture.md, "Control". */
#include "graph/wire/stage_core.h"

thea_rc stage_control_open(struct stage *st, struct thea_err *err)
{
    if (st->command.control_fd < 0) return THEA_OK;
    return channel_adopt(&st->control, st->command.control_fd, err);
}

void stage_control_close(struct stage *st)
{
    channel_free(st->control);
    st->control = NULL;
}

const char *stage_run_dir(const struct stage *st)
{
    return st->command.run_dir;
}

void stage_commit(struct stage *st, uint64_t stream)
{
    if (st->control == NULL) return;
    struct json_node *m = json_new_map();
    json_put(m, "did", json_new_string("commit"));
    json_put(m, "stream", json_new_int((int64_t)stream));
    if (channel_send(st->control, m, NULL) != THEA_OK) thea_warning("the supervisor reads nothing");
}

bool stage_committed(const struct stage *st, uint64_t stream)
{
    (void)st, (void)stream;
    return false;
}

bool stage_comes_again(const struct stage_stream *s)
{
    (void)s;
    return false;
}

uint64_t stage_total(const struct stage *st, unsigned source)
{
    (void)st, (void)source;
    return UINT64_MAX;
}

bool stage_unfinished(const struct stage *st)
{
    (void)st;
    return false;
}
