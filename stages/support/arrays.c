/* Files of arrays: see arrays.h. */
#include "stages/support/arrays.h"

#include "graph/fault.h"
#include "graph/log.h"
#include "stages/support/formats.h"
#include "stages/support/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- the rows in the run directory --- */

static thea_rc note_row(void *context, const struct tensor *t, uint64_t at, struct thea_err *err)
{
    struct arrays *a = context;
    if (a->format == FORMAT_SAFETENSORS) return safetensors_writer_note(a->tensors, t, a->start + at, err);
    a->width = t->shape[0];
    return THEA_OK;
}

static thea_rc add_row(void *context, const struct tensor *t, uint64_t at, struct thea_err *err)
{
    struct arrays *a = context;
    (void)at;
    return npy_add(&a->npy, t->name, t->data, t->shape[0], err);
}

static thea_rc walk_file(struct arrays *a, rows_visit visit, struct thea_err *err)
{
    size_t n = journal_tail(a->results->journal);
    int fd = journal_output_fd(a->results->journal);
    if (n == 0) return THEA_OK;
    void *rows = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (rows == MAP_FAILED)
        return thea_fail(err, THEA_EIO, "cannot read back what '%s' is made from: %s", a->output,
                         strerror(errno));
    a->start = 0;
    thea_rc rc = rows_walk(rows, n, visit, a, err);
    munmap(rows, n);
    return rc == THEA_EDATA ? thea_fail_prefix(err, "'%s'", a->output) : rc;
}

/* --- opening, closing --- */

thea_rc arrays_open(struct arrays *a, int format, const char *output, struct results *results,
                    struct thea_err *err)
{
    thea_rc rc;
    *a = (struct arrays){.format = format, .output = strdup(output), .results = results};
    if (a->output == NULL) abort();
    a->npy.rows.fd = a->npy.ids.fd = -1;
    a->complete = results != NULL && journal_found(results->journal)->done;
    if (a->complete) return THEA_OK;
    if (format == FORMAT_NPY)
        rc = npy_open(&a->npy, output, err);
    else if (results == NULL)
        rc = safetensors_writer_open(&a->tensors, output, err);
    else
        rc = safetensors_writer_open_rows(&a->tensors, output, journal_output_fd(results->journal), err);
    return rc == THEA_OK && results != NULL ? walk_file(a, note_row, err) : rc;
}

void arrays_close(struct arrays *a)
{
    if (a->output == NULL) return;
    safetensors_writer_close(a->tensors);
    npy_close(&a->npy);
    free(a->output);
    *a = (struct arrays){0};
}

static thea_rc too_late(const struct arrays *a, struct thea_err *err)
{
    return thea_fail(err, THEA_EUSAGE, "'%s' was complete, and more is to be written\n  begin a new run",
                     a->output);
}

/* --- what one document has put --- */

static struct tensor *find(const struct arrays_document *d, const char *name)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->tensors[i].name, name) == 0) return &d->tensors[i];
    return NULL;
}

static bool continues(const struct tensor *a, const struct tensor *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank || a->rank == 0) return false;
    return memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof *a->shape) == 0;
}

static thea_rc check(struct arrays *a, struct arrays_document *d, const char *name, const struct tensor *t,
                     struct thea_err *err)
{
    char what[128];
    thea_rc rc = safetensors_writer_check(name, t, err);
    if (rc != THEA_OK) return rc;
    const struct tensor *first = find(d, name);
    if (first == NULL && safetensors_writer_has(a->tensors, name))
        return thea_fail(err, THEA_EDOC, "an earlier document has the same id: '%s' is taken", name);
    if (first != NULL && !continues(first, t))
        return thea_fail(err, THEA_EDOC, "'%s': %s does not continue what came before", name,
                         tensor_describe(what, t));
    if (first != NULL) return THEA_OK;
    d->tensors = reallocarray(d->tensors, d->count + 1, sizeof *d->tensors);
    if (d->tensors == NULL) abort();
    d->tensors[d->count] = *t;
    d->tensors[d->count].name = strdup(name);
    if (d->tensors[d->count].name == NULL) abort();
    d->count++;
    return THEA_OK;
}

thea_rc arrays_take(struct arrays *a, struct arrays_document *d, struct turn *turn, const struct tensor *t,
                    struct thea_err *err)
{
    char *name = NULL;
    if (a->complete) return too_late(a, err);
    if (asprintf(&name, "%s.%s", turn->id, t->name) < 0) abort();
    thea_rc rc = check(a, d, name, t, err);
    if (rc == THEA_OK)
        rc = a->results != NULL ? rows_add(&turn->data, a->output, name, t, err)
                                : safetensors_writer_add(a->tensors, name, t, err);
    free(name);
    return rc;
}

void arrays_document_fini(struct arrays_document *d)
{
    for (size_t i = 0; i < d->count; i++) free((char *)(uintptr_t)d->tensors[i].name);
    free(d->tensors);
    *d = (struct arrays_document){0};
}

void arrays_forget(struct arrays *a, struct arrays_document *d)
{
    for (size_t i = 0; a->tensors != NULL && a->results == NULL && i < d->count; i++)
        safetensors_writer_remove(a->tensors, d->tensors[i].name);
    arrays_document_fini(d);
}

/* --- in turn --- */

static thea_rc name_is_free(void *context, const struct tensor *t, uint64_t at, struct thea_err *err)
{
    struct arrays *a = context;
    (void)at;
    if (!safetensors_writer_has(a->tensors, t->name)) return THEA_OK;
    return thea_fail(err, THEA_EDOC, "an earlier document has the same id: '%s' is taken", t->name);
}

/* Two documents of one id may both be under way: the later one gives way. */
static thea_rc give_way(struct arrays *a, struct turn *turn, const struct thea_err *why, struct thea_err *err)
{
    thea_warning("%s: set aside: %s", turn->id, thea_err_message(why));
    turn->failed = true;
    return results_put_aside(a->results, turn->stream, 1, thea_err_message(why), err);
}

static thea_rc commit(struct arrays *a, struct turn *turn, struct gather *data, struct thea_err *err)
{
    const char *bytes;
    struct thea_err why = {0};
    thea_rc rc = gather_view(data, &bytes, err);
    if (rc != THEA_OK) return rc;
    if (a->format == FORMAT_SAFETENSORS && rows_walk(bytes, data->bytes, name_is_free, a, &why) != THEA_OK)
        return give_way(a, turn, &why, err);
    struct iovec part = {(void *)(uintptr_t)bytes, data->bytes};
    a->start = a->results->tail;
    rc = results_put(a->results, turn->stream, turn->attempt, &part, 1, err);
    return rc == THEA_OK ? rows_walk(bytes, data->bytes, note_row, a, err) : rc;
}

static thea_rc put_row(struct arrays *a, struct turn *turn, struct thea_err *err)
{
    const char *numbers;
    struct gather row = {0};
    thea_rc rc = gather_view(&turn->data, &numbers, err);
    if (rc != THEA_OK) return rc;
    struct tensor t = tensor_1d("vector", TENSOR_F32, numbers, turn->data.bytes / sizeof(float));
    if (a->results == NULL) {
        return t.size_bytes > 0 ? npy_add(&a->npy, turn->id, t.data, t.shape[0], err) : THEA_OK;
    }
    if (t.size_bytes > 0) rc = rows_add(&row, NULL, turn->id, &t, err);
    if (rc == THEA_OK) rc = commit(a, turn, &row, err);
    gather_fini(&row);
    return rc;
}

thea_rc arrays_put(struct arrays *a, struct turn *turn, struct thea_err *err)
{
    if (a->complete) return too_late(a, err);
    if (a->format == FORMAT_NPY) return put_row(a, turn, err);
    return a->results != NULL ? commit(a, turn, &turn->data, err) : THEA_OK;
}

thea_rc arrays_finish(struct arrays *a, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    if (a->complete) return THEA_OK;
    thea_fault("sink.assemble");
    if (a->format == FORMAT_SAFETENSORS) return safetensors_writer_finish(a->tensors, &a->bytes, err);
    if (a->results != NULL) rc = walk_file(a, add_row, err);
    if (rc == THEA_OK) rc = npy_finish(&a->npy, err);
    a->bytes = a->npy.rows.bytes;
    return rc;
}
