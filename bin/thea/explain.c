/* thea explain: the page of an error code. */
#include "bin/thea/support/command.h"
#include "graph/control/diag.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "E21", "e021" and "21" are E021. */
static void normal_code(char *out, size_t size, const char *word)
{
    const char *digits = word + (toupper((unsigned char)word[0]) == 'E');
    bool number = digits[0] != '\0' && strlen(digits) <= 3 && digits[strspn(digits, "0123456789")] == '\0';
    if (!number) {
        snprintf(out, size, "%s", word);
        return;
    }
    snprintf(out, size, "E%03ld", strtol(digits, NULL, 10));
}

static int run_explain(const struct command_args *args)
{
    if (args->operand_count == 0) {
        for (size_t i = 0; diag_code(i) != NULL; i++)
            printf("%s  %s\n", diag_code(i), diag_title(diag_code(i)));
        return 0;
    }
    char code[32];
    normal_code(code, sizeof code, args->operands[0]);
    const char *page = diag_explain(code);
    if (page == NULL) {
        struct thea_err err = {0};
        (void)thea_fail(&err, THEA_EUSAGE, "no code '%s'\n  thea explain lists them", args->operands[0]);
        return thea_log_failure(&err);
    }
    fputs(page, stdout);
    return 0;
}

static const char *const examples[] = {
    "thea explain E061     what the code of a message means, with an example wrong and right",
    "thea explain          all codes",
    NULL,
};

const struct command command_explain = {
    .name = "explain",
    .operands = "[CODE]",
    .summary = "the page of an error code",
    .description =
        "Diagnostics of pipeline files carry a code, such as E061. Codes never change their meaning.",
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run_explain,
};
