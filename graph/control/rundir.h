/* The run directory: a place with the run's name, its logs and what it was asked to do. specs/cli.md section
 * 6; 0700, locked by the supervisor. */
#ifndef GRAPH_CONTROL_RUNDIR_H
#define GRAPH_CONTROL_RUNDIR_H

#include "graph/control/plan.h"

struct rundir {
    char *path;
    char *name;
    bool by_name; /* it is where runs go by default: its name says where */
    int fd;
    int lock_fd;
};

/* dir NULL: NAME-YYYYMMDD-HHMMSS in THEA_RUNS or $XDG_STATE_HOME/thea/runs; completed runs there beyond the
 * newest 20 are removed. Errors: THEA_ECREATE; THEA_EBUSY if dir holds a live run; THEA_EUSAGE if it holds an
 * ended one (hint). */
THEA_CHECK thea_rc rundir_create(struct rundir *out, const char *dir, const char *pipeline,
                                 struct thea_err *err);
/* Where runs go when nobody says; NULL: nowhere is known. free() it. */
char *rundir_base(void);
void rundir_close(struct rundir *r); /* releases the lock; the directory stays */
/* run.json (command line, values and where each came from) and pipeline.yaml, before the first process
 * starts. */
THEA_CHECK thea_rc rundir_record(struct rundir *r, const struct plan *plan, int argc, char **argv,
                                 struct thea_err *err);
/* Going on with a run. The directory, locked. Errors: THEA_ENOINPUT: there is no run; THEA_EBUSY: it is live.
 */
THEA_CHECK thea_rc rundir_open(struct rundir *out, const char *path, struct thea_err *err);
bool rundir_is_done(const struct rundir *r); /* nothing is left to do */
THEA_CHECK thea_rc rundir_read_record(struct json_node **out, const struct rundir *r, struct thea_err *err);
/* Would this machine and version compute the same bits? Errors: THEA_EUSAGE, with what differs. */
THEA_CHECK thea_rc rundir_check_same(const struct json_node *record, struct thea_err *err);
/* As many replicas as the run had last: `thea scale` has changed them. Errors: THEA_EDATA, THEA_EIO. */
THEA_CHECK thea_rc rundir_read_replicas(struct spec *spec, bool *changed, const struct rundir *r,
                                        struct thea_err *err);
/* Give the plan, made anew of pipeline.yaml, the command lines and the environment of the first start. With
 * `changed` replicas the plan's own command lines may have to do. Errors: THEA_EDATA. */
THEA_CHECK thea_rc rundir_thaw(struct plan *plan, const struct json_node *record, bool changed,
                               struct thea_err *err);
/* run.json again, for this start: who runs now, and where. Takes over `record`; the old report goes. */
THEA_CHECK thea_rc rundir_record_again(struct rundir *r, const struct plan *plan, struct json_node *record,
                                       struct thea_err *err);
THEA_CHECK thea_rc rundir_open_log(int *fd, struct rundir *r, const char *process,
                                   struct thea_err *err);           /* logs/layers.p1.log */
char *rundir_log_path(const struct rundir *r, const char *process); /* free it */
THEA_CHECK thea_rc rundir_write(struct rundir *r, const char *name, const char *text, size_t len,
                                struct thea_err *err); /* atomic: temporary + rename */

/* The run's epoch: the number of its starts and of deaths it went on after. 0: never started. */
THEA_CHECK thea_rc rundir_read_epoch(uint64_t *epoch, const struct rundir *r, struct thea_err *err);
THEA_CHECK thea_rc rundir_write_epoch(struct rundir *r, uint64_t epoch,
                                      struct thea_err *err); /* on disk when it returns */
/* Add a line to a file of the directory, on disk when it returns. */
THEA_CHECK thea_rc rundir_append(struct rundir *r, const char *name, const char *line, struct thea_err *err);

#endif
