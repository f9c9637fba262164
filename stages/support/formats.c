/* The formats of `write`: see formats.h. */
#include "stages/support/formats.h"

#include "graph/buf.h"

#include <string.h>

#define F(format) (1U << FORMAT_##format)

const char *const format_names[] = {"auto", "table", "jsonl", "tsv", "text", "npy", "safetensors", NULL};
static const char *const endings[FORMAT_COUNT] = {[FORMAT_JSONL] = ".jsonl",
                                                  [FORMAT_TSV] = ".tsv",
                                                  [FORMAT_TEXT] = ".txt",
                                                  [FORMAT_NPY] = ".npy",
                                                  [FORMAT_SAFETENSORS] = ".safetensors"};

/* What a port can be written as; every other port is an array. */
static const struct {
    const char *port;
    unsigned formats;
} possible[] = {
    {"record", F(TABLE) | F(JSONL) | F(TSV)},       {"vector", F(JSONL) | F(TSV) | F(NPY) | F(SAFETENSORS)},
    {"tokens", F(JSONL) | F(TSV) | F(SAFETENSORS)}, {"text", F(JSONL) | F(TSV) | F(TEXT)},
    {"nll", F(JSONL) | F(TSV) | F(SAFETENSORS)},
};

static unsigned formats_of(const char *port)
{
    for (size_t i = 0; i < sizeof possible / sizeof possible[0]; i++) {
        if (strcmp(possible[i].port, port) == 0) return possible[i].formats;
    }
    return F(SAFETENSORS);
}

int format_auto(const char *output, const char *port, bool on_terminal)
{
    size_t n = strlen(output);
    if (strcmp(output, "-") == 0) {
        if (!on_terminal) return FORMAT_JSONL;
        return strcmp(port, "record") == 0 ? FORMAT_TABLE
               : strcmp(port, "text") == 0 ? FORMAT_TEXT
                                           : FORMAT_JSONL;
    }
    for (int f = 0; f < FORMAT_COUNT; f++) {
        size_t m = endings[f] != NULL ? strlen(endings[f]) : 0;
        if (m > 0 && n > m && strcmp(output + n - m, endings[f]) == 0) return f;
    }
    return FORMAT_JSONL;
}

bool format_needs_file(int format)
{
    return format == FORMAT_NPY || format == FORMAT_SAFETENSORS;
}

thea_rc format_check_output(int format, const char *output, struct thea_err *err)
{
    if (!format_needs_file(format) || strcmp(output, "-") != 0) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE, "format %s needs a file: -o NAME%s", format_names[format],
                     endings[format]);
}

thea_rc format_check(int format, bool chosen, const char *port, const char *output, struct thea_err *err)
{
    unsigned formats = formats_of(port);
    if (formats >> format & 1) return format_check_output(format, output, err);
    struct buf accepted = {0};
    for (int f = 0; f < FORMAT_COUNT; f++) {
        if (formats >> f & 1) buf_printf(&accepted, "%s%s", accepted.len > 0 ? ", " : "", format_names[f]);
    }
    thea_fail(err, THEA_EUSAGE, "'%s' cannot be written as %s%s\n  accepted   %s%s", port,
              format_names[format], chosen ? "" : " (the format that 'auto' gives here)", buf_text(&accepted),
              formats == F(SAFETENSORS) ? ", into a file: -o NAME.safetensors" : "");
    buf_fini(&accepted);
    return THEA_EUSAGE;
}
