/* The first message of every pipe, and whether the two ends fit (fabric.md section 2). */
#include "graph/wire/link_impl.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *own_text(const char *text)
{
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) abort();
    return copy;
}

void link_hello_make(struct link_message *out, const struct link_options *o, link_role role,
                     const char *token)
{
    *out = (struct link_message){.kind = LINK_HELLO,
                                 .version = WIRE_VERSION,
                                 .run = o->address.run,
                                 .link = o->address.number,
                                 .port = own_text(o->port),
                                 .pattern = own_text(o->pattern),
                                 .host = own_text(region_host()),
                                 .token = own_text(token),
                                 .role = role,
                                 .epoch = o->epoch,
                                 .incarnation = o->incarnation,
                                 .pid = (int32_t)getpid()};
}

void link_hello_fini(struct link_message *hello)
{
    free((char *)(uintptr_t)hello->port);
    free((char *)(uintptr_t)hello->pattern);
    free((char *)(uintptr_t)hello->host);
    link_token_free(hello->token);
    *hello = (struct link_message){0};
}

bool link_process_lives(int32_t pid)
{
    char path[32], line[256] = "";
    snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    const char *read = fgets(line, sizeof line, f);
    fclose(f);
    const char *name_end = read != NULL ? strrchr(line, ')') : NULL; /* its name may have any character */
    return name_end != NULL && name_end[1] == ' ' && strchr("ZXx", name_end[2]) == NULL;
}

/* "f32 [n, 128]" cut into dtype and shape; false if it is none. */
struct pattern {
    char dtype[16];
    char shape[128];
};

static bool pattern_cut(struct pattern *out, const char *text)
{
    const char *open = strchr(text, '['), *close = strrchr(text, ']');
    if (open == NULL || close == NULL || close < open) return false;
    size_t n = strcspn(text, " [");
    if (n >= sizeof out->dtype || (size_t)(close - open) >= sizeof out->shape) return false;
    snprintf(out->dtype, sizeof out->dtype, "%.*s", (int)n, text);
    snprintf(out->shape, sizeof out->shape, "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

static bool is_number(const char *s)
{
    return isdigit((unsigned char)*s);
}

/* The next size of a shape, without blanks; NULL at its end. */
static char *next_size(char **at)
{
    char *s = strsep(at, ",");
    if (s == NULL) return NULL;
    s += strspn(s, " ");
    s[strcspn(s, " ")] = '\0';
    return s;
}

static bool shapes_fit(char *a, char *b)
{
    if (strcmp(a, "*") == 0 || strcmp(b, "*") == 0) return true;
    for (;;) {
        const char *x = next_size(&a), *y = next_size(&b);
        if (x == NULL || y == NULL) return x == y;
        if ((*x == '\0') != (*y == '\0')) return false; /* a scalar and a row */
        if (is_number(x) && is_number(y) && strtoull(x, NULL, 10) != strtoull(y, NULL, 10)) return false;
    }
}

bool link_patterns_fit(const char *a, const char *b)
{
    struct pattern x, y;
    if (a[0] == '\0' || b[0] == '\0' || strcmp(a, b) == 0) return true;
    if (!pattern_cut(&x, a) || !pattern_cut(&y, b)) return false;
    return strcmp(x.dtype, y.dtype) == 0 && shapes_fit(x.shape, y.shape);
}

const char *link_clean(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0' && n + 1 < size; n++)
        out[n] = (unsigned char)text[n] < 32 || text[n] == 127 ? '?' : text[n];
    out[n] = '\0';
    return out;
}

/* Name run and link of one end, or its role. */
static void name_end(char *out, size_t size, uint64_t run, uint32_t link, link_role role)
{
    snprintf(out, size, "the %s of link %" PRIu32 " of run %016" PRIx64,
             role == LINK_SENDER ? "sender" : "receiver", link, run);
}

hello_verdict link_hello_check(const struct link *ln, const struct link_message *hello,
                               struct hello_difference *d)
{
    const struct link_options *o = &ln->o;
    link_role role = ln->role;
    link_role other = role == LINK_SENDER ? LINK_RECEIVER : LINK_SENDER;
    if (hello->run != o->address.run || hello->link != o->address.number || hello->role != other) {
        name_end(d->expected, sizeof d->expected, o->address.run, o->address.number, other);
        name_end(d->found, sizeof d->found, hello->run, hello->link, hello->role);
        return HELLO_STRANGER;
    }
    if (ln->token != NULL && role == LINK_RECEIVER && !link_token_equal(ln->token, hello->token)) {
        snprintf(d->expected, sizeof d->expected, "the token of this run");
        snprintf(d->found, sizeof d->found, "%s", hello->token[0] != '\0' ? "another" : "none");
        return HELLO_FORBIDDEN;
    }
    if (hello->version != WIRE_VERSION) {
        snprintf(d->expected, sizeof d->expected, "protocol version %d", WIRE_VERSION);
        snprintf(d->found, sizeof d->found, "version %" PRIu32, hello->version);
        return HELLO_MISFIT;
    }
    if (!link_patterns_fit(o->pattern, hello->pattern)) {
        char port[64], pattern[128];
        snprintf(d->expected, sizeof d->expected, "%s", o->pattern);
        snprintf(d->found, sizeof d->found, "%s from port '%s'",
                 link_clean(pattern, sizeof pattern, hello->pattern),
                 link_clean(port, sizeof port, hello->port));
        return HELLO_MISFIT;
    }
    return HELLO_FITS;
}
