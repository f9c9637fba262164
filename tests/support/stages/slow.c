/* slow: passes numbers on, and may wait, misbehave or die on the way: for tests of back-pressure and of
 * failing stages. */
#include "graph/fault.h"
#include "graph/wire/stage.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AT_NOTHING, AT_EXIT, AT_KILL, AT_ABORT, AT_EDOC, AT_EDATA, AT_ENOUGH, AT_HANG, AT_BUS };
static const char *const faults[] = {"none",  "exit",   "kill", "abort", "edoc",
                                     "edata", "enough", "hang", "bus",   NULL};

struct slow {
    int64_t delay, at, seen, poison;
    int fault;
    const char *hold;
};

/* Of all processes that share the directory the first waits until `go` is there. */
static void wait_for_go(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/held", directory);
    if (mkdir(path, 0700) != 0) return;
    snprintf(path, sizeof path, "%s/go", directory);
    while (access(path, F_OK) != 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Read a mapped file that was cut short, as a model can be. */
static void bus_error(void)
{
    int fd = memfd_create("cut", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096) != 0) abort();
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || ftruncate(fd, 0) != 0) abort();
    (void)page[0];
}

static thea_rc misbehave(struct stage *st, const struct slow *slow, struct thea_err *err)
{
    switch (slow->fault) {
    case AT_EXIT: _exit(3);
    case AT_KILL: raise(SIGKILL); break;
    case AT_ABORT: abort();
    case AT_EDOC: return thea_fail(err, THEA_EDOC, "frame %lld is bad on demand", (long long)slow->at);
    case AT_EDATA: return thea_fail(err, THEA_EDATA, "failed on demand at frame %lld", (long long)slow->at);
    case AT_ENOUGH: stage_enough(st); break;
    case AT_HANG:
        for (;;) pause();
    case AT_BUS: bus_error(); break;
    default: break;
    }
    return THEA_OK;
}

static thea_rc slow_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    struct slow *slow = stage_state(st);
    struct timespec delay = {slow->delay / 1000000000, slow->delay % 1000000000};
    (void)port;
    thea_fault("slow.frame");
    if (slow->delay > 0) nanosleep(&delay, NULL);
    if (slow->hold != NULL && slow->hold[0] != '\0') wait_for_go(slow->hold);
    if ((int64_t)(stage_stream_id(s) & 0xffffffff) == slow->poison)
        return thea_fail(err, THEA_EDOC, "document %lld is poison", (long long)slow->poison);
    if (slow->seen++ == slow->at) {
        thea_rc rc = misbehave(st, slow, err);
        if (rc != THEA_OK) return rc;
    }
    if (frame_tensor(in, "values") != NULL) stage_put(st, s, 0, frame_tensor(in, "values"));
    stage_put_kind(st, 0, in->kind);
    return THEA_OK;
}

static const struct stage_option options[] = {{.name = "delay",
                                               .type = VALUE_TIME,
                                               .def = "0",
                                               .meaning = "wait so long in every op",
                                               .offset = offsetof(struct slow, delay)},
                                              {.name = "poison",
                                               .type = VALUE_INT,
                                               .def = "-1",
                                               .meaning = "document that always fails",
                                               .offset = offsetof(struct slow, poison)},
                                              {.name = "at",
                                               .type = VALUE_INT,
                                               .def = "0",
                                               .meaning = "frame at which to misbehave, from 0",
                                               .offset = offsetof(struct slow, at)},
                                              {.name = "fault",
                                               .type = VALUE_CHOICE,
                                               .def = "none",
                                               .meaning = "how to misbehave",
                                               .choices = faults,
                                               .offset = offsetof(struct slow, fault)},
                                              {.name = "hold",
                                               .type = VALUE_PATH,
                                               .meaning = "the first process to come waits in it",
                                               .offset = offsetof(struct slow, hold)},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "*", .meaning = "numbers"}, {0}};
static const struct stage_port outputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "*", .meaning = "the same"}, {0}};
static const struct stage_ops slow_ops = {.kind = "slow",
                                          .summary = "passes numbers on, slowly",
                                          .options = options,
                                          .inputs = inputs,
                                          .outputs = outputs,
                                          .state_size = sizeof(struct slow),
                                          .frame = slow_frame};
STAGE_MAIN(slow_ops);
