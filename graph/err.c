/* Errors: see err.h. Invariant: a message is never cut inside a UTF-8 character. */
#include "graph/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Shorten a message that filled the buffer so that it ends in "..." on a character border. */
static void mark_cut(char *message, size_t size)
{
    size_t at = size - 4;
    while (at > 0 && ((unsigned char)message[at] & 0xC0) == 0x80) at--;
    memcpy(message + at, "...", 4);
}

thea_rc(thea_fail)(struct thea_err *err, thea_rc rc, const char *fmt, ...)
{
    if (err == NULL) return rc;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    err->rc = rc;
    if (n < 0) err->message[0] = '\0';
    if (n >= (int)sizeof err->message) mark_cut(err->message, sizeof err->message);
    return rc;
}

thea_rc(thea_fail_create)(struct thea_err *err, const char *path, int why)
{
    const char *slash = strrchr(path, '/');
    if (why != ENOENT || slash == NULL || slash == path)
        return thea_fail(err, THEA_ECREATE, "cannot create '%s': %s", path, strerror(why));
    return thea_fail(err, THEA_ECREATE,
                     "cannot create '%s': %s\n  try  mkdir -p '%.*s', or another name for the output", path,
                     strerror(why), (int)(slash - path), path);
}

thea_rc thea_fail_prefix(struct thea_err *err, const char *fmt, ...)
{
    if (err == NULL) return THEA_ESOFTWARE;
    char text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || n >= (int)sizeof text - 2) return err->rc;
    size_t room = sizeof text - (size_t)n;
    int more = snprintf(text + n, room, ": %s", err->message);
    if (more >= (int)room) mark_cut(text, sizeof text);
    memcpy(err->message, text, sizeof text);
    return err->rc;
}

const char *thea_err_message(const struct thea_err *err)
{
    return err != NULL && err->message[0] != '\0' ? err->message : "unknown error";
}

int thea_exit_status(thea_rc rc)
{
    if (rc == THEA_OK || rc == THEA_DONE) return 0;
    return rc >= THEA_EUSAGE && rc <= THEA_ECONFIG ? (int)rc : THEA_ESOFTWARE;
}
