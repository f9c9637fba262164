/* Errors: one code, one message, written where most is known, passed up untouched.
 *
 * A function that can fail returns thea_rc (THEA_OK is 0 and must be checked) and takes `struct thea_err
 * *err` last. err is filled only when the result is not THEA_OK (and not THEA_AGAIN); NULL is allowed where
 * nobody will read it. Codes follow sysexits(3), so that main() can return them as they are: see
 * thea_exit_status. */
#ifndef THEA_ERR_H
#define THEA_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define THEA_CHECK             __attribute__((warn_unused_result))
#define THEA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum {
    THEA_OK = 0,
    /* Not failures: flow. They carry no message. */
    THEA_AGAIN = 1, /* call again: more to come, or nothing yet */
    THEA_DONE = 2,  /* no more will come */
    /* Failures without an exit status of their own. */
    THEA_ETIMEOUT = 32,
    THEA_ECLOSED = 33, /* the peer said goodbye in order */
    THEA_EDOC = 34,    /* this document (stream) is bad, the next may be good */
    /* Failures, numbered as the exit status they lead to. */
    THEA_EUSAGE = 64,    /* wrong command line */
    THEA_EDATA = 65,     /* bad content of a named input */
    THEA_ENOINPUT = 66,  /* a named input or model is missing */
    THEA_ESERVICE = 69,  /* a service is not there */
    THEA_ESOFTWARE = 70, /* our bug, or a crashed stage */
    THEA_EOS = 71,       /* the system refused a process or memory */
    THEA_ECREATE = 73,   /* cannot create the output */
    THEA_EIO = 74,       /* read or write failed, disk full */
    THEA_EBUSY = 75,     /* busy, try again */
    THEA_EFRAME = 76,    /* damaged or unexpected bytes from a peer; the peer died before its end frame */
    THEA_EPERM = 77,     /* not permitted */
    THEA_ECONFIG = 78,   /* wrong pipeline file */
} thea_rc;

struct thea_err {
    thea_rc rc;
    char message[2048]; /* a headline; then maybe detail lines, each indented by two spaces; no final newline
                         */
};

/* Fill err (if not NULL) and return rc, so that `return thea_fail(err, THEA_EDATA, "...", ...)` reads well.
 * A message that does not fit ends in "...". */
thea_rc thea_fail(struct thea_err *err, thea_rc rc, const char *fmt, ...) THEA_PRINTF(3, 4);
static inline thea_rc thea_rc_same(thea_rc rc)
{
    return rc;
}
/* The same, so that readers of the code (static analysis among them) see that the result is rc. */
#define thea_fail(err, rc, ...) ((void)(thea_fail)((err), (rc), __VA_ARGS__), thea_rc_same(rc))

/* THEA_ECREATE: `path`, an output, could not be made, for the reason `why` (an errno), and what to do about
 * it where that is plain. */
thea_rc thea_fail_create(struct thea_err *err, const char *path, int why);
#define thea_fail_create(err, path, why)                                                                     \
    ((void)(thea_fail_create)((err), (path), (why)), thea_rc_same(THEA_ECREATE))

/* Put "<fmt>: " in front of the message of an error on its way up. Returns err->rc. */
thea_rc thea_fail_prefix(struct thea_err *err, const char *fmt, ...) THEA_PRINTF(2, 3);

/* The message, or "unknown error" when err is empty. Borrowed from err. */
const char *thea_err_message(const struct thea_err *err);

/* sysexits status for a result: 0 for OK and DONE, the code itself from 64 on, else 70. */
int thea_exit_status(thea_rc rc);

#endif
