/* The formats of `write`: which there are, what each port can be written as, and which one is meant by
 * "auto". */
#ifndef STAGES_SUPPORT_FORMATS_H
#define STAGES_SUPPORT_FORMATS_H

#include "graph/err.h"
#include <stdbool.h>

enum {
    FORMAT_AUTO,
    FORMAT_TABLE,
    FORMAT_JSONL,
    FORMAT_TSV,
    FORMAT_TEXT,
    FORMAT_NPY,
    FORMAT_SAFETENSORS,
    FORMAT_COUNT
};

extern const char *const format_names[]; /* NULL-terminated */

/* By the output's extension, jsonl for one that says nothing; stdout ("-"): a table or text on a terminal,
 * else jsonl. */
int format_auto(const char *output, const char *port, bool on_terminal);
bool format_needs_file(int format); /* npy, safetensors: they appear whole */
/* Can `port` be written to `output` as `format`? chosen: by the user. Errors: THEA_EUSAGE with what is
 * accepted. */
THEA_CHECK thea_rc format_check(int format, bool chosen, const char *port, const char *output,
                                struct thea_err *err);
/* As much of that as can be said before the port is known. */
THEA_CHECK thea_rc format_check_output(int format, const char *output, struct thea_err *err);

#endif
