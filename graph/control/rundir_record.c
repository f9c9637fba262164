/* run.json and pipeline.yaml: what the run was asked to do, so that it can be understood, and later resumed,
 * from its directory alone. */
#include "graph/control/rundir.h"
#include "graph/control/rundir_internal.h"
#include "graph/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct json_node *texts(char *const *list, size_t count)
{
    struct json_node *out = json_new_list();
    for (size_t i = 0; i < count; i++) json_append(out, json_new_string(list[i]));
    return out;
}

static size_t count_texts(char *const *list)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL) n++;
    return n;
}

/* The line "key : value" of /proc/cpuinfo, of the first processor; "" if there is none. free() it. */
static char *cpu_line(const char *key)
{
    char *line = NULL, *found = NULL;
    size_t room = 0, n = strlen(key);
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f != NULL && found == NULL && getline(&line, &room, f) > 0) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, n) != 0 || colon == NULL) continue;
        colon[strcspn(colon, "\n")] = '\0';
        found = strdup(colon + 1 + (colon[1] == ' '));
    }
    if (f != NULL) fclose(f);
    free(line);
    return found != NULL ? found : strdup("");
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        if ((at == text || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

struct json_node *rundir_cpu_node(void)
{
    static const char *const features[] = {"avx2",        "fma",         "f16c",     "avx512f", "avx512bw",
                                           "avx512_vnni", "avx512_bf16", "amx_tile", "asimd",   NULL};
    struct json_node *out = json_new_map(), *list = json_new_list();
    char *model = cpu_line("model name"), *flags = cpu_line("flags"), *arm = cpu_line("Features");
    for (size_t i = 0; features[i] != NULL; i++)
        if (has_word(flags, features[i]) || has_word(arm, features[i]))
            json_append(list, json_new_string(features[i]));
    json_put(out, "model", json_new_string(model));
    json_put(out, "features", list);
    json_put(out, "count", json_new_int(sysconf(_SC_NPROCESSORS_ONLN)));
    free(model);
    free(flags);
    free(arm);
    return out;
}

static const struct spec_option *find_given(const struct spec_stage *stage, const char *name)
{
    for (size_t i = 0; name != NULL && i < stage->option_count; i++)
        if (strcmp(stage->options[i].name, name) == 0) return &stage->options[i];
    return NULL;
}

static struct json_node *value_node(struct json_node *value, const char *from)
{
    struct json_node *out = json_new_map();
    json_put(out, "value", value);
    json_put(out, "from", json_new_string(from));
    return out;
}

/* Every option of the kind with its value and where that is from: given for the stage, a key of the whole
 * pipeline, the kind's default. */
static struct json_node *options_node(const struct spec_stage *stage)
{
    struct json_node *out = json_new_map();
    for (size_t i = 0; i < stage->option_count; i++) {
        const struct spec_option *o = &stage->options[i];
        struct json_node *value =
            o->is_list ? texts(o->values, o->count) : json_new_string(o->count > 0 ? o->values[0] : NULL);
        json_put(out, o->name, value_node(value, "given"));
    }
    const struct json_node *table = json_member(stage->table, "options");
    for (size_t i = 0; i < json_count(table); i++) {
        const struct json_node *option = json_item(table, i);
        const char *name = json_text_or(option, "name", NULL), *def = json_text_or(option, "default", NULL);
        const char *value = json_text_or(option, "value", def);
        if (name == NULL || value == NULL || find_given(stage, name) != NULL) continue;
        bool is_default = def != NULL && strcmp(value, def) == 0;
        json_put(out, name,
                 value_node(json_new_string(value),
                            is_default ? "default" : "pipeline")); /* its `model`, its `threads` */
    }
    return out;
}

static struct json_node *stages_node(const struct spec *spec)
{
    struct json_node *out = json_new_map();
    for (size_t i = 0; i < spec->stage_count; i++) {
        const struct spec_stage *stage = &spec->stages[i];
        struct json_node *one = json_new_map();
        json_put(one, "kind", json_new_string(stage->kind));
        json_put(one, "program", json_new_string(stage->program));
        json_put(one, "version", json_new_string(json_text_or(stage->table, "version", NULL)));
        json_put(one, "model", json_new_string(stage->model));
        json_put(one, "threads", json_new_int(stage->threads));
        json_put(one, "split", json_new_int(stage->split));
        json_put(one, "replicas", json_new_int(stage->replicas));
        json_put(one, "window", json_new_int(stage->window));
        json_put(one, "spill", json_new_int(stage->spill_bytes));
        json_put(one, "options", options_node(stage));
        json_put(out, stage->name, one);
    }
    return out;
}

static struct json_node *processes_node(const struct plan *plan)
{
    struct json_node *out = json_new_list();
    for (size_t i = 0; i < plan->process_count; i++) {
        const struct plan_process *p = &plan->processes[i];
        struct json_node *one = json_new_map();
        json_put(one, "name", json_new_string(p->name));
        json_put(one, "argv", texts(p->argv, count_texts(p->argv)));
        json_put(one, "env", texts(p->env, count_texts(p->env)));
        json_append(out, one);
    }
    return out;
}

static struct json_node *time_node(void)
{
    char text[40];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_new_string(text);
}

/* Variables that choose kernels: a resumed run is given the same. */
static struct json_node *environment_node(void)
{
    static const char *const names[] = {"THEA_KERNELS", "OPENBLAS_CORETYPE", NULL};
    struct json_node *out = json_new_map();
    for (size_t i = 0; names[i] != NULL; i++) json_put(out, names[i], json_new_string(getenv(names[i])));
    return out;
}

static struct json_node *run_node(const struct plan *plan)
{
    char run[24];
    snprintf(run, sizeof run, "%016llx", (unsigned long long)plan->run);
    return json_new_string(run);
}

static struct json_node *record_node(const struct rundir *r, const struct plan *plan, int argc, char **argv)
{
    struct json_node *out = json_new_map();
    char host[256] = "", *cwd = getcwd(NULL, 0);
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    json_put(out, "name", json_new_string(r->name));
    json_put(out, "run", run_node(plan));
    json_put(out, "version", json_new_string(THEA_VERSION));
    json_put(out, "started", time_node());
    json_put(out, "command", texts(argv, (size_t)argc));
    json_put(out, "cwd", json_new_string(cwd));
    json_put(out, "host", json_new_string(host));
    json_put(out, "pid", json_new_int(getpid()));
    json_put(out, "cpu", rundir_cpu_node());
    json_put(out, "environment", environment_node());
    if (plan->spec != NULL) {
        json_put(out, "pipeline", json_new_string(plan->spec->file));
        json_put(out, "stages", stages_node(plan->spec));
    }
    json_put(out, "processes", processes_node(plan));
    free(cwd);
    return out;
}

static thea_rc write_record(struct rundir *r, struct json_node *record, struct thea_err *err)
{
    char *text = json_print(record, 2, 0);
    thea_rc rc = rundir_write(r, "run.json", text, strlen(text), err);
    free(text);
    json_free(record);
    return rc;
}

thea_rc rundir_record_again(struct rundir *r, const struct plan *plan, struct json_node *record,
                            struct thea_err *err)
{
    const struct json_node *before = json_member(record, "resumed");
    struct json_node *resumed = before != NULL ? json_copy_node(before) : json_new_list();
    json_append(resumed, time_node());
    json_put(record, "resumed", resumed);
    json_put(record, "run", run_node(plan));
    json_put(record, "pid", json_new_int(getpid()));
    json_put(record, "processes", processes_node(plan));
    if (unlinkat(r->fd, "report.json", 0) != 0 && errno != ENOENT) {
        json_free(record);
        return thea_fail(err, THEA_EIO, "cannot remove %s/report.json: %s", r->path, strerror(errno));
    }
    return write_record(r, record, err);
}

/* run.json last: a directory that has it has all that resume needs. */
thea_rc rundir_record(struct rundir *r, const struct plan *plan, int argc, char **argv, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    if (plan->spec != NULL) {
        struct buf yaml = {0};
        spec_print(plan->spec, &yaml);
        rc = rundir_write(r, "pipeline.yaml", buf_text(&yaml), yaml.len, err);
        buf_fini(&yaml);
    }
    return rc == THEA_OK ? write_record(r, record_node(r, plan, argc, argv), err) : rc;
}
