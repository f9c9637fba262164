/* The life of a stage, from its table and command line to open and close: what stage_main and the tests'
 * harness share. */
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int count_ports(const struct stage_port *ports)
{
    int n = 0;
    while (ports != NULL && ports[n].name != NULL) n++;
    assert(n <= STAGE_PORTS_MAX);
    return n;
}

thea_rc stage_init(struct stage *st, const struct stage_ops *ops, int argc, char *const *argv,
                   struct thea_err *err)
{
    *st = (struct stage){.ops = ops, .name = ops->kind, .trace_fd = -1};
    st->described = stage_describe_new();
    stage_replay_init(st);
    st->in_count = count_ports(ops->inputs);
    st->out_count = count_ports(ops->outputs);
    for (int i = 0; i < st->in_count; i++) st->in[i].port = &ops->inputs[i];
    for (int i = 0; i < st->out_count; i++) {
        st->out[i].port = &ops->outputs[i];
        st->out[i].tensors = calloc(FRAME_TENSORS_MAX, sizeof *st->out[i].tensors);
        if (st->out[i].tensors == NULL) abort();
    }
    stage_options_init(st);
    stage_ports_resolve(st);
    thea_rc rc = stage_command_parse(st, argc, argv, err);
    if (rc == THEA_OK && st->command.name != NULL) st->name = st->command.name;
    if (rc != THEA_OK || st->command.help || st->command.version) return rc;
    return stage_options_fill(st, err);
}

static thea_rc fail_missing(const struct stage *st, const struct stage_option *o, struct thea_err *err)
{
    char *name = stage_dash_name(o->name);
    thea_rc rc = o->type == VALUE_MODEL
                     ? thea_fail(err, THEA_EUSAGE,
                                 "%s needs a model: -m DIR or NAME, or THEA_MODEL in the environment (thea "
                                 "models: what is here)",
                                 st->ops->kind)
                     : thea_fail(err, THEA_EUSAGE, "%s needs --%s: %s", st->ops->kind, name, o->meaning);
    free(name);
    return rc;
}

thea_rc stage_describe_call(struct stage *st, struct thea_err *err)
{
    const struct stage_option *missing = stage_option_missing(st);
    if (missing != NULL && !st->command.describe) return fail_missing(st, missing, err);
    if (missing != NULL || st->ops->describe == NULL) return THEA_OK;
    thea_rc rc = st->ops->describe(st, st->described, err);
    stage_ports_resolve(st);
    return rc;
}

thea_rc stage_open(struct stage *st, struct status_page *page, struct thea_err *err)
{
    st->page = page;
    st->opened = true;
    return st->ops->open != NULL ? st->ops->open(st, err) : THEA_OK;
}

void stage_fini(struct stage *st)
{
    stage_streams_drop(st);
    if (st->opened && st->ops->close != NULL) st->ops->close(st);
    for (int i = 0; i < st->in_count; i++) free(st->in[i].shape);
    for (int i = 0; i < st->out_count; i++) stage_out_fini(&st->out[i]);
    for (size_t i = 0; i < st->skip_count; i++) free(st->skips[i].reason);
    free(st->skips);
    stage_describe_free(st->described);
    stage_replay_fini(st);
    stage_gather_fini(st);
    stage_control_close(st);
    stage_options_fini(st);
    stage_command_fini(&st->command);
}

void *stage_state(struct stage *st)
{
    return st->state;
}

const char *stage_name(const struct stage *st)
{
    return st->name;
}

int stage_threads(const struct stage *st)
{
    return st->command.threads;
}

bool stage_on_terminal(const struct stage *st)
{
    return st->on_terminal;
}

const struct frame *stage_frame(const struct stage *st)
{
    return st->current.frame;
}

void stage_enough(struct stage *st)
{
    st->enough = true;
}
