/* Run programs and read what they say: for end-to-end tests. Every wait has a deadline. */
#ifndef TESTS_SUPPORT_RUN_H
#define TESTS_SUPPORT_RUN_H

#include "graph/buf.h"
#include <stdbool.h>
#include <sys/types.h>

/* Programs are about so many times slower than in other builds: a test whose claim does not need all of its
 * data divides the data by it. */
#ifdef __SANITIZE_ADDRESS__
enum { RUN_SLOWER = 4 };
#else
enum { RUN_SLOWER = 1 };
#endif

/* For whatever must happen: a test gives up after so many seconds. Nobody waits for them but who fails, and a
 * machine may be slow and have other work; so there is no shorter deadline. */
enum { RUN_LIMIT_S = 240 };

struct run_result {
    int status; /* exit status; 128 + signal if killed */
    struct buf out, err;
    double seconds;
};

/* Run `sh -c command` with the build's bin (then its bin/tests) first in PATH, in directory `dir` (NULL: the
 * source tree); the deadline kills its process group and gives status 124. The group is killed, too, when the
 * test's process ends before it, however it does: a test that fails leaves no process. */
void run_shell(struct run_result *r, const char *dir, double deadline_s, const char *fmt, ...)
    THEA_PRINTF(4, 5);
void run_result_fini(struct run_result *r);

/* The same, started and left running; stdout and stderr to files in a temporary directory. */
struct run_child {
    pid_t pid;
    pid_t group; /* its process group */
    char dir[64];
};
void run_start(struct run_child *c, const char *dir, const char *fmt, ...) THEA_PRINTF(3, 4);
int run_wait(struct run_child *c, double deadline_s, struct run_result *r); /* as run_shell's status */

/* Processes whose command line has `part` in it. */
size_t run_count_processes(const char *part);

const char *run_source_dir(void); /* the source tree, absolute */
const char *run_bin_dir(void);    /* build/<preset>/bin, absolute */
char *run_temp_dir(void);         /* a new empty directory, removed at exit; free it */
/* Wait until condition(context) is true; false when the deadline passed first. Polls every 5 ms. */
bool run_until(bool (*condition)(void *context), void *context, double deadline_s);
/* The path of a golden file, tests/goldens/NAME; aborts the test, naming it, when it is missing. free it */
char *run_golden(const char *name);

#endif
