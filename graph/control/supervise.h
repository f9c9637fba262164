/* The supervisor: starts a plan's processes, watches them, ends them. fabric.md section 7. Main thread only.
 */
#ifndef GRAPH_CONTROL_SUPERVISE_H
#define GRAPH_CONTROL_SUPERVISE_H

#include "graph/control/rundir.h"
#include "graph/status.h"

struct supervise_process {        /* one row of the final report */
    const char *name;             /* of the plan's process */
    int pid, exit_status, signal; /* signal 0: exited */
    uint32_t incarnation;         /* 1: it was never started again */
    uint64_t peak_rss_bytes;
    double seconds;
    struct status_page status; /* a copy, taken after its end */
};

struct supervise_result {
    thea_rc rc;          /* of the first that failed; THEA_OK also if a reader had enough */
    int exit_status;     /* what `thea run` exits with: 0, 1 (documents failed), 64-78, 130, 143 */
    size_t first_failed; /* index; SIZE_MAX: none */
    struct supervise_process *processes;
    size_t process_count;
    struct plan *plan; /* as it was at the end, where the number of replicas changed; else NULL */
    double seconds;
    char *report;              /* crash report or link mismatch as text, "" if all is well */
    char *resume;              /* "go on: thea run --resume NAME", where that is to be done; NULL */
    const char *end;           /* "done", "drained" (it can go on) or "failed" */
    bool tracked;              /* sinks told what they committed: then the next two hold */
    uint64_t committed, aside; /* streams, in all starts of the run */
    uint64_t epoch, restarts;
};

struct supervise_options {
    struct rundir *run;
    bool quiet;
    bool progress_line;  /* redraw a line on stderr */
    bool progress_plain; /* a line every 10 s */
    int stdout_fd;       /* given to sinks as stdout */
    int stdin_fd;        /* pumped to a source that reads "-"; -1: none */
    uint64_t drain_timeout_ns;
    bool resumed;                   /* the directory holds journals of an earlier start */
    const char *label;              /* pipeline's name, for the progress line */
    const char *metrics;            /* listen there for HTTP: the live page, Prometheus; NULL: nowhere */
    uint64_t backoff_ns;            /* before the first restart of a process; 0: 0.1 s */
    void (*started)(void *context); /* every process has been started; NULL: nobody wants to know */
    void *started_context;
};

/* Run the plan to its end. Handles SIGINT, SIGTERM (first: drain; second: abort), SIGCHLD, SIGTSTP, SIGCONT
 * while it runs. The result's rc is not an error of this call: it fails only when it could not start
 * (everything started is killed then). */
THEA_CHECK thea_rc supervise_run(struct supervise_result *out, const struct plan *plan,
                                 const struct supervise_options *o, struct thea_err *err);
void supervise_result_fini(struct supervise_result *r);

/* Tables for people: where the time went, per stage; cli.md section 7. */
void supervise_print_times(const struct supervise_result *r, const struct plan *plan, struct buf *out);
/* "score: 96 documents, 2 skipped (not UTF-8), 611,204 tokens in 38.4 s: 15.9k tokens/s" */
void supervise_print_summary(const struct supervise_result *r, const struct plan *plan, struct buf *out);
struct json_node *supervise_report_json(const struct supervise_result *r, const struct plan *plan);

#endif
