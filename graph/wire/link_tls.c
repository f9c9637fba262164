/* Links between machines: TLS with certificates at both ends, and a token. All four are files of one
 * directory, so that no secret is on a command line:
 *
 *   ca.pem     who may sign certificates of this cluster
 *   cert.pem   this process' certificate, with the names that others dial it by
 *   key.pem    its key, readable by its user alone
 *   token      any line of text, the same on all machines; readable by its user alone
 *
 * A certificate says that somebody belongs to the cluster, the token that he belongs to whoever runs this.
 * The sender says it, to a receiver whose certificate is good; so nobody who only dials us can learn it. */
#include "graph/wire/link_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20, TOKEN_BYTES_MIN = 16, TOKEN_BYTES_MAX = 1024 };

static const char *tls_dir(const struct link_options *o)
{
    const char *dir = o->tls_dir != NULL ? o->tls_dir : getenv("THEA_TLS_DIR");
    return dir != NULL && dir[0] != '\0' ? dir : NULL;
}

static thea_rc check_file(const char *path, int fd, bool secret, struct thea_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return thea_fail(err, THEA_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > FILE_BYTES_MAX)
        return thea_fail(err, THEA_EUSAGE, "%s: not a file of 1 byte to 1 MiB", path);
    if (secret && (st.st_mode & 077) != 0)
        return thea_fail(err, THEA_EPERM, "%s: others may read it (mode %03o)\n  try  chmod 600 %s", path,
                         (unsigned)st.st_mode & 0777, path);
    return THEA_OK;
}

static thea_rc read_text(char **out, const char *dir, const char *name, bool secret, struct thea_err *err)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return thea_fail(err, THEA_EUSAGE, "THEA_TLS_DIR: too long: %.80s...", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return thea_fail(err, THEA_EUSAGE,
                         "%s: %s; links between machines need ca.pem, cert.pem, key.pem and token there",
                         path, strerror(errno));
    thea_rc rc = check_file(path, fd, secret, err);
    char *text = calloc(1, FILE_BYTES_MAX + 1);
    if (text == NULL) abort();
    size_t n = 0;
    for (ssize_t k = 1; rc == THEA_OK && k > 0 && n < FILE_BYTES_MAX; n += (size_t)(k > 0 ? k : 0)) {
        k = read(fd, text + n, FILE_BYTES_MAX - n);
        if (k < 0) rc = thea_fail(err, THEA_EIO, "%s: %s", path, strerror(errno));
    }
    close(fd);
    if (rc == THEA_OK)
        *out = text;
    else
        free(text);
    return rc;
}

static void forget(char *text)
{
    if (text != NULL) explicit_bzero(text, strlen(text));
    free(text);
}

/* --- token --- */

thea_rc link_token_read(char **out, const struct link_options *o, struct thea_err *err)
{
    *out = NULL;
    if (!o->address.tls) return THEA_OK;
    const char *dir = tls_dir(o);
    if (dir == NULL)
        return thea_fail(err, THEA_EUSAGE,
                         "address '%s': a link between machines needs certificates and a token\n"
                         "  set  THEA_TLS_DIR to a directory with ca.pem, cert.pem, key.pem and token",
                         o->address.url);
    thea_rc rc = read_text(out, dir, "token", true, err);
    if (rc != THEA_OK) return rc;
    size_t n = strcspn(*out, "\r\n");
    (*out)[n] = '\0';
    if (n >= TOKEN_BYTES_MIN && n <= TOKEN_BYTES_MAX) return THEA_OK;
    forget(*out);
    *out = NULL;
    return thea_fail(err, THEA_EUSAGE, "%s/token: its line has %zu bytes; %d to %d are accepted", dir, n,
                     TOKEN_BYTES_MIN, TOKEN_BYTES_MAX);
}

bool link_token_equal(const char *ours, const char *theirs)
{
    size_t n = strlen(ours), m = strlen(theirs);
    unsigned differ = n != m;
    for (size_t i = 0; i < n; i++) /* as long for a wrong one as for the right one */
        differ |= (unsigned)((unsigned char)ours[i] ^ (unsigned char)theirs[m > 0 ? i % m : 0]);
    return differ == 0;
}

void link_token_free(const char *token)
{
    forget((char *)(uintptr_t)token);
}

/* --- certificates --- */

/* The host of "tls+tcp://HOST:PORT", which the receiver's certificate must name. */
static void host_of(char *out, size_t size, const char *url)
{
    const char *host = strstr(url, "://") + 3;
    const char *end = strrchr(host, ':');
    int n = end != NULL ? (int)(end - host) : (int)strlen(host);
    if (n >= 2 && host[0] == '[') host++, n -= 2;
    snprintf(out, size, "%.*s", n, host);
}

static int fill(nng_tls_config *config, const struct link_options *o, bool dial, const char *ca,
                const char *cert, const char *key)
{
    char host[200];
    host_of(host, sizeof host, o->address.url);
    int rv = nng_tls_config_ca_chain(config, ca, NULL);
    if (rv == 0) rv = nng_tls_config_own_cert(config, cert, key, NULL);
    if (rv == 0) rv = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED);
    if (rv == 0 && dial) rv = nng_tls_config_server_name(config, host);
    return rv;
}

thea_rc link_tls_config(nng_tls_config **out, const struct link_options *o, bool dial, struct thea_err *err)
{
    const char *dir = tls_dir(o);
    char *ca = NULL, *cert = NULL, *key = NULL;
    if (dir == NULL) return thea_fail(err, THEA_EUSAGE, "THEA_TLS_DIR is not set");
    thea_rc rc = read_text(&ca, dir, "ca.pem", false, err);
    if (rc == THEA_OK) rc = read_text(&cert, dir, "cert.pem", false, err);
    if (rc == THEA_OK) rc = read_text(&key, dir, "key.pem", true, err);
    int rv = 0;
    if (rc == THEA_OK) rv = nng_tls_config_alloc(out, dial ? NNG_TLS_MODE_CLIENT : NNG_TLS_MODE_SERVER);
    if (rc == THEA_OK && rv == 0 && (rv = fill(*out, o, dial, ca, cert, key)) != 0) {
        nng_tls_config_free(*out);
        *out = NULL;
    }
    if (rv != 0)
        rc = thea_fail(err, THEA_EUSAGE, "%s: ca.pem, cert.pem and key.pem cannot be used together: %s", dir,
                       nng_strerror(rv));
    forget(ca);
    forget(cert);
    forget(key);
    return rc;
}
