/* thea completion: the script that completes thea's commands, kinds and options in a shell. */
#include "bin/thea/support/manual.h"

#include <stdio.h>

static int run(const struct command_args *args)
{
    struct thea_err err = {0};
    struct buf text = {0};
    thea_rc rc = manual_completion(&text, args->operands[0], &err);
    if (rc == THEA_OK) fwrite(buf_text(&text), 1, text.len, stdout);
    buf_fini(&text);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const char *const examples[] = {"eval \"$(thea completion bash)\"   in ~/.bashrc",
                                       "eval \"$(thea completion zsh)\"   in ~/.zshrc",
                                       "thea completion fish | source   in ~/.config/fish/config.fish", NULL};

const struct command command_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .summary = "print the script that completes commands and options in a shell",
    .examples = examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
