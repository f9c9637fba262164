/* A strict parser of Prometheus' text format, for tests: what `promtool check metrics` refuses, this does. */
#ifndef TESTS_SUPPORT_EXPOSITION_H
#define TESTS_SUPPORT_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>

struct exposition {
    struct exposition_sample {
        char *series; /* name{labels} as written */
        double value;
    } * items;
    size_t count;
};

/* False: *why says what is wrong with it (at least 256 bytes). exposition_fini either way. */
bool exposition_parse(struct exposition *out, const char *text, char *why);
void exposition_fini(struct exposition *e);
bool exposition_find(const struct exposition *e, const char *series, double *value);

#endif
