/* Reading the pipeline that a command names: see pipeline.h. */
#include "bin/thea/support/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void pipeline_overrides(struct spec_overrides *out, const struct command_args *args, size_t first_input)
{
    *out = (struct spec_overrides){.model = command_value(args, "model"),
                                   .output = command_value(args, "output")};
    out->sets = command_all_values(args, "set", &out->set_count);
    if (args->operand_count > first_input) {
        out->inputs = args->operands + first_input;
        out->input_count = args->operand_count - first_input;
    }
    out->threads = command_int(args, "threads", 0);
}

void pipeline_overrides_fini(struct spec_overrides *o)
{
    free((void *)(uintptr_t)o->sets);
    *o = (struct spec_overrides){0};
}

void pipeline_add_count(struct buf *out, const struct diag_list *diags, size_t first, const char *file)
{
    size_t count = diag_count(diags);
    if (count <= first) return;
    size_t n = count - first;
    buf_printf(out, "%zu error%s in %s (thea explain %s)\n", n, n == 1 ? "" : "s", file,
               diag_code_at(diags, diag_last(diags, first)));
}

int pipeline_load(struct spec **out, const char *name, const struct spec_overrides *o)
{
    struct thea_err err = {0};
    char *path = NULL;
    struct diag_list *diags = diag_list_new();
    thea_rc rc = spec_find(&path, name, &err);
    if (rc == THEA_OK) rc = spec_load(out, path, o, diags, &err);
    int status = thea_exit_status(rc);
    if (rc != THEA_OK && diag_count(diags) > 0) {
        struct buf text = {0};
        diag_print_text(diags, &text, thea_log_colors(STDERR_FILENO));
        pipeline_add_count(&text, diags, 0, path);
        fputs(buf_text(&text), stderr);
        buf_fini(&text);
    }
    if (rc != THEA_OK && rc != THEA_ECONFIG && !(rc == THEA_EDATA && diag_count(diags) > 0))
        status = thea_log_failure(&err);
    diag_list_free(diags);
    free(path);
    return status;
}
