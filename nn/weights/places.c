/* Where models lie: see places.h. */
#include "nn/weights/places.h"

#include "graph/buf.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char hub_prefix[] = "models--";

static char *format2(const char *a, const char *b)
{
    struct buf out = {0};
    buf_printf(&out, "%s/%s", a, b);
    return buf_take(&out);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool has_file(const char *dir, const char *file)
{
    char *path = format2(dir, file);
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void add(struct places *p, char *dir, bool hub)
{
    if (p->count < PLACES_MAX) {
        p->at[p->count++] = (struct place){dir, hub};
    } else {
        free(dir);
    }
}

static void add_model_path(struct places *p)
{
    const char *path = env("THEA_MODEL_PATH");
    while (path != NULL && *path != '\0') {
        size_t n = strcspn(path, ":");
        if (n > 0) add(p, strndup(path, n), false);
        path += n + (path[n] == ':');
    }
}

static void add_data_home(struct places *p)
{
    const char *data = env("XDG_DATA_HOME"), *home = env("HOME");
    if (data != NULL) {
        add(p, format2(data, "thea/models"), false);
    } else if (home != NULL) {
        add(p, format2(home, ".local/share/thea/models"), false);
    }
}

/* <prefix>/share/thea/models of bin/thea, or of libexec/thea/thea-KIND, which lies one deeper. */
static void add_prefix(struct places *p)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return;
    exe[n] = '\0';
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(exe, '/');
        if (slash == NULL) return;
        *slash = '\0';
        if (up == 0) continue; /* the program's own directory */
        char *dir = format2(exe, "share/thea/models");
        if (is_dir(dir)) {
            add(p, dir, false);
            return;
        }
        free(dir);
    }
}

static void add_hub(struct places *p)
{
    const char *cache = env("HF_HUB_CACHE"), *hf = env("HF_HOME"), *home = env("HOME");
    if (cache != NULL) {
        add(p, strdup(cache), true);
    } else if (hf != NULL) {
        add(p, format2(hf, "hub"), true);
    } else if (home != NULL) {
        add(p, format2(home, ".cache/huggingface/hub"), true);
    }
}

void places_init(struct places *p)
{
    *p = (struct places){0};
    add_model_path(p);
    add_data_home(p);
    add_prefix(p);
    add_hub(p);
}

void places_fini(struct places *p)
{
    for (size_t i = 0; i < p->count; i++) free(p->at[i].dir);
    *p = (struct places){0};
}

/* The snapshot that refs/main of a hub's model folder names. */
static char *hub_snapshot(const char *folder)
{
    char hash[128] = "";
    char *ref = format2(folder, "refs/main");
    FILE *f = fopen(ref, "re");
    free(ref);
    if (f == NULL) return NULL;
    size_t n = fread(hash, 1, sizeof hash - 1, f);
    fclose(f);
    hash[n] = '\0';
    hash[strcspn(hash, " \t\r\n")] = '\0';
    if (hash[0] == '\0' || hash[0] == '.' || strchr(hash, '/') != NULL) return NULL;
    struct buf out = {0};
    buf_printf(&out, "%s/snapshots/%s", folder, hash);
    char *dir = buf_take(&out);
    if (is_dir(dir)) return dir;
    free(dir);
    return NULL;
}

static char *hub_find(const char *hub, const char *name, bool *unfinished)
{
    struct buf folder = {0};
    buf_printf(&folder, "%s/%s", hub, hub_prefix);
    for (const char *c = name; *c != '\0'; c++)
        buf_add_text(&folder, *c == '/' ? "--" : (const char[]){*c, '\0'});
    char *dir = is_dir(folder.data) ? hub_snapshot(folder.data) : NULL;
    if (unfinished != NULL) *unfinished = dir == NULL && is_dir(folder.data);
    buf_fini(&folder);
    return dir;
}

/* A name stays below the place: "a", "a/b", no "..". */
static bool plain_name(const char *name)
{
    if (name[0] == '\0' || name[0] == '/') return false;
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n <= 2 && strncmp(part, "..", n) == 0)) return false;
        part += n;
        if (*part == '\0') return true;
    }
}

char *place_find(const struct place *p, const char *name, bool *unfinished)
{
    if (unfinished != NULL) *unfinished = false;
    if (!plain_name(name)) return NULL;
    if (p->hub) return hub_find(p->dir, name, unfinished);
    char *dir = format2(p->dir, name);
    if (is_dir(dir)) return dir;
    free(dir);
    return NULL;
}

typedef void (*visitor)(void *context, const char *name, const char *dir);

static void list_hub_entry(const char *hub, const char *entry, visitor visit, void *context)
{
    if (strncmp(entry, hub_prefix, sizeof hub_prefix - 1) != 0) return;
    char *folder = format2(hub, entry), *dir = hub_snapshot(folder);
    free(folder);
    if (dir == NULL) return;
    struct buf name = {0};
    for (const char *c = entry + sizeof hub_prefix - 1; *c != '\0'; c++) {
        if (c[0] == '-' && c[1] == '-') {
            buf_add_char(&name, '/');
            c++;
        } else {
            buf_add_char(&name, *c);
        }
    }
    if (name.len > 0 && has_file(dir, "config.json")) visit(context, name.data, dir);
    buf_fini(&name);
    free(dir);
}

static void list_directory(const char *dir, const char *org, visitor visit, void *context)
{
    DIR *d = opendir(dir);
    if (d == NULL) return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        char *path = format2(dir, e->d_name);
        char *name = org != NULL ? format2(org, e->d_name) : strdup(e->d_name);
        if (has_file(path, "config.json")) {
            visit(context, name, path);
        } else if (org == NULL && is_dir(path)) {
            list_directory(path, e->d_name, visit, context);
        }
        free(path);
        free(name);
    }
    closedir(d);
}

void place_list(const struct place *p, visitor visit, void *context)
{
    if (!p->hub) {
        list_directory(p->dir, NULL, visit, context);
        return;
    }
    DIR *d = opendir(p->dir);
    if (d == NULL) return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) list_hub_entry(p->dir, e->d_name, visit, context);
    closedir(d);
}
