/* Kinds: see kinds.h. One answer of `--describe` per argument vector is kept until the process ends. */
#include "graph/control/kinds.h"

#include "graph/buf.h"
#include "graph/value.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIBE_TIMEOUT_MS = 30000, DESCRIBE_BYTES_MAX = 4 << 20 };

extern char **environ;

static void *must(void *memory)
{
    if (memory == NULL) abort(); /* out of memory */
    return memory;
}

/* --- where programs are --- */

const char *kind_bin_dir(void)
{
    static char dir[PATH_MAX];
    if (dir[0] != '\0') return dir;
    ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
    if (n <= 0) return "/usr/bin";
    dir[n] = '\0';
    char *slash = strrchr(dir, '/');
    slash[slash == dir] = '\0';
    return dir;
}

const char *kind_prefix(void)
{
    static char prefix[PATH_MAX];
    if (prefix[0] != '\0') return prefix;
    snprintf(prefix, sizeof prefix, "%s", kind_bin_dir());
    char *slash = strrchr(prefix, '/');
    slash[slash == prefix] = '\0';
    return prefix;
}

/* Call visit for each folder that holds stage programs, in the order of the search, until it returns true. */
static bool each_folder(bool (*visit)(const char *folder, void *context), void *context)
{
    const char *path = getenv("THEA_STAGE_PATH");
    char *list = must(strdup(path != NULL ? path : "")), *rest = list, *folder;
    bool done = false;
    while (!done && (folder = strsep(&rest, ":")) != NULL) done = folder[0] != '\0' && visit(folder, context);
    free(list);
    if (done || visit(kind_bin_dir(), context)) return true;
    struct buf libexec = {0};
    buf_printf(&libexec, "%s/libexec/thea", kind_prefix());
    done = visit(buf_text(&libexec), context);
    buf_fini(&libexec);
    return done;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

struct search {
    const char *kind;
    char *found;
};

static bool look_in(const char *folder, void *context)
{
    struct search *s = context;
    struct buf path = {0};
    buf_printf(&path, "%s/thea-%s", folder, s->kind);
    if (is_program(buf_text(&path))) s->found = realpath(buf_text(&path), NULL);
    buf_fini(&path);
    return s->found != NULL;
}

static thea_rc find_path(char **program, const char *kind, const char *base_dir, struct thea_err *err)
{
    struct buf path = {0};
    if (kind[0] != '/') buf_printf(&path, "%s/", base_dir);
    buf_add_text(&path, strncmp(kind, "./", 2) == 0 ? kind + 2 : kind);
    thea_rc rc = THEA_OK;
    struct stat st;
    if (stat(buf_text(&path), &st) != 0) {
        rc = thea_fail(err, THEA_ENOINPUT, "no program %s: %s", buf_text(&path), strerror(errno));
    } else if (!is_program(buf_text(&path))) {
        rc = thea_fail(err, THEA_ENOINPUT, "%s is not a program\n  chmod +x %s", buf_text(&path),
                       buf_text(&path));
    } else {
        *program = must(realpath(buf_text(&path), NULL));
    }
    buf_fini(&path);
    return rc;
}

static thea_rc unknown_kind(const char *kind, struct thea_err *err)
{
    char **all = kind_list();
    const char *near = value_nearest(kind, (const char *const *)all);
    struct buf names = {0};
    for (size_t i = 0; all[i] != NULL; i++) buf_printf(&names, "%s%s", i > 0 ? ", " : "", all[i]);
    if (near != NULL)
        thea_fail(err, THEA_ENOINPUT, "unknown kind '%s' (did you mean '%s'?)\n  kinds: %s", kind, near,
                  buf_text(&names));
    else
        thea_fail(err, THEA_ENOINPUT, "unknown kind '%s'\n  kinds: %s", kind, buf_text(&names));
    buf_fini(&names);
    kind_list_free(all);
    return THEA_ENOINPUT;
}

thea_rc kind_find(char **program, const char *kind, const char *base_dir, struct thea_err *err)
{
    if (strchr(kind, '/') != NULL) return find_path(program, kind, base_dir, err);
    struct search s = {.kind = kind};
    if (!each_folder(look_in, &s)) return unknown_kind(kind, err);
    *program = s.found;
    return THEA_OK;
}

/* --- every kind --- */

struct names {
    char **items;
    size_t count;
};

static bool collect(const char *folder, void *context)
{
    struct names *names = context;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, "thea-", 5) != 0) continue;
        struct buf path = {0};
        buf_printf(&path, "%s/%s", folder, entry->d_name);
        bool known = !is_program(buf_text(&path));
        buf_fini(&path);
        for (size_t i = 0; i < names->count && !known; i++)
            known = strcmp(names->items[i], entry->d_name + 5) == 0;
        if (known) continue;
        names->items = must(realloc(names->items, (names->count + 2) * sizeof(char *)));
        names->items[names->count++] = must(strdup(entry->d_name + 5));
    }
    if (dir != NULL) closedir(dir);
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **kind_list(void)
{
    struct names names = {.items = must(calloc(1, sizeof(char *)))};
    each_folder(collect, &names);
    qsort(names.items, names.count, sizeof(char *), compare_names);
    names.items[names.count] = NULL;
    return names.items;
}

void kind_list_free(char **list)
{
    if (list == NULL) return;
    for (size_t i = 0; list[i] != NULL; i++) free(list[i]);
    free(list);
}

/* --- running --describe --- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The environment without the defaults that would change what a table says. A NULL-terminated array of
 * borrowed strings; free the array. */
static char **plain_environment(void)
{
    size_t n = 0, kept = 0;
    while (environ[n] != NULL) n++;
    char **env = must(calloc(n + 1, sizeof(char *)));
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "THEA_MODEL=", 11) != 0 && strncmp(environ[i], "THEA_THREADS=", 13) != 0)
            env[kept++] = environ[i];
    return env;
}

static thea_rc spawn(pid_t *pid, int out_fd, int err_fd, char *const *argv, struct thea_err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP); /* so that a deadline ends its children too */
    char **env = plain_environment();
    int failed = posix_spawn(pid, argv[0], &actions, &attributes, argv, env);
    free(env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == 0) return THEA_OK;
    return thea_fail(err, THEA_EOS, "cannot start %s: %s", argv[0], strerror(failed));
}

/* Read both pipes until they end. false: the deadline passed or there was too much. */
static bool drain(int out_fd, int err_fd, struct buf *out, struct buf *errors)
{
    struct pollfd fds[2] = {{.fd = out_fd, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};
    struct buf *to[2] = {out, errors};
    int64_t deadline = now_ms() + DESCRIBE_TIMEOUT_MS;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        int64_t left = deadline - now_ms();
        if (left <= 0 || out->len + errors->len > DESCRIBE_BYTES_MAX) return false;
        int ready = poll(fds, 2, (int)left);
        if (ready < 0 && errno != EINTR) return false;
        for (int i = 0; i < 2 && ready > 0; i++) {
            if (fds[i].revents == 0) continue;
            ssize_t n = read(fds[i].fd, buf_reserve(to[i], 1 << 16), 1 << 16);
            if (n > 0) to[i]->len += (size_t)n, to[i]->data[to[i]->len] = '\0';
            if (n == 0 || (n < 0 && errno != EINTR)) fds[i].fd = -1;
        }
    }
    return true;
}

struct answer {
    struct buf out, errors;
    int status;
    bool in_time;
};

static thea_rc ask(struct answer *a, char *const *argv, struct thea_err *err)
{
    int out[2], errors[2];
    if (pipe2(out, O_CLOEXEC) != 0) return thea_fail(err, THEA_EOS, "pipe: %s", strerror(errno));
    if (pipe2(errors, O_CLOEXEC) != 0) {
        close(out[0]), close(out[1]);
        return thea_fail(err, THEA_EOS, "pipe: %s", strerror(errno));
    }
    pid_t pid = -1;
    thea_rc rc = spawn(&pid, out[1], errors[1], argv, err);
    close(out[1]), close(errors[1]);
    if (rc == THEA_OK) {
        a->in_time = drain(out[0], errors[0], &a->out, &a->errors);
        if (!a->in_time) kill(-pid, SIGKILL);
        while (waitpid(pid, &a->status, 0) < 0 && errno == EINTR) {}
    }
    close(out[0]), close(errors[0]);
    return rc;
}

/* The program's own message, without the "thea-layers: error: " that it puts in front. */
static const char *own_message(const struct buf *errors)
{
    const char *text = buf_text(errors), *mark = strstr(text, ": error: "), *line_end = strchr(text, '\n');
    return mark != NULL && (line_end == NULL || mark < line_end) ? mark + 9 : text;
}

static thea_rc failed_answer(const struct answer *a, const char *program, struct thea_err *err)
{
    const char *message = own_message(&a->errors);
    int n = (int)strlen(message);
    while (n > 0 && message[n - 1] == '\n') n--;
    if (!a->in_time)
        return thea_fail(err, THEA_ESOFTWARE, "%s --describe did not end within %d s", program,
                         DESCRIBE_TIMEOUT_MS / 1000);
    if (WIFSIGNALED(a->status))
        return thea_fail(err, THEA_ESOFTWARE, "%s --describe was killed by signal %d (%s)", program,
                         WTERMSIG(a->status), strsignal(WTERMSIG(a->status)));
    int status = WEXITSTATUS(a->status);
    thea_rc rc = status >= THEA_EUSAGE && status <= THEA_ECONFIG ? (thea_rc)status : THEA_ESOFTWARE;
    if (n == 0)
        return thea_fail(err, rc, "%s --describe ended with status %d and no message", program, status);
    return thea_fail(err, rc, "%.*s", n, message);
}

/* --- what a table must hold --- */

static bool known_type(const char *name)
{
    for (int t = VALUE_BOOL; name != NULL && t <= VALUE_NAMES; t++)
        if (strcmp(value_type_name((value_type)t), name) == 0) return true;
    return false;
}

static const char *bad_option(const struct json_node *option)
{
    if (json_text(json_member(option, "name"), NULL) == NULL) return "an option without name";
    return known_type(json_text(json_member(option, "type"), NULL)) ? NULL : "an option without a known type";
}

static const char *bad_port(const struct json_node *port)
{
    if (json_text(json_member(port, "name"), NULL) == NULL) return "a port without name";
    if (json_text(json_member(port, "dtype"), NULL) == NULL) return "a port without dtype";
    return json_kind(json_member(port, "shape")) == JSON_LIST_ ? NULL : "a port whose shape is not a list";
}

static const char *bad_list(const struct json_node *table, const char *key,
                            const char *(*bad)(const struct json_node *))
{
    const struct json_node *list = json_member(table, key);
    if (list != NULL && json_kind(list) != JSON_LIST_ && json_kind(list) != JSON_NULL_)
        return "options, inputs and outputs must be lists";
    const char *what = NULL;
    for (size_t i = 0; i < json_count(list) && what == NULL; i++) what = bad(json_item(list, i));
    return what;
}

static const char *bad_table(const struct json_node *table)
{
    if (json_kind(table) != JSON_MAP_) return "not a JSON object";
    if (json_text(json_member(table, "kind"), NULL) == NULL) return "no \"kind\"";
    const char *what = bad_list(table, "options", bad_option);
    if (what == NULL) what = bad_list(table, "inputs", bad_port);
    if (what == NULL) what = bad_list(table, "outputs", bad_port);
    if (what == NULL &&
        json_count(json_member(table, "inputs")) + json_count(json_member(table, "outputs")) == 0)
        what = "neither inputs nor outputs";
    return what;
}

static thea_rc read_table(struct json_node **out, const struct answer *a, const char *program,
                          struct thea_err *err)
{
    if (!a->in_time || !WIFEXITED(a->status) || WEXITSTATUS(a->status) != 0)
        return failed_answer(a, program, err);
    struct buf what = {0};
    buf_printf(&what, "%s --describe", program);
    thea_rc rc = json_parse(out, buf_text(&a->out), a->out.len, buf_text(&what), err);
    buf_fini(&what);
    if (rc != THEA_OK)
        return err != NULL ? (err->rc = THEA_ESOFTWARE) : THEA_ESOFTWARE; /* its bug, not a damaged input */
    const char *bad = bad_table(*out);
    if (bad == NULL) return THEA_OK;
    json_free(*out);
    *out = NULL;
    return thea_fail(err, THEA_ESOFTWARE, "%s --describe: %s", program, bad);
}

/* --- the cache --- */

static struct known {
    char *key;
    struct json_node *table;
    struct known *next;
} * cache;

static void forget(void) __attribute__((destructor));
static void forget(void)
{
    while (cache != NULL) {
        struct known *next = cache->next;
        free(cache->key);
        json_free(cache->table);
        free(cache);
        cache = next;
    }
}

static const struct json_node *recall(const char *key)
{
    for (const struct known *k = cache; k != NULL; k = k->next)
        if (strcmp(k->key, key) == 0) return k->table;
    return NULL;
}

static void keep(char *key, struct json_node *table)
{
    struct known *k = must(calloc(1, sizeof *k));
    *k = (struct known){key, table, cache};
    cache = k;
}

static char **command_line(const char *program, const char *const *args, struct buf *key)
{
    size_t n = 0;
    while (args != NULL && args[n] != NULL) n++;
    char **argv = must(calloc(n + 3, sizeof(char *)));
    argv[0] = (char *)(uintptr_t)program;
    argv[1] = (char *)(uintptr_t) "--describe";
    for (size_t i = 0; i < n; i++) argv[i + 2] = (char *)(uintptr_t)args[i];
    for (size_t i = 0; argv[i] != NULL; i++) buf_printf(key, "%s\x1F", argv[i]);
    return argv;
}

thea_rc kind_describe(const struct json_node **out, const char *program, const char *const *args,
                      struct thea_err *err)
{
    struct buf key = {0};
    struct answer a = {0};
    struct json_node *table = NULL;
    char **argv = command_line(program, args, &key);
    thea_rc rc = THEA_OK;
    *out = recall(buf_text(&key));
    if (*out == NULL) {
        rc = ask(&a, argv, err);
        if (rc == THEA_OK) rc = read_table(&table, &a, program, err);
        if (rc == THEA_OK) keep(buf_take(&key), table), *out = table;
    }
    buf_fini(&a.out);
    buf_fini(&a.errors);
    buf_fini(&key);
    free(argv);
    return rc;
}
