/* Finding runs: see runs.h.
 *
 * Invariant: a run is live if somebody of our user answers on its socket. The lock of its directory is not
 * tried: whoever tries a flock holds it for a moment, and a run that starts just then would be refused. */
#include "graph/control/runs.h"

#include "graph/buf.h"
#include "graph/control/run_socket.h"
#include "graph/control/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTED_MAX = 12, WHO_MS = 3000 };
#define SOCKET_PREFIX "@thea-run-" /* as /proc/net/unix writes an abstract name */

/* --- entries --- */

void runs_entry_fini(struct runs_entry *e)
{
    free(e->name);
    free(e->path);
    free(e->from);
    channel_free(e->channel);
    *e = (struct runs_entry){0};
}

void runs_free(struct runs *runs)
{
    for (size_t i = 0; i < runs->count; i++) runs_entry_fini(&runs->items[i]);
    free(runs->items);
    *runs = (struct runs){0};
}

static struct runs_entry *add_entry(struct runs *runs)
{
    runs->items = realloc(runs->items, (runs->count + 1) * sizeof *runs->items);
    if (runs->items == NULL) abort();
    struct runs_entry *e = &runs->items[runs->count++];
    *e = (struct runs_entry){0};
    return e;
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) abort();
    return copy;
}

static thea_rc ask_within(struct json_node **answer, struct runs_entry *e, const char *ask, int timeout_ms,
                          struct thea_err *err)
{
    struct json_node *question = json_new_map();
    json_put(question, "ask", json_new_string(ask));
    return run_socket_ask(answer, e->channel, question, timeout_ms, err);
}

thea_rc runs_ask(struct json_node **answer, struct runs_entry *e, const char *ask, struct thea_err *err)
{
    return ask_within(answer, e, ask, RUNS_ANSWER_MS, err);
}

/* As it is everywhere, whatever directory one stands in; free() it. */
static char *canonical(const char *path)
{
    char *real = realpath(path, NULL);
    return real != NULL ? real : copy_text(path);
}

/* --- live runs --- */

/* Who listens on that name? THEA_AGAIN: nobody that concerns us; THEA_ETIMEOUT. base NULL: any run. */
static thea_rc open_live(struct runs_entry *out, const char *socket, const char *base)
{
    struct runs_entry e = {0};
    struct json_node *who = NULL;
    if (run_socket_connect(&e.channel, socket, NULL) != THEA_OK) return THEA_AGAIN;
    thea_rc rc = ask_within(&who, &e, "who", WHO_MS, NULL);
    const char *theirs = json_text_or(who, "runs", ""), *from = json_text_or(who, "from", NULL);
    if (rc == THEA_OK && (base == NULL || strcmp(theirs, base) == 0)) {
        e.name = copy_text(json_text_or(who, "name", "?"));
        e.path = copy_text(json_text_or(who, "directory", "?"));
        e.from = from != NULL ? copy_text(from) : NULL;
        e.pid = (pid_t)json_int_or(who, "pid", 0);
        *out = e;
        e = (struct runs_entry){0};
    } else if (rc != THEA_ETIMEOUT) {
        rc = THEA_AGAIN;
    }
    json_free(who);
    runs_entry_fini(&e);
    return rc;
}

static bool is_known(const struct runs *runs, const char *path)
{
    for (size_t i = 0; i < runs->count; i++)
        if (strcmp(runs->items[i].path, path) == 0) return true;
    return false;
}

/* A line of /proc/net/unix ends with the socket's name; connected ends have the listener's name too. */
static thea_rc list_live(struct runs *runs, const char *base, struct thea_err *err)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen("/proc/net/unix", "re");
    if (f == NULL) return thea_fail(err, THEA_EOS, "cannot read /proc/net/unix: %s", strerror(errno));
    while (getline(&line, &room, f) > 0) {
        struct runs_entry e;
        char *name = strstr(line, SOCKET_PREFIX);
        if (name == NULL || strstr(line, " 00010000 ") == NULL) continue; /* it does not listen */
        name[strcspn(name, "\n")] = '\0';
        if (open_live(&e, name + 1, base) != THEA_OK) continue;
        if (is_known(runs, e.path))
            runs_entry_fini(&e);
        else
            *add_entry(runs) = e;
    }
    free(line);
    fclose(f);
    runs->live = runs->count;
    return THEA_OK;
}

/* --- ended runs --- */

static bool holds_run(const char *path)
{
    struct buf file = {0};
    buf_printf(&file, "%s/run.json", path);
    bool holds = access(file.data, F_OK) == 0;
    buf_fini(&file);
    return holds;
}

/* What the directory says of the socket; "" if it says nothing. */
static const char *socket_name(char name[128], const char *path)
{
    struct buf file = {0};
    buf_printf(&file, "%s/socket", path);
    FILE *f = fopen(file.data, "re");
    if (f == NULL || fgets(name, 128, f) == NULL) name[0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (f != NULL) fclose(f);
    buf_fini(&file);
    return name;
}

static bool is_silent(const char *path)
{
    char name[128];
    struct channel *c = NULL;
    if (socket_name(name, path)[0] == '\0' || run_socket_connect(&c, name, NULL) != THEA_OK) return false;
    channel_free(c);
    return true;
}

static void list_ended(struct runs *runs, const char *base)
{
    DIR *d = opendir(base);
    if (d == NULL) return; /* no run yet */
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct buf path = {0};
        if (e->d_name[0] == '.') continue;
        buf_printf(&path, "%s/%s", base, e->d_name);
        if (!is_known(runs, path.data) && holds_run(path.data)) {
            struct runs_entry *new = add_entry(runs);
            new->name = copy_text(e->d_name);
            new->path = copy_text(path.data);
            new->silent = is_silent(path.data);
        }
        buf_fini(&path);
    }
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct runs_entry *)a)->name, ((const struct runs_entry *)b)->name);
}

thea_rc runs_list(struct runs *out, bool ended, struct thea_err *err)
{
    *out = (struct runs){0};
    char *given = rundir_base(), *base = canonical(given != NULL ? given : "");
    thea_rc rc = list_live(out, base, err);
    if (rc == THEA_OK && ended && given != NULL) list_ended(out, base);
    free(given);
    if (out->live > 1) qsort(out->items, out->live, sizeof *out->items, by_name);
    if (out->count > out->live + 1)
        qsort(out->items + out->live, out->count - out->live, sizeof *out->items, by_name);
    free(base);
    return rc;
}

/* --- one of them --- */

/* "\n  NAME" for each of the newest that matches (names end with the date). */
static void add_names(struct buf *out, const struct runs *runs, const char *beginning)
{
    size_t n = 0;
    for (size_t i = runs->count; i-- > 0 && n < LISTED_MAX;) {
        const struct runs_entry *e = &runs->items[i];
        if (strncmp(e->name, beginning, strlen(beginning)) != 0) continue;
        buf_printf(out, "\n  %s  %s", e->name, e->channel != NULL ? "live" : "ended");
        n++;
    }
}

static thea_rc take(struct runs_entry *out, struct runs *runs, size_t i)
{
    *out = runs->items[i];
    runs->items[i] = (struct runs_entry){0};
    return THEA_OK;
}

static thea_rc find_only(struct runs_entry *out, struct thea_err *err)
{
    struct runs runs;
    thea_rc rc = runs_list(&runs, false, err);
    if (rc == THEA_OK && runs.count == 1) {
        rc = take(out, &runs, 0);
    } else if (rc == THEA_OK) {
        struct buf names = {0};
        add_names(&names, &runs, "");
        rc = runs.count == 0
                 ? thea_fail(err, THEA_ESERVICE, "no run is live\n  thea ps --all lists those that ended")
                 : thea_fail(err, THEA_EUSAGE, "several runs are live; which?%s", buf_text(&names));
        buf_fini(&names);
    }
    runs_free(&runs);
    return rc;
}

static thea_rc find_named(struct runs_entry *out, const char *name, struct thea_err *err)
{
    struct runs runs;
    size_t matches = 0, found = SIZE_MAX;
    bool exact = false;
    thea_rc rc = runs_list(&runs, true, err);
    for (size_t i = 0; rc == THEA_OK && i < runs.count && !exact; i++) {
        if (strncmp(runs.items[i].name, name, strlen(name)) != 0) continue;
        exact = strcmp(runs.items[i].name, name) == 0;
        /* A live run is meant rather than the ended ones of the same beginning. */
        if (found != SIZE_MAX && runs.items[found].channel != NULL && runs.items[i].channel == NULL && !exact)
            continue;
        matches++;
        found = i;
    }
    struct buf names = {0};
    if (rc == THEA_OK && (exact || matches == 1)) {
        rc = take(out, &runs, found);
    } else if (rc == THEA_OK && matches == 0) {
        add_names(&names, &runs, "");
        rc = thea_fail(err, THEA_ESERVICE, "no run '%s'%s%s", name,
                       runs.count > 0 ? "; there are" : ": there are no runs", buf_text(&names));
    } else if (rc == THEA_OK) {
        add_names(&names, &runs, name);
        rc = thea_fail(err, THEA_EUSAGE, "'%s' is the beginning of several runs; which?%s", name,
                       buf_text(&names));
    }
    buf_fini(&names);
    runs_free(&runs);
    return rc;
}

/* A directory that holds a run; its file `socket` says where it listens, if it is live. */
static thea_rc find_directory(struct runs_entry *out, const char *directory, struct thea_err *err)
{
    char *path = realpath(directory, NULL), name[128];
    if (path == NULL || !holds_run(path)) {
        free(path);
        return thea_fail(err, THEA_ESERVICE, "no run in the directory %s", directory);
    }
    struct runs_entry live = {0};
    thea_rc rc = socket_name(name, path)[0] != '\0' ? open_live(&live, name, NULL) : THEA_AGAIN;
    if (rc == THEA_OK && strcmp(live.path, path) == 0) {
        *out = live;
    } else {
        runs_entry_fini(&live);
        *out = (struct runs_entry){.name = copy_text(strrchr(path, '/') + 1),
                                   .path = copy_text(path),
                                   .silent = rc == THEA_ETIMEOUT};
    }
    free(path);
    return THEA_OK;
}

thea_rc runs_find(struct runs_entry *out, const char *operand, struct thea_err *err)
{
    *out = (struct runs_entry){0};
    if (operand == NULL) return find_only(out, err);
    bool path = strchr(operand, '/') != NULL || strcmp(operand, ".") == 0 || strcmp(operand, "..") == 0;
    if (path || holds_run(operand)) return find_directory(out, operand, err);
    return find_named(out, operand, err);
}

thea_rc runs_find_live(struct runs_entry *out, const char *operand, struct thea_err *err)
{
    thea_rc rc = runs_find(out, operand, err);
    if (rc != THEA_OK || out->channel != NULL) return rc;
    if (out->silent)
        rc =
            thea_fail(err, THEA_ESERVICE,
                      "the run %s does not answer\n  is it stopped? its process is that which holds %s/lock; "
                      "`fg` or SIGCONT lets it go on",
                      out->name, out->path);
    else
        rc = thea_fail(err, THEA_ESERVICE,
                       "the run %s has ended\n  go on with it, if it was broken off: thea run --resume %s\n"
                       "  thea ps lists the live ones",
                       out->name, out->name);
    runs_entry_fini(out);
    return rc;
}
