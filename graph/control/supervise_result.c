/* What a run came to: its processes, its status, its end. */
#include "graph/control/supervisor.h"

#include <stdlib.h>
#include <string.h>

static void copy_processes(struct supervise_result *out, const struct supervisor *s)
{
    out->processes = calloc(s->count + 1, sizeof *out->processes);
    if (out->processes == NULL) abort();
    out->process_count = s->count;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        struct supervise_process *p = &out->processes[i];
        *p = (struct supervise_process){.name = c->process->name,
                                        .pid = (int)c->pid,
                                        .incarnation = c->incarnation,
                                        .exit_status = c->exit_status,
                                        .signal = c->signal,
                                        .peak_rss_bytes = c->peak_rss_bytes,
                                        .seconds = (double)(c->ended_ns - c->started_ns) / 1e9};
        memcpy(&p->status, c->page, sizeof p->status);
    }
}

static bool any_document_failed(const struct supervisor *s)
{
    if (s->tracked) return s->aside.count > 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (c->exit_status == 1 || (c->process->sink && atomic_load(&c->page->failed) > 0)) return true;
    }
    return false;
}

static int failed_status(const struct supervisor *s)
{
    const struct child *c = &s->children[s->failed];
    if (s->bad_document != NULL) return THEA_EDATA;
    return c->signal == 0 && c->exit_status >= THEA_EUSAGE && c->exit_status <= THEA_ECONFIG ? c->exit_status
                                                                                             : THEA_ESOFTWARE;
}

void supervisor_conclude(struct supervise_result *out, struct supervisor *s)
{
    struct buf report = {0};
    *out = (struct supervise_result){.first_failed = s->failed,
                                     .seconds = (double)(status_now_ns() - s->started_ns) / 1e9,
                                     .tracked = s->tracked,
                                     .committed = ranges_total(&s->committed),
                                     .aside = ranges_total(&s->aside),
                                     .epoch = s->epoch,
                                     .restarts = s->restarts};
    copy_processes(out, s);
    const struct plan *plan = s->plan;
    out->plan = supervisor_scale_take_plan(s);
    if (s->failed != SUPERVISOR_NONE) {
        out->exit_status = failed_status(s);
        supervisor_report_crash(s, &report);
    } else if (s->interrupted == 0 && supervisor_reconcile(out, plan, &report) > 0) {
        out->exit_status = THEA_ESOFTWARE;
    } else if (any_document_failed(s)) {
        out->exit_status = 1;
    }
    out->rc = out->exit_status >= THEA_EUSAGE ? (thea_rc)out->exit_status : THEA_OK;
    out->end = out->exit_status >= THEA_EUSAGE ? "failed" : s->interrupted != 0 ? "drained" : "done";
    if (s->interrupted != 0) out->exit_status = 128 + s->interrupted;
    out->report = buf_take(&report);
    if (strcmp(out->end, "done") != 0 && supervisor_can_resume(s)) {
        struct buf text = {0};
        supervisor_print_resume(s->o->run, &text);
        out->resume = buf_take(&text);
    }
}

void supervise_result_fini(struct supervise_result *r)
{
    free(r->processes);
    free(r->report);
    free(r->resume);
    plan_free(r->plan);
    *r = (struct supervise_result){.first_failed = SUPERVISOR_NONE};
}
