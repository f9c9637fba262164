/* What a user names, as items: see load_impl.h. A run lists once; started again it reads what was listed. */
#include "stages/support/load_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool load_path_is_records(const struct load *l, const char *path)
{
    size_t n = strlen(path);
    if (l->format == FORMAT_AUTO) return n >= 6 && strcmp(path + n - 6, ".jsonl") == 0;
    return l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS;
}

const char *load_name(const struct load *l, size_t item)
{
    return glob_walk_relative(l->manifest.items[item].path, l->base_dir);
}

const char *load_path(const struct load *l, size_t item)
{
    const struct manifest_item *it = &l->manifest.items[item];
    return it->moved != NULL ? it->moved : it->path;
}

bool load_is_live(const struct load *l)
{
    return l->follow || l->listen != NULL;
}

/* Prompts are the first items. */
bool load_is_prompt(const struct load *l, size_t item, const char **text)
{
    if (l->manifest.items[item].kind != ITEM_PROMPT || item >= l->texts.count) return false;
    *text = l->texts.items[item];
    return true;
}

static void list_prompt(struct load *l)
{
    char id[32];
    snprintf(id, sizeof id, "prompt-%zu", l->manifest.item_count + 1);
    manifest_add(&l->manifest, ITEM_PROMPT, id, -1, 0);
}

thea_rc load_list_file(struct load *l, const char *path, struct thea_err *err)
{
    struct stat at;
    int64_t size = -1, mtime_ns = 0;
    if ((l->manifest.fd >= 0 || load_is_live(l)) && stat(path, &at) == 0) {
        if (!S_ISREG(at.st_mode))
            return thea_fail(err, THEA_EUSAGE,
                             "'%s' is a pipe or device: it cannot be read again after a crash\n"
                             "  try        - as its name, and < '%s' behind the command",
                             path, path);
        size = at.st_size;
        mtime_ns = at.st_mtim.tv_sec * INT64_C(1000000000) + at.st_mtim.tv_nsec;
    }
    manifest_add(&l->manifest, load_path_is_records(l, path) ? ITEM_RECORDS : ITEM_FILE, path, size,
                 mtime_ns);
    return THEA_OK;
}

static thea_rc list_stdin(struct load *l, struct thea_err *err)
{
    if (isatty(STDIN_FILENO) == 1)
        return thea_fail(
            err, THEA_EUSAGE,
            "nothing to load: stdin is a terminal\n  accepted   files, directories, globs, or text piped in\n"
            "  try        thea load notes/*.md | thea tokenize -m MODEL | …");
    for (size_t i = 0; i < l->manifest.item_count; i++) {
        if (l->manifest.items[i].kind == ITEM_STDIN)
            return thea_fail(err, THEA_EUSAGE, "'-' is named twice: stdin can be read once");
    }
    manifest_add(&l->manifest, ITEM_STDIN, "stdin", -1, 0);
    return THEA_OK;
}

static thea_rc list_operand(struct load *l, const char *operand, struct thea_err *err)
{
    if (strcmp(operand, "-") == 0) return list_stdin(l, err);
    if (l->follow) return THEA_OK; /* load_follow.c finds what there is and what will be */
    size_t before = l->walk.count;
    thea_rc rc = glob_walk_add(&l->walk, operand, err);
    for (size_t i = before; rc == THEA_OK && i < l->walk.count; i++)
        rc = load_list_file(l, l->walk.files[i], err);
    return rc;
}

/* In a run the path may be the pipeline's own, which names files that are not on every machine. */
static thea_rc add_hint(const struct stage *st, thea_rc rc, struct thea_err *err)
{
    if (rc != THEA_ENOINPUT || stage_run_dir(st) == NULL) return rc;
    struct thea_err plain = *err;
    return thea_fail(err, rc,
                     "%s\n  try        thea run PIPELINE FILE…   (files, directories, globs named there "
                     "replace the pipeline's paths)",
                     plain.message);
}

static void skipped(void *context, const char *path, const char *reason)
{
    struct stage *st = context;
    struct load *l = stage_state(st);
    stage_skipped(st, glob_walk_relative(path, l->base_dir), reason);
}

static thea_rc list_all(struct stage *st, struct load *l, struct thea_err *err)
{
    for (size_t i = 0; i < l->texts.count; i++) list_prompt(l);
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < l->paths.count; i++)
        rc = add_hint(st, list_operand(l, l->paths.items[i], err), err);
    bool nothing = l->paths.count == 0 && l->texts.count == 0 && l->listen == NULL;
    if (rc == THEA_OK && l->listen != NULL) manifest_add(&l->manifest, ITEM_LISTEN, "listen", -1, 0);
    if (rc == THEA_OK && nothing && l->follow)
        rc = thea_fail(err, THEA_EUSAGE, "nothing to follow: name directories, globs or files of JSON Lines");
    if (rc == THEA_OK && nothing) rc = list_stdin(l, err);
    if (rc == THEA_OK && l->follow) rc = load_follow_open(st, l, err);
    if (rc == THEA_OK) manifest_list_ends(&l->manifest);
    return rc;
}

/* Documents to come, if every item is one. */
static void expect(struct stage *st, struct load *l)
{
    l->expected = load_is_live(l) ? -1 : 0;
    for (size_t i = 0; l->expected >= 0 && i < l->manifest.item_count; i++) {
        const struct manifest_item *item = &l->manifest.items[i];
        bool one = item->kind == ITEM_PROMPT || item->kind == ITEM_FILE;
        if (!one && !item->done) l->expected = -1;
        if (l->expected < 0) return;
        l->expected += item->left_out ? 0 : one ? 1 : (int64_t)item->count;
    }
    if (l->expected > 0) stage_expect(st, (uint64_t)l->expected);
}

/* Ids are relative to `base`, by default the directory in which the run was first started. */
static thea_rc find_base(struct load *l, struct thea_err *err)
{
    if (l->manifest.base != NULL) {
        l->base_dir = strdup(l->manifest.base);
        if (l->base_dir == NULL) abort();
        return THEA_OK;
    }
    const char *base = l->base != NULL ? l->base : ".";
    l->base_dir = realpath(base, NULL);
    if (l->base_dir == NULL) return thea_fail(err, THEA_ENOINPUT, "base '%s': %s", base, strerror(errno));
    manifest_set_base(&l->manifest, l->base_dir);
    return THEA_OK;
}

thea_rc load_list(struct stage *st, struct load *l, struct thea_err *err)
{
    thea_rc rc = find_base(l, err);
    l->walk = (struct glob_walk){.exclude = &l->exclude, .skipped = skipped, .context = st};
    if (rc == THEA_OK && !l->manifest.listed)
        rc = list_all(st, l, err);
    else if (rc == THEA_OK && l->follow)
        rc = load_follow_open(st, l, err);
    if (rc == THEA_OK) rc = manifest_sync(&l->manifest, err);
    if (rc == THEA_OK) expect(st, l);
    return rc;
}
