/* A pipeline file to a checked spec: see spec.h. This file finds files and runs the steps; each step goes on
 * after mistakes, so that all are told. */
#include "graph/control/spec_internal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *spec_must(void *memory)
{
    if (memory == NULL) abort(); /* out of memory */
    return memory;
}

/* --- reporting --- */

bool spec_from_cli(const struct yaml_node *node)
{
    return node->place.line == 0;
}

void spec_report_rc(struct spec_reader *r, thea_rc rc, const char *code, const struct yaml_node *at,
                    const char *details, const char *text)
{
    bool cli = spec_from_cli(at);
    if (cli && diag_count(r->cli) == 0) r->cli_rc = rc;
    if (!cli && rc == THEA_EDATA) r->damaged++;
    diag_add(cli ? r->cli : r->diags, code, at->place, details, "%s", text);
}

void spec_report(struct spec_reader *r, const char *code, const struct yaml_node *at, const char *details,
                 const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) abort();
    va_end(args);
    spec_report_rc(r, THEA_EUSAGE, code, at, details, text);
    free(text);
}

void spec_add_nearest(struct buf *message, const char *word, const char *const *names)
{
    const char *near = value_nearest(word, names);
    if (near != NULL) buf_printf(message, " (did you mean '%s'?)", near);
}

/* The first mistake of the command line, as an error: "--set layers.chunk=0: …". */
static thea_rc cli_failure(const struct spec_reader *r, struct thea_err *err)
{
    struct buf text = {0};
    diag_print_cli(r->cli, &text);
    thea_fail(err, r->cli_rc, "%s", buf_text(&text));
    buf_fini(&text);
    return r->cli_rc;
}

/* --- finding the file --- */

static bool is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') != NULL || (n > 5 && strcmp(name + n - 5, ".yaml") == 0) ||
           (n > 4 && strcmp(name + n - 4, ".yml") == 0);
}

/* The folders of pipelines, by ':'; free it. */
static char *pipeline_folders(void)
{
    struct buf b = {0};
    const char *path = getenv("THEA_PIPELINE_PATH");
    buf_add_text(&b, "./pipelines:");
    if (path != NULL && path[0] != '\0') buf_printf(&b, "%s:", path);
    buf_printf(&b, "%s/share/thea/pipelines", kind_prefix());
    return buf_take(&b);
}

/* Names of the pipelines in a folder, added to a NULL-terminated list. */
static void list_pipelines(const char *folder, char ***names, size_t *count)
{
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n <= 5 || strcmp(e->d_name + n - 5, ".yaml") != 0) continue;
        *names = spec_must(realloc(*names, (*count + 2) * sizeof(char *)));
        (*names)[(*count)++] = spec_must(strndup(e->d_name, n - 5));
        (*names)[*count] = NULL;
    }
    if (dir != NULL) closedir(dir);
}

static thea_rc no_such_pipeline(const char *name, const char *folders, struct thea_err *err)
{
    char **names = spec_must(calloc(1, sizeof(char *))), *copy = spec_must(strdup(folders)), *rest = copy,
         *folder;
    size_t count = 0;
    while ((folder = strsep(&rest, ":")) != NULL) list_pipelines(folder, &names, &count);
    struct buf near = {0}, looked = {0};
    spec_add_nearest(&near, name, (const char *const *)names);
    for (const char *p = folders; *p != '\0'; p++) {
        if (*p == ':')
            buf_add_text(&looked, ", ");
        else
            buf_add_char(&looked, *p);
    }
    thea_fail(err, THEA_ENOINPUT, "no pipeline '%s'%s\n  looked in  %s\n  a path has a '/' or ends in .yaml",
              name, buf_text(&near), buf_text(&looked));
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    free(copy);
    buf_fini(&near);
    buf_fini(&looked);
    return THEA_ENOINPUT;
}

thea_rc spec_find(char **path, const char *name, struct thea_err *err)
{
    if (strcmp(name, "-") == 0 || is_path(name)) {
        if (strcmp(name, "-") != 0 && access(name, F_OK) != 0)
            return thea_fail(err, THEA_ENOINPUT, "%s: %s", name, strerror(errno));
        *path = spec_must(strdup(name));
        return THEA_OK;
    }
    char *folders = pipeline_folders(), *copy = spec_must(strdup(folders)), *rest = copy, *folder;
    thea_rc rc = THEA_ENOINPUT;
    while (rc != THEA_OK && (folder = strsep(&rest, ":")) != NULL) {
        struct buf b = {0};
        buf_printf(&b, "%s/%s.yaml", folder, name);
        if (access(buf_text(&b), F_OK) == 0) rc = THEA_OK, *path = buf_take(&b);
        buf_fini(&b);
    }
    if (rc != THEA_OK) rc = no_such_pipeline(name, folders, err);
    free(folders);
    free(copy);
    return rc;
}

/* --- reading it --- */

static thea_rc read_all(struct buf *out, const char *path, struct thea_err *err)
{
    bool from_stdin = strcmp(path, "-") == 0;
    FILE *file = from_stdin ? stdin : fopen(path, "rbe");
    if (file == NULL)
        return thea_fail(err, errno == ENOENT || errno == ENOTDIR ? THEA_ENOINPUT : THEA_EIO, "%s: %s", path,
                         strerror(errno));
    size_t got = 0;
    do {
        got = fread(buf_reserve(out, 1 << 16), 1, 1 << 16, file);
        out->len += got;
    } while (got > 0 && out->len <= YAML_TEXT_MAX);
    thea_rc rc = ferror(file) ? thea_fail(err, THEA_EIO, "%s: %s", path, strerror(errno)) : THEA_OK;
    if (!from_stdin) fclose(file);
    buf_reserve(out, 0);
    out->data[out->len] = '\0';
    return rc;
}

thea_rc spec_load(struct spec **out, const char *path, const struct spec_overrides *o,
                  struct diag_list *diags, struct thea_err *err)
{
    struct buf text = {0};
    thea_rc rc = read_all(&text, path, err);
    if (rc == THEA_OK) rc = spec_parse(out, buf_text(&text), text.len, path, 1, o, diags, err);
    buf_fini(&text);
    return rc;
}

static void open_reader(struct spec_reader *r, const char *file)
{
    r->spec = spec_must(calloc(1, sizeof *r->spec));
    r->cli = diag_list_new();
    r->cwd = spec_must(getcwd(NULL, 0));
    bool real = strcmp(file, "-") != 0;
    r->spec->file =
        real ? realpath(file, NULL)
             : spec_must(strdup("-")); /* through links, so that ".." in it means what its author saw */
    if (r->spec->file == NULL) r->spec->file = spec_absolute(file, r->cwd);
    r->dir = spec_must(strdup(real ? r->spec->file : r->cwd));
    if (real) strrchr(r->dir, '/')[strrchr(r->dir, '/') == r->dir] = '\0';
}

static void close_reader(struct spec_reader *r)
{
    diag_list_free(r->cli);
    yaml_node_free(r->root);
    for (size_t i = 0; i < r->label_count; i++) free(r->labels[i]);
    free(r->labels);
    free(r->drafts);
    free(r->dir);
    free(r->cwd);
}

static thea_rc read_spec(struct spec_reader *r, struct thea_err *err)
{
    if (r->root->sort != YAML_IS_MAP) {
        spec_report(r, "E012", r->root, "it begins with keys such as `name:`, `model:` and `stages:`",
                    "a pipeline file is a map, this is %s", yaml_sort_name(r->root));
        return THEA_OK;
    }
    thea_rc rc = spec_apply_sets(r, err);
    if (rc != THEA_OK) return rc;
    spec_read_top(r);
    spec_read_stages(r);
    rc = spec_apply_operands(r, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = 0; i < r->spec->stage_count; i++) spec_read_options(r, i);
    for (size_t i = 0; i < r->spec->stage_count; i++) spec_describe(r, i);
    spec_check_common(r);
    spec_read_edges(r);
    spec_decide_rows(r);
    spec_check_split(r);
    spec_check_links(r);
    return THEA_OK;
}

thea_rc spec_parse(struct spec **out, const char *text, size_t len, const char *file, size_t first_line,
                   const struct spec_overrides *o, struct diag_list *diags, struct thea_err *err)
{
    static const struct spec_overrides none;
    struct spec_reader r = {.file = file, .diags = diags, .overrides = o != NULL ? o : &none};
    size_t before = diag_count(diags);
    if (first_line == 1) diag_source(diags, file, text, len);
    open_reader(&r, file);
    r.root = yaml_read(text, len, file, first_line, diags);
    thea_rc rc = THEA_OK;
    if (r.root != NULL) yaml_expand(r.root, diags), rc = read_spec(&r, err);
    size_t mistakes = diag_count(diags) - before;
    if (rc == THEA_OK && diag_count(r.cli) > 0) rc = cli_failure(&r, err);
    if (rc == THEA_OK && mistakes > 0)
        rc = thea_fail(err, r.damaged == mistakes ? THEA_EDATA : THEA_ECONFIG, "%zu error%s in %s", mistakes,
                       mistakes > 1 ? "s" : "", file);
    if (rc != THEA_OK)
        spec_free(r.spec);
    else
        *out = r.spec;
    close_reader(&r);
    return rc;
}

void spec_free(struct spec *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->stage_count; i++) {
        struct spec_stage *st = &s->stages[i];
        for (size_t k = 0; k < st->option_count; k++) spec_option_fini(&st->options[k]);
        for (size_t k = 0; st->env != NULL && st->env[k] != NULL; k++) free(st->env[k]);
        free(st->options);
        free(st->env);
        free(st->name), free(st->kind), free(st->program), free(st->model);
        free((char *)(uintptr_t)st->place.file);
    }
    for (size_t i = 0; i < s->edge_count; i++) free(s->edges[i].pattern);
    free(s->stages);
    free(s->edges);
    free(s->file), free(s->name), free(s->doc);
    free(s);
}
