/* Going on with a run that was broken off: its directory, what it froze at its first start, and its new
 * command lines. Invariant: a resumed run computes what the first start would have, or is refused. */
#include "graph/control/rundir.h"
#include "graph/control/rundir_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MAX_BYTES = 64 << 20 };

static bool holds_record(const char *path)
{
    struct buf file = {0};
    buf_printf(&file, "%s/run.json", path);
    bool holds = access(file.data, F_OK) == 0;
    buf_fini(&file);
    return holds;
}

thea_rc rundir_open(struct rundir *out, const char *path, struct thea_err *err)
{
    *out = (struct rundir){.fd = -1, .lock_fd = -1};
    out->path = realpath(path, NULL);
    if (out->path == NULL)
        return thea_fail(err, THEA_ENOINPUT, "cannot open the run directory %s: %s", path, strerror(errno));
    thea_rc rc = holds_record(out->path)
                     ? rundir_take_lock(out, err)
                     : thea_fail(err, THEA_ENOINPUT, "%s holds no run: it has no run.json", out->path);
    if (rc != THEA_OK) {
        rundir_close(out);
        return rc;
    }
    rundir_set_name(out);
    return THEA_OK;
}

static thea_rc read_json(struct json_node **out, const struct rundir *r, const char *name,
                         struct thea_err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", r->path, name);
    thea_rc rc = json_read_file(out, path.data, RECORD_MAX_BYTES, err);
    buf_fini(&path);
    return rc;
}

thea_rc rundir_read_record(struct json_node **out, const struct rundir *r, struct thea_err *err)
{
    return read_json(out, r, "run.json", err);
}

bool rundir_is_done(const struct rundir *r)
{
    struct json_node *report = NULL;
    bool done = read_json(&report, r, "report.json", NULL) == THEA_OK &&
                strcmp(json_text_or(report, "end", ""), "done") == 0;
    json_free(report);
    return done;
}

/* --- is it the same machine, as far as numbers go? --- */

static bool same_list(const struct json_node *a, const struct json_node *b)
{
    if (json_count(a) != json_count(b)) return false;
    for (size_t i = 0; i < json_count(a); i++) {
        const char *x = json_text(json_item(a, i), NULL), *y = json_text(json_item(b, i), NULL);
        if (x == NULL || y == NULL || strcmp(x, y) != 0) return false;
    }
    return true;
}

static void add_list(struct buf *out, const struct json_node *list)
{
    for (size_t i = 0; i < json_count(list); i++) {
        const char *text = json_text(json_item(list, i), NULL);
        buf_printf(out, "%s%s", i > 0 ? " " : "", text != NULL ? text : "?");
    }
    if (json_count(list) == 0) buf_add_text(out, "none");
}

thea_rc rundir_check_same(const struct json_node *record, struct thea_err *err)
{
    struct json_node *now = rundir_cpu_node();
    const struct json_node *then = json_path(record, "cpu.features"), *here = json_member(now, "features");
    const char *version = json_text_or(record, "version", "?");
    struct buf text = {0};
    if (strcmp(version, THEA_VERSION) != 0)
        buf_printf(&text, "\n  thea       %s then, " THEA_VERSION " now", version);
    if (!same_list(then, here)) {
        buf_add_text(&text, "\n  CPU then   ");
        add_list(&text, then);
        buf_add_text(&text, "\n  CPU now    ");
        add_list(&text, here);
    }
    json_free(now);
    thea_rc rc = THEA_OK;
    if (text.len > 0)
        rc = thea_fail(err, THEA_EUSAGE,
                       "results could differ in their last digits from those of the run's first start%s\n"
                       "  go on all the same: --mixed",
                       text.data);
    buf_fini(&text);
    return rc;
}

/* --- the frozen command lines --- */

static const struct json_node *find_process(const struct json_node *record, const char *name)
{
    const struct json_node *list = json_member(record, "processes");
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(json_text_or(json_item(list, i), "name", ""), name) == 0) return json_item(list, i);
    return NULL;
}

/* The word, with the addresses of the old start made into those of this one. */
static char *renew(const char *word, const char *old, const char *now)
{
    struct buf out = {0};
    const char *at;
    while ((at = strstr(word, old)) != NULL) {
        buf_add(&out, word, (size_t)(at - word));
        buf_add_text(&out, now);
        word = at + strlen(old);
    }
    buf_add_text(&out, word);
    return buf_take(&out);
}

static char **renew_all(const struct json_node *words, const char *old, const char *now)
{
    char **out = calloc(json_count(words) + 1, sizeof *out);
    if (out == NULL) abort();
    for (size_t i = 0; i < json_count(words); i++) {
        const char *word = json_text(json_item(words, i), NULL);
        out[i] = renew(word != NULL ? word : "", old, now);
    }
    return out;
}

static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) free(words[i]);
    free(words);
}

static void thaw_environment(const struct json_node *record)
{
    for (struct json_iter it = json_iter(json_member(record, "environment")); json_next(&it);) {
        const char *value = json_text(it.value, NULL);
        if (value != NULL)
            setenv(it.key, value, 1);
        else
            unsetenv(it.key);
    }
}

/* Are the plan's processes those of the record? */
static bool same_processes(const struct plan *plan, const struct json_node *record)
{
    if (json_count(json_member(record, "processes")) != plan->process_count) return false;
    for (size_t i = 0; i < plan->process_count; i++)
        if (find_process(record, plan->processes[i].name) == NULL) return false;
    return true;
}

thea_rc rundir_read_replicas(struct spec *spec, bool *changed, const struct rundir *r, struct thea_err *err)
{
    struct json_node *map = NULL;
    *changed = faccessat(r->fd, "replicas", F_OK, 0) == 0;
    thea_rc rc = *changed ? read_json(&map, r, "replicas", err) : THEA_OK;
    for (size_t i = 0; rc == THEA_OK && map != NULL && i < spec->stage_count; i++) {
        struct spec_stage *stage = &spec->stages[i];
        int64_t n = json_int_or(map, stage->name, stage->replicas);
        if (n < 1 || n > INT16_MAX)
            rc = thea_fail(err, THEA_EDATA, "%s/replicas: stage %s has %lld replicas", r->path, stage->name,
                           (long long)n);
        else
            stage->replicas = (int)n;
    }
    json_free(map);
    return rc;
}

thea_rc rundir_thaw(struct plan *plan, const struct json_node *record, bool changed, struct thea_err *err)
{
    char now[24];
    const char *old = json_text_or(record, "run", "");
    snprintf(now, sizeof now, "%016" PRIx64, plan->run);
    if (changed && strlen(old) == 16 && !same_processes(plan, record)) {
        thaw_environment(record);
        return THEA_OK;
    }
    if (strlen(old) != 16 || json_count(json_member(record, "processes")) != plan->process_count)
        return thea_fail(err, THEA_EDATA, "run.json does not fit pipeline.yaml: %zu processes, expected %zu",
                         json_count(json_member(record, "processes")), plan->process_count);
    for (size_t i = 0; i < plan->process_count; i++) {
        struct plan_process *p = &plan->processes[i];
        const struct json_node *one = find_process(record, p->name);
        if (one == NULL || json_count(json_member(one, "argv")) == 0)
            return thea_fail(err, THEA_EDATA, "run.json does not fit pipeline.yaml: it has no process %s",
                             p->name);
        free_words(p->argv);
        free_words(p->env);
        p->argv = renew_all(json_member(one, "argv"), old, now);
        p->env = renew_all(json_member(one, "env"), old, now);
    }
    thaw_environment(record);
    return THEA_OK;
}
