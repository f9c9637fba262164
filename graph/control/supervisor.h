/* The supervisor's inner state, shared by the supervise_*.c files and by nobody else; the contract is
 * supervise.h.
 *
 * Invariant: a child's process id is signalled only while the child is not reaped, so it can never be
 * somebody else's. */
#ifndef GRAPH_CONTROL_SUPERVISOR_H
#define GRAPH_CONTROL_SUPERVISOR_H

#include "graph/control/plan_scale.h"
#include "graph/control/supervise.h"
#include "graph/channel.h"
#include "graph/control/supervise_socket.h"
#include "graph/ranges.h"
#include <signal.h>

#define SUPERVISOR_NS_PER_MS ((uint64_t)1000000)
enum {
    SUPERVISOR_SAME_TIME_MS = 20, /* deaths this close are taken together: which was first cannot be told */
    SUPERVISOR_GRACE_MS = 300,    /* after the first failure: time for the others to end by themselves */
    SUPERVISOR_TERM_MS = 300,     /* after a failure: from SIGTERM to SIGKILL */
    SUPERVISOR_ABORT_MS = 1500,   /* after a second SIGINT: from SIGTERM to SIGKILL; all is over within 2 s */
    SUPERVISOR_REDRAW_MS = 500,   /* the progress line */
    SUPERVISOR_PLAIN_MS = 10000,  /* --progress plain */
    SUPERVISOR_FINISH_MS = 10000, /* from FINISH to the end of the last process */
    SUPERVISOR_LAST_MS = 2000,    /* the same, once one died in between */
    SUPERVISOR_BACKOFF_MS = 100,  /* before a process is started again; twice that after each further death */
    SUPERVISOR_BACKOFF_MAX_MS = 10000,
    SUPERVISOR_DEATHS_MAX = 10,   /* without a commit in between; one more ends the run */
    SUPERVISOR_HEALTH_MS = 500,   /* between two looks for what hangs or grows */
    SUPERVISOR_NEWS_MS = 5000,    /* while it drains: who is still busy */
    SUPERVISOR_STATUS_FD = 3,     /* where a child finds its status page */
    SUPERVISOR_CONTROL_FD = 4,    /* and its end of the control channel */
    SUPERVISOR_SOURCE_SHIFT = 40, /* a stream's id is source << 40 | index */
    SUPERVISOR_SPARE = 1024,      /* children that may come while the run goes on */
    SUPERVISOR_PUMP_BYTES = 65536,
    SUPERVISOR_SIGNALS = 6, /* that change what the process does while it supervises */
};
#define SUPERVISOR_NONE SIZE_MAX

/* Why we killed it; SUPERVISOR_OURS alone says nothing about a document. */
typedef enum { SUPERVISOR_NOT_KILLED, SUPERVISOR_HUNG, SUPERVISOR_TOO_BIG, SUPERVISOR_OURS } supervisor_cause;

/* What a process said over its control channel, and what it is still to be told. */
struct child_control {
    struct channel *channel; /* NULL: before its start and after its end */
    bool speaks;             /* it said ready once, in this incarnation or before: it knows the vocabulary */
    bool ready;              /* this incarnation did */
    bool final;              /* a sink: cannot be started again */
    bool enough;             /* a sink: wants nothing more */
    uint64_t done_epoch;     /* a sink: of this epoch all is written; 0: none */
    uint64_t passed_epoch;   /* others: of this epoch they have passed eof on; 0: none */
    struct ranges committed; /* by this sink, ever */
    struct ranges owed;      /* a source: commits that it has not been told */
    uint64_t source;         /* a source: its number */
    uint64_t total;          /* a source: so many streams; UINT64_MAX: it has not said */
};

/* Is it alive in more than name? */
struct child_health {
    uint64_t progress, moved_ns;          /* the counter, and when it last changed or had no reason to */
    uint64_t too_many_bytes, limit_bytes; /* what it had when it was killed for its memory */
    uint64_t stopped_ns;                  /* since when a SIGSTOP holds it; 0: it runs */
    bool stop_told;
};

struct child {
    const struct plan_process *process;
    uint32_t incarnation; /* from 1 */
    bool waits;           /* dead, to be started again */
    uint64_t restart_ns;  /* then; 0: once the epoch is raised */
    unsigned deaths;      /* since the run's last new commit */
    supervisor_cause killed_for;
    struct child_control control;
    struct child_health health;
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
    SUPERVISOR_FINISHING, /* every sink is done: what dies now, dies of nothing that matters */
    SUPERVISOR_FAILING,
    SUPERVISOR_TERMINATING,
    SUPERVISOR_KILLING
} supervisor_phase;

/* Standard input of the source that reads "-". A terminal must be read by us: a background group that reads
 * it is stopped. */
struct stdin_pump {
    int from, to; /* -1: none, or done */
    int given;    /* the child's end, kept for a source that is started again; -1: none */
    char data[SUPERVISOR_PUMP_BYTES];
    size_t start, end; /* bytes that wait */
};

/* A stream that failed, or that a process died on. */
struct supervisor_trouble {
    uint64_t stream;
    unsigned tries;
    uint32_t attempt; /* of its newest frames */
    uint64_t epoch;   /* in which that attempt began */
    bool aside;       /* given up */
    bool unread;      /* its source dies on it, and must not look at it again */
    char *reason;     /* the newest, and the process that it failed in */
    char *stage;
};

/* Several streams were in a process that crashed: which one did it? Each is run alone. */
struct supervisor_suspects {
    uint64_t *items; /* the first one runs now */
    size_t count;
    bool alone;        /* the sources know */
    uint64_t since_ns; /* they do */
};

/* A change of how many replicas a stage has. */
struct supervisor_heard {
    uint32_t incarnation; /* that it was said to */
    bool obeyed;
};
struct supervisor_wish {
    char *stage;
    int replicas;
};
struct supervisor_scale {
    const struct plan *old, *new; /* new NULL: nothing changes now */
    size_t stage;
    plan_step step;
    struct plan_messages said;      /* in this step */
    struct supervisor_heard *heard; /* one for each of them */
    bool raised;                    /* the epoch, as a join needs it */
    struct child *lost;             /* a new one that died before it was ready: all is taken back */
    uint64_t deadline_ns;           /* for those that leave to end */
    struct supervisor_wish *wishes; /* that wait for their turn */
    size_t wish_count;
    struct plan **plans; /* all that were made */
    size_t plan_count;
};

struct supervisor {
    const struct plan *plan;
    const struct supervise_options *o;
    struct child *children; /* count of them, with room for SUPERVISOR_SPARE more */
    size_t count, alive, room;
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
    uint64_t epoch;
    uint64_t recover_ns; /* until then deaths are collected; 0: none is waiting */
    unsigned deaths;     /* since the last new commit */
    uint64_t restarts;
    struct ranges committed; /* by every sink that has not enough */
    struct ranges aside;     /* of those: set aside */
    bool tracked;            /* sinks tell what they commit */
    struct supervisor_trouble *troubles;
    size_t trouble_count;
    size_t tries_bytes; /* written to the file `tries` since it was last made anew */
    struct supervisor_suspects suspects;
    struct supervisor_scale scale;
    bool paused;                     /* by a command */
    bool holding;                    /* sources wait until every sink has read its journal */
    uint64_t oom_kills;              /* as the kernel counted when we last looked */
    uint64_t checked_ns;             /* when health was last looked at */
    uint64_t finished_ns;            /* FINISH was said; 0: not yet */
    uint64_t news_ns;                /* when to tell next who is still busy */
    const char *why;                 /* more about the failure, for the report; NULL */
    char *bad_document;              /* what failed where on_error is stop; NULL */
    uint64_t drawn_ns;               /* when progress was last shown */
    bool line_drawn;                 /* a progress line stands on the terminal */
    struct supervise_socket *socket; /* what commands ask; NULL until all are started */
};

/* supervise_spawn.c: start the child in a process group of its own. A new incarnation's page goes on counting
 * where the old one's stopped. */
THEA_CHECK thea_rc supervisor_spawn(struct supervisor *s, struct child *c, struct thea_err *err);
bool supervisor_reads_stdin(const struct plan_process *process);

/* supervise.c: for a process that joins a run. */
void supervisor_init_child(struct child *c, const struct plan_process *process);

/* supervise_result.c */
void supervisor_conclude(struct supervise_result *out, struct supervisor *s);

/* supervise_watch.c: who ended, and who is to blame. */
void supervisor_reap(struct supervisor *s);         /* all that have ended, with their groups; also strays */
void supervisor_adopt_strays(struct supervisor *s); /* from now on orphans below us become our children */
void supervisor_kill_strays(struct supervisor *s);
bool supervisor_child_failed(const struct child *c);
void supervisor_signal_all(struct supervisor *s, int sig);

void supervisor_note_failure(struct supervisor *s, struct child *c); /* the run ends because of it */
bool supervisor_lost_peer(const struct child *c);                    /* it ended because another did */
/* "was killed by SIGKILL", "failed with status 70", "made no progress for 60 s and was killed" */
void supervisor_print_death(const struct child *c, struct buf *out);

/* supervise_control.c: the channels. */
THEA_CHECK thea_rc supervisor_control_open(struct child *c, int *theirs, struct thea_err *err);
void supervisor_control_close(struct child *c);
void supervisor_hear(struct supervisor *s, struct child *c); /* all that it has said */
void supervisor_hear_all(struct supervisor *s);
void supervisor_say(struct supervisor *s, struct child *c, struct json_node *message); /* taken over */
struct json_node *supervisor_word(const char *what);                                   /* {"do": what} */
void supervisor_say_all(struct supervisor *s, const struct json_node *message);
void supervisor_say_sources(struct supervisor *s, const struct json_node *message);
struct child *supervisor_source_of(struct supervisor *s, uint64_t stream); /* NULL: nobody's */
void supervisor_brief(struct supervisor *s,
                      struct child *c); /* a process just started: where the run stands */
/* Hold the sources back, and let them go on; for commands. */
void supervisor_pause(struct supervisor *s);
void supervisor_go(struct supervisor *s);

/* supervise_commit.c: what is done, and when all is. */
void supervisor_committed(struct supervisor *s, struct child *sink, uint64_t first, uint64_t last);
void supervisor_has_enough(struct supervisor *s, struct child *sink);
void supervisor_tell_commits(struct supervisor *s); /* to the sources, what came since */
void supervisor_tell_committed(struct supervisor *s, struct child *source); /* all, to one that is new */
void supervisor_finish(struct supervisor *s, uint64_t now_ns);              /* if every sink is done */

/* supervise_restart.c: going on after a death. */
const struct spec_stage *supervisor_stage(const struct supervisor *s, const struct child *c); /* never NULL */
bool supervisor_restarts(const struct supervisor *s,
                         const struct child *c); /* it ended: is it to come again? */
bool supervisor_left_early(const struct supervisor *s, const struct child *c);
void supervisor_mourn(struct supervisor *s, struct child *c, uint64_t now_ns); /* it is */
void supervisor_recover(struct supervisor *s,
                        uint64_t now_ns); /* when deaths are collected, and when one is due */
uint64_t supervisor_recover_due(const struct supervisor *s); /* 0: never */
bool supervisor_raise_epoch(struct supervisor *s);           /* on disk, then to all; false: not on disk */
bool supervisor_any_waits(const struct supervisor *s);

/* supervise_poison.c: streams that fail, and those that processes die on. */
void supervisor_failed(struct supervisor *s, const struct json_node *message);
void supervisor_accuse(struct supervisor *s, struct child *c);                   /* it died: of a stream? */
void supervisor_cleared(struct supervisor *s, uint64_t stream, uint64_t now_ns); /* it crashed nobody */
void supervisor_forget_troubles(struct supervisor *s, uint64_t first, uint64_t last); /* they are committed */
void supervisor_isolate(struct supervisor *s, uint64_t now_ns); /* run the next suspect alone, or all again */
void supervisor_suspects_expire(struct supervisor *s, uint64_t now_ns);
void supervisor_tell_troubles(struct supervisor *s, struct child *source);
THEA_CHECK thea_rc supervisor_read_tries(struct supervisor *s,
                                         struct thea_err *err); /* of an earlier start */
void supervisor_poison_fini(struct supervisor *s);

/* supervise_scale.c: more or fewer replicas while the run goes on. */
/* For commands; it is done step by step. Errors: THEA_EUSAGE, THEA_ECONFIG (plan_scale.h), THEA_EBUSY. */
THEA_CHECK thea_rc supervisor_scale(struct supervisor *s, const char *stage, int replicas,
                                    struct thea_err *err);
/* Is c a new replica that died before it was ready? Then the change is taken back, and the run goes on. */
bool supervisor_scale_lost(struct supervisor *s, struct child *c);
void supervisor_scale_step(struct supervisor *s, uint64_t now_ns); /* what can be done now */
uint64_t supervisor_scale_due(const struct supervisor *s);         /* 0: never */
bool supervisor_hear_linked(struct supervisor *s, struct child *c, const struct json_node *m);
/* The plan in force, to keep; NULL: it is the one that supervise_run was given. */
struct plan *supervisor_scale_take_plan(struct supervisor *s);
void supervisor_scale_fini(struct supervisor *s);

/* supervise_health.c: what hangs, stands still or grows. */
void supervisor_health(struct supervisor *s, uint64_t now_ns); /* looks when it is due */
uint64_t supervisor_health_due(const struct supervisor *s);    /* 0: never */
void supervisor_note_stops(struct supervisor *s); /* after SIGCHLD: who was stopped, who went on */
void supervisor_health_restart(struct supervisor *s, uint64_t now_ns); /* a fresh deadline for all */
void supervisor_kill(struct child *c, supervisor_cause cause);
uint64_t supervisor_oom_kills(void); /* as the kernel counts; 0: it does not */

/* supervise_signals.c */
THEA_CHECK thea_rc supervisor_watch_signals(struct supervisor *s, struct thea_err *err);
void supervisor_unwatch_signals(struct supervisor *s); /* as they were */

/* supervise_phase.c: what a run does next, and until when. */
void supervisor_enter(struct supervisor *s, supervisor_phase phase, uint64_t deadline_ns);
void supervisor_interrupt(struct supervisor *s, int sig,
                          uint64_t now_ns);                      /* the first drains, the second aborts */
void supervisor_deadline(struct supervisor *s, uint64_t now_ns); /* if it has passed */
void supervisor_news(struct supervisor *s, uint64_t now_ns);     /* of a drain that takes long */
uint64_t supervisor_news_due(const struct supervisor *s);        /* 0: never */
void supervisor_stop(struct supervisor *s); /* SIGTSTP: all, then ourselves, until SIGCONT */

/* supervise_pump.c: bytes between children and the outside. */
void supervisor_pump_stderr(struct supervisor *s, struct child *c); /* all that is there now */
void supervisor_close_stderr(struct supervisor *s, struct child *c);
void supervisor_pump_stdin(struct supervisor *s, bool readable, bool writable);
void supervisor_close_stdin(struct supervisor *s);  /* no more comes */
void supervisor_forget_stdin(struct supervisor *s); /* nor does anybody read it any more */
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
struct supervisor_totals supervisor_total_now(const struct supervisor *s);
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
bool supervisor_can_resume(const struct supervisor *s);
void supervisor_print_resume(const struct rundir *run, struct buf *out); /* "go on: thea run --resume NAME" */
void supervisor_report_crash(const struct supervisor *s, struct buf *out);
/* Compare both ends of every link: number of links that differ; what differs goes to out. */
size_t supervisor_reconcile(const struct supervise_result *r, const struct plan *plan, struct buf *out);

#endif
