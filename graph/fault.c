/* Fault points: see fault.h. Invariant: nothing is written or freed on the way to the signal, but for FILE.
 */
#include "graph/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULTS_MAX = 16 };

static struct fault {
    const char *point, *once; /* both end at a comma or colon of the environment's text; once may be NULL */
    size_t point_len, once_len;
    unsigned long left; /* passings until it strikes; 0: never (again) */
    int signal;
} faults[FAULTS_MAX];
static size_t fault_count;
bool fault_armed;

static void read_fault(const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    if (colon == NULL || fault_count == FAULTS_MAX) return;
    struct fault *f = &faults[fault_count++];
    char *rest;
    *f = (struct fault){
        .point = text, .point_len = (size_t)(colon - text), .left = strtoul(colon + 1, &rest, 10)};
    f->signal = *rest == '!' ? SIGABRT : SIGKILL;
    rest += *rest == '!';
    if (*rest != ':') return;
    f->once = rest + 1;
    f->once_len = len - (size_t)(f->once - text);
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("THEA_FAULT");
    while (text != NULL && text[0] != '\0') {
        size_t len = strcspn(text, ",");
        read_fault(text, len);
        text += len + (text[len] == ',');
    }
    fault_armed = fault_count > 0;
}

/* Is this the first process that comes so far? */
static bool first_of_all(const struct fault *f)
{
    char path[4096];
    if (f->once == NULL) return true;
    if (f->once_len >= sizeof path) return false;
    memcpy(path, f->once, f->once_len);
    path[f->once_len] = '\0';
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

void fault_pass(const char *point)
{
    for (size_t i = 0; i < fault_count; i++) {
        struct fault *f = &faults[i];
        if (f->left == 0 || strlen(point) != f->point_len || memcmp(point, f->point, f->point_len) != 0)
            continue;
        if (--f->left == 0 && first_of_all(f)) raise(f->signal);
    }
}
