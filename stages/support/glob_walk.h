/* From what a user names (files, directories, globs) to a list of files: sorted, each once.
 *
 * `**` matches any number of directories. Names found by matching or descending may be excluded; what the
 * user spells out is not. Symbolic links to files are files; links to directories are followed where the user
 * names them, not while descending, so there are no loops. */
#ifndef STAGES_SUPPORT_GLOB_WALK_H
#define STAGES_SUPPORT_GLOB_WALK_H

#include "graph/value.h"

struct glob_walk {
    /* Set by the caller. */
    const struct value_list *exclude; /* patterns of names, as fnmatch(3): ".*", "build" */
    void (*skipped)(void *context, const char *path,
                    const char *reason); /* a directory that cannot be read, a socket, … */
    /* Every directory in which a name may fit, before it is read; may be NULL. */
    void (*entered)(void *context, const char *dir);
    void *context;
    /* Results: absolute paths without "." and "..", in the order of the operands, sorted within each. */
    char **files;
    size_t count;
    /* Own. */
    size_t cap, excluded, matched;
    void *seen; /* tree of the paths in files */
};

/* Add the files that one operand stands for. Errors: THEA_ENOINPUT: it is missing, or matches nothing (says
 * where it looked and how many names were excluded); THEA_EPERM: what is named may not be read; THEA_EIO. */
THEA_CHECK thea_rc glob_walk_add(struct glob_walk *w, const char *operand, struct thea_err *err);
void glob_walk_fini(struct glob_walk *w);

/* An operand as a directory and what may be below it, kept for names that come later. */
struct glob_pattern {
    char *dir;    /* absolute */
    char **parts; /* NULL-terminated; `**`: any depth */
    char *text;   /* their memory */
};
/* Errors: as glob_walk_add; nothing need fit. glob_pattern_fini also after a failure. */
THEA_CHECK thea_rc glob_pattern_init(struct glob_pattern *p, const char *operand, struct thea_err *err);
void glob_pattern_fini(struct glob_pattern *p);
/* Would a walk find this absolute path, if a file is there? */
bool glob_pattern_fits(const struct glob_walk *w, const struct glob_pattern *p, const char *path);
/* Add what fits at or below the directory `from` (p->dir, or one below it). */
void glob_walk_below(struct glob_walk *w, const struct glob_pattern *p, const char *from);
/* `path`, made short: relative to base (absolute, no slash at the end) if below it, else path itself.
 * Borrowed from path. */
const char *glob_walk_relative(const char *path, const char *base);

#endif
