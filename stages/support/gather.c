/* Results that gather: see gather.h. */
#include "stages/support/gather.h"

#include "stages/support/outlet.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static thea_rc write_all(const struct gather *g, const char *from, size_t n, struct thea_err *err)
{
    while (n > 0) {
        ssize_t put = write(g->fd, from, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return thea_fail(err, THEA_EIO, "cannot write a result aside: %s", strerror(errno));
        from += put;
        n -= (size_t)put;
    }
    return THEA_OK;
}

static thea_rc spill(struct gather *g, const char *beside, struct thea_err *err)
{
    thea_rc rc = outlet_spill(&g->fd, beside, err);
    if (rc != THEA_OK) return rc;
    g->spilled = true;
    rc = write_all(g, buf_text(&g->memory), g->memory.len, err);
    buf_fini(&g->memory);
    return rc;
}

thea_rc gather_add(struct gather *g, const char *beside, const void *bytes, size_t n, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    if (beside != NULL && !g->spilled && g->bytes + n > GATHER_MEMORY_BYTES) rc = spill(g, beside, err);
    if (rc != THEA_OK) return rc;
    g->bytes += n;
    if (g->spilled) return write_all(g, bytes, n, err);
    buf_add(&g->memory, bytes, n);
    return THEA_OK;
}

static void unmap(struct gather *g)
{
    if (g->view != NULL) munmap(g->view, g->view_bytes);
    g->view = NULL;
}

thea_rc gather_view(struct gather *g, const char **bytes, struct thea_err *err)
{
    *bytes = buf_text(&g->memory);
    if (!g->spilled || g->bytes == 0) return THEA_OK;
    unmap(g);
    void *view = mmap(NULL, g->bytes, PROT_READ, MAP_SHARED, g->fd, 0);
    if (view == MAP_FAILED)
        return thea_fail(err, THEA_EIO, "cannot read back a result of %zu bytes: %s", g->bytes,
                         strerror(errno));
    *bytes = g->view = view;
    g->view_bytes = g->bytes;
    return THEA_OK;
}

void gather_fini(struct gather *g)
{
    unmap(g);
    if (g->spilled) close(g->fd);
    buf_fini(&g->memory);
    *g = (struct gather){0};
}

void gather_clear(struct gather *g)
{
    if (g->spilled)
        gather_fini(g);
    else
        buf_clear(&g->memory);
    g->bytes = 0;
}
