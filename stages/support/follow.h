/* Directories as they change, by inotify: files that are complete, that grow, move or go.
 *
 * A new file is complete when whoever wrote it closed it, or moved it in. What is said here is only that
 * something happened to a path; what it means (is the file wanted, is it known?) the receiver knows. Nothing
 * is lost: when the kernel's queue overflows, `lost` says so. */
#ifndef STAGES_SUPPORT_FOLLOW_H
#define STAGES_SUPPORT_FOLLOW_H

#include "graph/err.h"
#include <stdbool.h>

struct follow_events {
    void (*written)(void *context, const char *path);   /* closed after writing, or moved in from elsewhere */
    void (*grew)(void *context, const char *path);      /* written to, not closed yet */
    void (*directory)(void *context, const char *path); /* a new one */
    void (*moved)(void *context, const char *from, const char *to);
    void (*gone)(void *context, const char *path); /* removed, or moved elsewhere */
    void (*lost)(void *context);                   /* events were lost: look at everything */
};

struct follow;

/* Errors: THEA_EOS. */
THEA_CHECK thea_rc follow_open(struct follow **out, const struct follow_events *events, void *context,
                               struct thea_err *err);
void follow_free(struct follow *f); /* NULL is fine */
/* Hear of what happens to the names in this directory; again is fine. Errors: THEA_EOS (the kernel's limit of
 * watches), THEA_ENOINPUT. */
THEA_CHECK thea_rc follow_directory(struct follow *f, const char *dir, struct thea_err *err);
int follow_fd(const struct follow *f); /* readable when something happened */
/* Say all that has happened; does not wait. False: nothing had. */
bool follow_read(struct follow *f);
/* Does a process have this file open for writing? False, too, where the kernel does not tell (another user's
 * file). */
bool follow_is_being_written(const char *path);

#endif
