/* Models by name: see find.h. Invariant: a directory that is handed out holds every file that the caller
 * asked for, and none of them is a pointer that git-lfs left in its place. */
#include "nn/weights/find.h"

#include "graph/buf.h"
#include "graph/value.h"
#include "nn/weights/places.h"
#include "nn/weights/weights.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_SHOWN = 8 };

struct names {
    struct {
        char *name, *dir;
    } * at;
    size_t count;
};

static void collect(void *context, const char *name, const char *dir)
{
    struct names *n = context;
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->at[i].name, name) == 0) return; /* an earlier place wins */
    }
    void *grown = reallocarray(n->at, n->count + 1, sizeof *n->at);
    if (grown == NULL) abort();
    n->at = grown;
    n->at[n->count].name = strdup(name);
    n->at[n->count++].dir = strdup(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_init(struct names *n)
{
    struct places places;
    *n = (struct names){0};
    places_init(&places);
    for (size_t i = 0; i < places.count; i++) place_list(&places.at[i], collect, n);
    places_fini(&places);
    if (n->count > 0) qsort(n->at, n->count, sizeof *n->at, by_name);
}

static void names_fini(struct names *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->at[i].name);
        free(n->at[i].dir);
    }
    free(n->at);
}

void model_list(void (*visit)(void *context, const char *name, const char *dir), void *context)
{
    struct names n;
    names_init(&n);
    for (size_t i = 0; i < n.count; i++) visit(context, n.at[i].name, n.at[i].dir);
    names_fini(&n);
}

static void add_short_path(struct buf *out, const char *path)
{
    const char *home = getenv("HOME");
    size_t n = home != NULL ? strlen(home) : 0;
    if (n > 1 && strncmp(path, home, n) == 0 && path[n] == '/') {
        buf_printf(out, "~%s", path + n);
    } else {
        buf_add_text(out, path);
    }
}

static void add_here_now(struct buf *out, const struct names *n)
{
    buf_add_text(out, "\n  here now   ");
    if (n->count == 0) buf_add_text(out, "none");
    for (size_t i = 0; i < n->count && i < NAMES_SHOWN; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", n->at[i].name);
    buf_printf(out, "%s   (thea models)", n->count > NAMES_SHOWN ? ", …" : "");
}

static void add_nearest(struct buf *out, const struct names *n, const char *name)
{
    const char **words = calloc(n->count + 1, sizeof *words);
    if (words == NULL) return;
    for (size_t i = 0; i < n->count; i++) words[i] = n->at[i].name;
    const char *near = value_nearest(name, words);
    if (near != NULL) buf_printf(out, " (did you mean '%s'?)", near);
    free(words);
}

static thea_rc not_found(const char *name, const struct places *places, struct thea_err *err)
{
    struct buf text = {0};
    struct names here;
    bool path = name[0] == '/' || name[0] == '.' || name[0] == '~';
    names_init(&here);
    buf_printf(&text, path ? "there is no model at '%s'" : "model '%s' is not on this machine", name);
    add_nearest(&text, &here, name);
    if (!path) {
        buf_add_text(&text, "\n  looked in  .");
        for (size_t i = 0; i < places->count; i++) {
            buf_add_text(&text, ", ");
            add_short_path(&text, places->at[i].dir);
        }
        buf_printf(&text, "\n  get it     hf download %s   (pip install huggingface_hub; or huggingface-cli)",
                   name);
        buf_add_text(&text,
                     "\n  or         copy its directory here from another machine and name it: -m DIR");
    }
    add_here_now(&text, &here);
    thea_rc rc = thea_fail(err, THEA_ENOINPUT, "%s", text.data);
    names_fini(&here);
    buf_fini(&text);
    return rc;
}

static bool is_there(const char *dir, const char *file)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, file);
    bool there = access(path.data, F_OK) == 0;
    buf_fini(&path);
    return there;
}

/* Is dir/file there, and is it the file itself? Errors: THEA_EDATA for a git-lfs pointer. */
static thea_rc look(bool *there, const char *dir, const char *file, struct thea_err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", dir, file);
    FILE *f = fopen(path.data, "re");
    *there = f != NULL || is_there(dir, file);
    thea_rc rc = THEA_OK;
    if (f != NULL) {
        static const char mark[] = "version https://git-lfs.github.com/spec/";
        char head[sizeof mark - 1];
        if (fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, mark, sizeof head) == 0) {
            rc = thea_fail(
                err, THEA_EDATA,
                "%s is a git-lfs pointer, not the file itself\n  get it  git lfs pull, in the clone",
                path.data);
        }
        fclose(f);
    }
    buf_fini(&path);
    return rc;
}

static size_t count_gguf(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        n += len > 5 && strcmp(e->d_name + len - 5, ".gguf") == 0;
    }
    if (d != NULL) closedir(d);
    return n;
}

static thea_rc no_config(const char *dir, struct thea_err *err)
{
    size_t gguf = count_gguf(dir);
    if (gguf > 1)
        return thea_fail(err, THEA_EDATA, "%s has %zu .gguf files: name the one that is meant", dir, gguf);
    if (gguf == 1) {
        return thea_fail(err, THEA_EDATA,
                         "%s has a GGUF file, which this version does not read\n"
                         "  needed  config.json and model.safetensors, as Hugging Face directories have them",
                         dir);
    }
    return thea_fail(err, THEA_ENOINPUT, "%s is not a model: it has no config.json", dir);
}

/* tokenizer.json, or the vocab.txt that older encoders have in its place. */
static thea_rc check_tokenizer(const char *dir, struct thea_err *err)
{
    bool there;
    thea_rc rc = look(&there, dir, "tokenizer.json", err);
    if (rc == THEA_OK && !there) rc = look(&there, dir, "vocab.txt", err);
    if (rc != THEA_OK || there) return rc;
    if (!is_there(dir, "config.json"))
        return thea_fail(err, THEA_ENOINPUT,
                         "%s is not a model: it has neither config.json nor tokenizer.json", dir);
    return thea_fail(err, THEA_ENOINPUT, "%s has no tokenizer: tokenizer.json is missing (and vocab.txt too)",
                     dir);
}

static thea_rc check_needs(const char *dir, find_needs needs, struct thea_err *err)
{
    bool there;
    thea_rc rc = THEA_OK;
    if (needs & (FIND_CONFIG | FIND_WEIGHTS)) {
        rc = look(&there, dir, "config.json", err);
        if (rc == THEA_OK && !there) rc = no_config(dir, err);
    }
    if (rc == THEA_OK && (needs & FIND_TOKENIZER)) rc = check_tokenizer(dir, err);
    if (rc == THEA_OK && (needs & FIND_WEIGHTS)) {
        rc = weights_check(dir, err);
        if (rc == THEA_OK) rc = look(&there, dir, "model.safetensors", err);
    }
    return rc;
}

/* A path to something that is no directory. */
static thea_rc not_a_directory(const char *name, struct thea_err *err)
{
    size_t n = strlen(name);
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) {
        return thea_fail(
            err, THEA_EDATA,
            "%s is a GGUF file, which this version does not read\n"
            "  needed  a directory with config.json and model.safetensors, as Hugging Face has them",
            name);
    }
    return thea_fail(err, THEA_EDATA, "%s is a file; a model is a directory with config.json and its weights",
                     name);
}

static thea_rc find_dir(char **out, const char *name, struct thea_err *err)
{
    struct stat st;
    if (stat(name, &st) == 0) {
        if (!S_ISDIR(st.st_mode)) return not_a_directory(name, err);
        *out = strdup(name);
        return THEA_OK;
    }
    struct places places;
    places_init(&places);
    bool unfinished = false;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < places.count && *out == NULL && !unfinished; i++)
        *out = place_find(&places.at[i], name, &unfinished);
    if (unfinished) {
        rc = thea_fail(err, THEA_ENOINPUT,
                       "model '%s': the Hugging Face cache has its folder, but no whole snapshot of 'main': "
                       "an unfinished download\n"
                       "  get it  hf download %s",
                       name, name);
    } else if (*out == NULL) {
        rc = not_found(name, &places, err);
    }
    places_fini(&places);
    return rc;
}

thea_rc model_find(char **out, const char *name, find_needs needs, struct thea_err *err)
{
    *out = NULL;
    if (name == NULL) name = getenv("THEA_MODEL");
    if (name == NULL || name[0] == '\0') {
        return thea_fail(
            err, THEA_EUSAGE,
            "no model: name one with -m MODEL, or set THEA_MODEL (thea models lists those found)");
    }
    char *dir = NULL;
    thea_rc rc = find_dir(&dir, name, err);
    if (rc == THEA_OK) rc = check_needs(dir, needs, err);
    if (rc == THEA_OK) {
        *out = realpath(dir, NULL);
        if (*out == NULL) rc = thea_fail(err, THEA_EIO, "cannot resolve %s", dir);
    }
    free(dir);
    return rc;
}
