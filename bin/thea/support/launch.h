/* Running a pipeline from its file to its exit status: what `thea run` and the fronts (`thea generate`)
 * share. */
#ifndef BIN_THEA_LAUNCH_H
#define BIN_THEA_LAUNCH_H

#include "bin/thea/support/command.h"
#include "graph/control/spec.h"

typedef enum { LAUNCH_PROGRESS_AUTO, LAUNCH_PROGRESS_PLAIN, LAUNCH_PROGRESS_OFF } launch_progress;

struct launch {
    const char *pipeline; /* NAME or path */
    struct spec_overrides overrides;
    const char *run_dir; /* NULL: the default place */
    const char *metrics; /* HOST:PORT to listen on for HTTP; NULL: nowhere */
    const char *resume;  /* a run to go on with, instead of pipeline and overrides; NULL */
    bool mixed;          /* go on also where bits may differ */
    bool detach;         /* in the background */
    launch_progress progress;
    bool quiet, summary;      /* summary: the line at the end */
    bool report, report_json; /* where the time went: as a table; as one line of JSON. On stderr */
    int argc;
    char **argv; /* recorded */
};

/* Check, plan, run, report. Everything but the sink's output goes to stderr. Returns the exit status. */
int launch_pipeline(const struct launch *l);
/* Go on with the run that l->resume names; one that is done is status 0. */
int launch_resume(const struct launch *l);

#endif
