/* keep: a sink for tests of runs that survive crashes. It adds a line to a file for every document, "stream
 * frames sum", or "stream aside reason", in one write(2), and commits it then; a new process commits what it
 * finds there. */
#include "graph/fault.h"
#include "graph/wire/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct keep {
    const char *output;
    int fd;
};
struct keep_stream {
    int64_t frames;
    double sum;
};

/* Lines that are whole count; a last one that is not is cut off. */
static thea_rc recover(struct stage *st, struct keep *k, struct thea_err *err)
{
    FILE *f = fdopen(dup(k->fd), "r");
    char line[256];
    uint64_t stream, good = 0;
    if (f == NULL) return thea_fail(err, THEA_EIO, "%s: %s", k->output, strerror(errno));
    while (fgets(line, sizeof line, f) != NULL && strchr(line, '\n') != NULL) {
        good += strlen(line);
        if (sscanf(line, "%" SCNu64, &stream) == 1) stage_commit(st, stream);
    }
    fclose(f);
    return ftruncate(k->fd, (off_t)good) == 0 ? THEA_OK : thea_fail(err, THEA_EIO, "%s", strerror(errno));
}

static thea_rc keep_open(struct stage *st, struct thea_err *err)
{
    struct keep *k = stage_state(st);
    k->fd = open(k->output, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return k->fd >= 0 ? recover(st, k, err)
                      : thea_fail(err, THEA_ECREATE, "%s: %s", k->output, strerror(errno));
}

static thea_rc keep_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    struct keep_stream *k = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, "values");
    (void)st, (void)port, (void)err;
    thea_fault("keep.frame");
    for (uint64_t i = 0; t != NULL && i < t->shape[0]; i++) k->sum += (double)((const float *)t->data)[i];
    k->frames++;
    return THEA_OK;
}

static thea_rc put_line(struct stage *st, struct stage_stream *s, const char *line, struct thea_err *err)
{
    const struct keep *k = stage_state(st);
    thea_fault("keep.before_write");
    if (write(k->fd, line, strlen(line)) != (ssize_t)strlen(line))
        return thea_fail(err, THEA_EIO, "%s: %s", k->output, strerror(errno));
    thea_fault("keep.after_write");
    stage_commit(st, stage_stream_id(s));
    return THEA_OK;
}

static thea_rc keep_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    const struct keep_stream *k = stage_stream_state(s);
    char line[128];
    snprintf(line, sizeof line, "%" PRIu64 " %" PRId64 " %g\n", stage_stream_id(s), k->frames, k->sum);
    return put_line(st, s, line, err);
}

static thea_rc keep_failed(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    char line[256];
    (void)in;
    snprintf(line, sizeof line, "%" PRIu64 " aside %s\n", stage_stream_id(s),
             stage_stream_text(s, "error", ""));
    return put_line(st, s, line, err);
}

static void keep_close(struct stage *st)
{
    struct keep *k = stage_state(st);
    if (k->fd >= 0) close(k->fd);
}

static const struct stage_option options[] = {{.name = "output",
                                               .type = VALUE_PATH,
                                               .meaning = "the file",
                                               .offset = offsetof(struct keep, output),
                                               .flags = STAGE_REQUIRED},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "*", .meaning = "numbers"}, {0}};
static const struct stage_ops keep_ops = {.kind = "keep",
                                          .summary = "keeps a line a document",
                                          .options = options,
                                          .inputs = inputs,
                                          .state_size = sizeof(struct keep),
                                          .stream_size = sizeof(struct keep_stream),
                                          .commits = true,
                                          .open = keep_open,
                                          .frame = keep_frame,
                                          .end = keep_end,
                                          .failed = keep_failed,
                                          .close = keep_close};
STAGE_MAIN(keep_ops);
