/* Addresses of links: see link.h. */
#include "graph/wire/link.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IPC_PATH_MAX = 107, RUN_DIGITS = 16 };
#define ACCEPTED                                                                                             \
    "accepted are abstract://thea-<run: 16 hex digits>-<link number>, ipc://PATH, tcp://127.0.0.1:PORT and " \
    "tls+tcp://HOST:PORT"

/* "<run: 16 hex>-<number>" and nothing after it. */
static bool parse_identity(struct link_address *out, const char *text)
{
    for (int i = 0; i < RUN_DIGITS; i++)
        if (!isxdigit((unsigned char)text[i])) return false;
    if (text[RUN_DIGITS] != '-' || !isdigit((unsigned char)text[RUN_DIGITS + 1])) return false;
    char *end;
    errno = 0;
    unsigned long number = strtoul(text + RUN_DIGITS + 1, &end, 10);
    if (*end != '\0' || errno != 0 || number > UINT32_MAX) return false;
    out->run = strtoull(text, NULL, 16);
    out->number = (uint32_t)number;
    return true;
}

static thea_rc check_tcp(const char *text, const char *host, bool tls, struct thea_err *err)
{
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtol(colon + 1, NULL, 10) > 65535 || strtol(colon + 1, NULL, 10) == 0)
        return thea_fail(err, THEA_EUSAGE, "address '%s': no port from 1 to 65535; " ACCEPTED, text);
    size_t n = (size_t)(colon - host);
    if (tls && n == 0) return thea_fail(err, THEA_EUSAGE, "address '%s': no host; " ACCEPTED, text);
    if (tls) return THEA_OK;
    bool loopback = (n == 9 && strncmp(host, "localhost", n) == 0) ||
                    (n == 5 && strncmp(host, "[::1]", n) == 0) ||
                    (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n);
    if (!loopback)
        return thea_fail(err, THEA_EUSAGE,
                         "address '%s': '%.*s' is not this machine; tcp links are for loopback only "
                         "(127.0.0.1, ::1, localhost), because nothing "
                         "protects them on a network; try tls+tcp://%.*s",
                         text, (int)n, host, (int)strcspn(host, "#"), host);
    return THEA_OK;
}

static thea_rc check_ipc(const char *text, const char *path, struct thea_err *err)
{
    if (path[0] == '\0') return thea_fail(err, THEA_EUSAGE, "address '%s': no path; " ACCEPTED, text);
    if (strlen(path) > IPC_PATH_MAX)
        return thea_fail(err, THEA_EUSAGE,
                         "address '%s': a socket's path has at most %d bytes, this one has %zu", text,
                         IPC_PATH_MAX, strlen(path));
    return THEA_OK;
}

static thea_rc check_abstract(const struct link_address *a, const char *text, const char *name,
                              struct thea_err *err)
{
    struct link_address identity = *a;
    if (strncmp(name, "thea-", 5) != 0 || !parse_identity(&identity, name + 5))
        return thea_fail(err, THEA_EUSAGE,
                         "address '%s': '%s' is not thea-<run: 16 hex digits>-<link number>", text, name);
    return THEA_OK;
}

thea_rc link_address_parse(struct link_address *out, const char *text, struct thea_err *err)
{
    *out = (struct link_address){0};
    if (strlen(text) >= sizeof out->url)
        return thea_fail(err, THEA_EUSAGE, "address '%.40s...' has %zu bytes, at most %zu", text,
                         strlen(text), sizeof out->url - 1);
    snprintf(out->url, sizeof out->url, "%s", text);
    char *hash = strchr(out->url, '#');
    if (hash != NULL) {
        if (!parse_identity(out, hash + 1))
            return thea_fail(err, THEA_EUSAGE,
                             "address '%s': '%s' is not #<run: 16 hex digits>-<link number>", text, hash);
        *hash = '\0';
    }
    if (strncmp(out->url, "abstract://", 11) == 0) {
        thea_rc rc = check_abstract(out, text, out->url + 11, err);
        if (rc == THEA_OK && hash == NULL) parse_identity(out, out->url + 16);
        return rc;
    }
    if (strncmp(out->url, "ipc://", 6) == 0) return check_ipc(text, out->url + 6, err);
    if (strncmp(out->url, "tcp://", 6) == 0) return check_tcp(text, out->url + 6, false, err);
    out->tls = strncmp(out->url, "tls+tcp://", 10) == 0;
    if (out->tls) return check_tcp(text, out->url + 10, true, err);
    return thea_fail(err, THEA_EUSAGE, "address '%s': unknown form; " ACCEPTED, text);
}
