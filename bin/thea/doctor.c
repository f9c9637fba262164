/* thea doctor: what this machine has for thea, what is missing, and the command that gets it. Exit status 1
 * if something is. */
#include "bin/thea/support/command.h"
#include "graph/control/kinds.h"
#include "graph/wire/region.h"
#include "kernels/kernels.h"
#include "nn/model.h"
#include "nn/weights/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

struct report {
    struct json_node *json; /* NULL: text */
    int lacks;
};

static void say(struct report *r, bool good, const char *what, const char *found)
{
    if (!good) r->lacks++;
    if (r->json == NULL) {
        printf("%-4s %-14s %s\n", good ? "ok" : "LACK", what, found);
        return;
    }
    struct json_node *item = json_new_map();
    json_put(item, "what", json_new_string(what));
    json_put(item, "ok", json_new_bool(good));
    json_put(item, "found", json_new_string(found));
    json_append(r->json, item);
}

static void check_cpu(struct report *r)
{
    char name[128], features[512], text[700];
    const struct kernels *k = kernels_select(NULL);
    say(r, true, "cpu", kernels_cpu_name(name, sizeof name));
    say(r, true, "features", kernels_cpu_features(features, sizeof features));
    if (k == NULL) {
        say(r, false, "kernels",
            "THEA_KERNELS names none that this CPU runs: unset it, or plain, avx2, avx512");
        return;
    }
    snprintf(text, sizeof text, "%s%s", k->name,
             strcmp(k->name, "plain") == 0 ? " (slow: this CPU has no AVX2, or THEA_KERNELS says so)" : "");
    say(r, true, "kernels", text);
    say(r, true, "BLAS", kernels_blas_config());
    snprintf(text, sizeof text, "%ld cores", sysconf(_SC_NPROCESSORS_ONLN));
    say(r, true, "cores", text);
}

static void check_memory(struct report *r)
{
    struct sysinfo info;
    char total[16], available[16], text[128];
    if (sysinfo(&info) != 0) return;
    uint64_t unit = info.mem_unit;
    snprintf(text, sizeof text, "%s, %s free", value_format_bytes(total, info.totalram * unit),
             value_format_bytes(available, (info.freeram + info.bufferram) * unit));
    say(r, info.totalram * unit > ((uint64_t)1 << 30), "memory", text);
}

static void check_limits(struct report *r)
{
    struct rlimit files;
    char text[128];
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    bool enough = files.rlim_cur >= 256;
    snprintf(text, sizeof text, "%llu%s", (unsigned long long)files.rlim_cur,
             enough ? "" : ": too few, raise it: ulimit -n 1024");
    say(r, enough, "open files", text);
}

static void check_system(struct report *r)
{
    struct utsname system;
    char text[256];
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "thea %s on %s %s %s", THEA_VERSION, system.sysname, system.release,
                 system.machine);
        say(r, true, "version", text);
    }
    int fd = memfd_create("thea-doctor", MFD_CLOEXEC);
    say(r, fd >= 0, "memfd",
        fd >= 0 ? "shared memory without names" : "memfd_create is refused here: thea run needs it");
    if (fd >= 0) close(fd);
    struct thea_err err = {0};
    thea_rc rc = region_works(&err);
    snprintf(text, sizeof text, "tensors are copied between stages (slower): %.180s", thea_err_message(&err));
    say(r, true, "regions", rc == THEA_OK ? "tensors are read in place by the next stage" : text);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "thea-doctor-%d", (int)getpid());
    bool bound = sock >= 0 && bind(sock, (struct sockaddr *)&name,
                                   (socklen_t)(sizeof name.sun_family + 1 + (size_t)length)) == 0;
    say(r, bound, "sockets",
        bound ? "abstract sockets" : "abstract sockets are refused here: thea run needs them");
    if (sock >= 0) close(sock);
}

static void check_stages(struct report *r)
{
    static const char *const wanted[] = {"load", "tokenize", "detokenize", "layers",      "score",
                                         "pool", "sample",   "write",      "write-index", NULL};
    char text[512] = "";
    size_t at = 0;
    bool all = true;
    for (size_t i = 0; wanted[i] != NULL; i++) {
        struct thea_err err;
        char *program = NULL;
        if (kind_find(&program, wanted[i], ".", &err) != THEA_OK) {
            all = false;
            at += (size_t)snprintf(text + at, sizeof text - at, "%sthea-%s", at > 0 ? " " : "", wanted[i]);
        }
        free(program);
    }
    char line[700];
    snprintf(line, sizeof line, "missing: %s; install or build thea again, or set THEA_STAGE_PATH", text);
    say(r, all, "stages", all ? "all 8 kinds are here" : line);
}

static void count_model(void *context, const char *name, const char *dir)
{
    (void)name;
    struct model_info m;
    if (model_read_info(&m, dir, NULL) == THEA_OK) ++*(int *)context;
}

static void check_models(struct report *r)
{
    int count = 0;
    char text[128];
    model_list(count_model, &count);
    snprintf(text, sizeof text, "%d that can run here (thea models)", count);
    say(r, count > 0, "models",
        count > 0 ? text : "none; get one: hf download LiquidAI/LFM2-350M   (pip install huggingface_hub)");
}

static int run(const struct command_args *args)
{
    struct report r = {.json = command_flag(args, "json", false) ? json_new_list() : NULL};
    check_system(&r);
    check_cpu(&r);
    check_memory(&r);
    check_limits(&r);
    check_stages(&r);
    check_models(&r);
    if (r.json != NULL) {
        char *text = json_print(r.json, 0, 0);
        printf("%s\n", text);
        free(text);
        json_free(r.json);
    }
    return r.lacks > 0 ? 1 : 0;
}

static const struct command_option options[] = {
    {"json", 0, VALUE_BOOL, NULL, "one JSON list of {what, ok, found}", NULL}, {0}};
static const char *const examples[] = {
    "thea doctor   before reporting a problem, and put its output into the report", NULL};

const struct command command_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "what this machine has for thea, and what is missing",
    .description = "Exit status 1 if something is missing.",
    .options = options,
    .examples = examples,
    .run = run,
};
