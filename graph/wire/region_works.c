/* Do regions work here? Asked by `thea doctor`. */
#include "graph/wire/region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char sample[] = "seen by another process";

/* In a process of its own: what /proc grants oneself it may refuse to others. */
static void read_as_another(const struct region_offer *o, int to)
{
    struct thea_err err = {0};
    struct region_maps *m = region_maps_new();
    struct tensor t = {
        .name = "sample", .size_bytes = sizeof sample, .in_region = true, .region = {.pool = 1}};
    struct frame f = {.tensors = &t, .tensor_count = 1};
    thea_rc rc = region_maps_add(m, o, &err);
    if (rc == THEA_OK) rc = region_maps_resolve(m, &f, &err);
    if (rc == THEA_OK && memcmp(t.data, sample, sizeof sample) != 0)
        rc = thea_fail(&err, THEA_EOS, "shared memory shows other bytes than were written");
    ssize_t n = write(to, err.message, strlen(err.message));
    _exit(rc == THEA_OK && n >= 0 ? 0 : 1);
}

static thea_rc ask_another(const struct region_offer *o, struct thea_err *err)
{
    int pipe_fds[2], status = 0;
    char why[512];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) return thea_fail(err, THEA_EOS, "pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) read_as_another(o, pipe_fds[1]);
    close(pipe_fds[1]);
    ssize_t n = child > 0 ? read(pipe_fds[0], why, sizeof why - 1) : 0;
    close(pipe_fds[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return thea_fail(err, THEA_EOS, "cannot start a process: %s", strerror(errno));
    if (status == 0) return THEA_OK;
    why[n > 0 ? n : 0] = '\0';
    return thea_fail(err, THEA_EPERM, "%s", n > 0 ? why : "the process that was to read it failed");
}

thea_rc region_works(struct thea_err *err)
{
    struct region_pool *pool = NULL;
    thea_rc rc = region_pool_open(&pool, 1, (uint64_t)sysconf(_SC_PAGESIZE), err);
    if (rc != THEA_OK) return rc;
    pool->number = 1;
    memcpy(pool->base, sample, sizeof sample);
    struct region_offer offer = region_pool_offer(pool);
    rc = ask_another(&offer, err);
    region_pool_close(pool);
    return rc;
}
