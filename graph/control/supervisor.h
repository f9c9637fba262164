/* The supervisor's inner state, shared by the supervise_*.c files and by nobody else; the contract is
 * supervise.h.
 *
 * Invariant: a child's process id is signalled only while the child is not reaped, so it can never be
 * somebody else's. */
#ifndef GRAPH_CONTROL_SUPERVISOR_H
#define GRAPH_CONTROL_SUPERVISOR_H

#include "graph/control/supervise.h"
#include "graph/control/supervise_socket.h"
#include <signal.h>

#define SUPERVISOR_NS_PER_MS ((uint64_t)1000000)
enum {
    SUPERVISOR_SAME_TIME_MS = 20, /* deaths this close are taken together: which was first cannot be told */
    SUPERVISOR_GRACE_MS = 300,    /* after the first failure: time for the others to end by themselves */
    SUPERVISOR_TERM_MS = 300,     /* after a failure: from SIGTERM to SIGKILL */
    SUPERVISOR_ABORT_MS = 1500,   /* after a second SIGINT: from SIGTERM to SIGKILL; all is over within 2 s */
    SUPERVISOR_REDRAW_MS = 500,   /* the progress line */
    SUPERVISOR_PLAIN_MS = 10000,  /* --progress plain */
    SUPERVISOR_STATUS_FD = 3,     /* where a child finds its status page */
    SUPERVISOR_PUMP_BYTES = 65536,
    SUPERVISOR_SIGNALS = 6, /* that change what the process does while it supervises */
};
#define SUPERVISOR_NONE SIZE_MAX

struct child {
    const struct plan_process *process;
    pid_t pid;          /* 0 until started; also its process group */
    bool ended;         /* and reaped */
    bool asked;         /* it was sent SIGTERM as a source: dying of that is an orderly end */
    bool stopped_by_us; /* it was ended because of something else: no failure of its own */
    int exit_status, signal;
    uint64_t started_ns, ended_ns, peak_rss_bytes;
    int stderr_fd, log_fd; /* -1 once closed */
    struct buf line;       /* what came after its last newline */
    struct status_page *page;
    uint64_t seen_busy_ns; /* as of the last redraw */
    int busy_percent;
};

typedef enum {
    SUPERVISOR_RUNNING,
    SUPERVISOR_DRAINING,
    SUPERVISOR_FAILING,
    SUPERVISOR_TERMINATING,
    SUPERVISOR_KILLING
} supervisor_phase;

/* Standard input of the source that reads "-". A terminal must be read by us: a background group that reads
 * it is stopped. */
struct stdin_pump {
    int from, to; /* -1: none, or done */
    char data[SUPERVISOR_PUMP_BYTES];
    size_t start, end; /* bytes that wait */
};

struct supervisor {
    const struct plan *plan;
    const struct supervise_options *o;
    struct child *children;
    size_t count, alive;
    int signal_fd;
    bool adopts; /* orphans below us are ours to end */
    struct sigaction old_actions[SUPERVISOR_SIGNALS];
    sigset_t old_mask;
    struct stdin_pump pump;
    supervisor_phase phase;
    uint64_t started_ns, deadline_ns; /* deadline of the phase; 0: none */
    int interrupted;                  /* the first SIGINT or SIGTERM; 0: none */
    size_t failed;                    /* the child that failed first; SUPERVISOR_NONE */
    uint64_t failed_ns;
    bool log_full_told;
    uint64_t drawn_ns;               /* when progress was last shown */
    bool line_drawn;                 /* a progress line stands on the terminal */
    struct supervise_socket *socket; /* what commands ask; NULL until all are started */
};

/* supervise_spawn.c: start the child in a process group of its own. */
THEA_CHECK thea_rc supervisor_spawn(struct supervisor *s, struct child *c, struct thea_err *err);
bool supervisor_reads_stdin(const struct plan_process *process);

/* supervise_watch.c: who ended, and who is to blame. */
void supervisor_reap(struct supervisor *s);         /* all that have ended, with their groups; also strays */
void supervisor_adopt_strays(struct supervisor *s); /* from now on orphans below us become our children */
void supervisor_kill_strays(struct supervisor *s);
bool supervisor_child_failed(const struct child *c);
void supervisor_signal_all(struct supervisor *s, int sig);

/* supervise_signals.c */
THEA_CHECK thea_rc supervisor_watch_signals(struct supervisor *s, struct thea_err *err);
void supervisor_unwatch_signals(struct supervisor *s); /* as they were */

/* supervise_phase.c: what a run does next, and until when. */
void supervisor_enter(struct supervisor *s, supervisor_phase phase, uint64_t deadline_ns);
void supervisor_interrupt(struct supervisor *s, int sig,
                          uint64_t now_ns);                      /* the first drains, the second aborts */
void supervisor_deadline(struct supervisor *s, uint64_t now_ns); /* if it has passed */
void supervisor_stop(struct supervisor *s); /* SIGTSTP: all, then ourselves, until SIGCONT */

/* supervise_pump.c: bytes between children and the outside. */
void supervisor_pump_stderr(struct supervisor *s, struct child *c); /* all that is there now */
void supervisor_close_stderr(struct supervisor *s, struct child *c);
void supervisor_pump_stdin(struct supervisor *s, bool readable, bool writable);
void supervisor_close_stdin(struct supervisor *s);
void supervisor_tell(struct supervisor *s,
                     const char *text); /* a line on our stderr, around the progress line */

/* supervise_totals.c: figures over all processes, while they run and afterwards. */
struct supervisor_totals {
    uint64_t documents; /* that came out of every sink, failed ones not counted */
    uint64_t expected;  /* as the sources know it; 0: they do not */
    uint64_t skipped, failed, tokens;
    const char *skipped_reasons; /* of the first source that has any; borrowed */
};
/* pages: one for each process of the plan. */
struct supervisor_totals supervisor_total(const struct plan *plan, const struct status_page *const *pages);
size_t supervisor_stage_name(
    const struct plan_process *p); /* length of the stage's name in the process's: "layers" of "layers/1" */
const char *supervisor_output(
    const struct plan *plan); /* the file that the first sink writes; NULL: standard output */

/* supervise_progress.c */
void supervisor_progress(struct supervisor *s, uint64_t now_ns); /* shows it when it is due */
void supervisor_progress_erase(struct supervisor *s);
uint64_t supervisor_progress_due(const struct supervisor *s); /* 0: never */
/* The text of the line, at most `width` columns. Uses the children's pages and busy_percent. */
void supervisor_progress_text(const struct supervisor *s, uint64_t now_ns, size_t width, struct buf *out);

/* supervise_report.c: texts for a run that went wrong; they end without a newline. */
void supervisor_report_crash(const struct supervisor *s, struct buf *out);
/* Compare both ends of every link: number of links that differ; what differs goes to out. */
size_t supervisor_reconcile(const struct supervise_result *r, const struct plan *plan, struct buf *out);

#endif
