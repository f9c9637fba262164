/* See supervised.h. */
#include "tests/graph/wire/supervised.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void supervised_open(struct supervised *s)
{
    struct thea_err err;
    *s = (struct supervised){0};
    cr_assert_eq(channel_pair(&s->channel, &s->theirs, &err), THEA_OK, "%s", err.message);
    snprintf(s->number, sizeof s->number, "%d", s->theirs);
}

void supervised_close(struct supervised *s)
{
    channel_free(s->channel);
    s->channel = NULL;
    buf_fini(&s->told);
}

static void swap_quotes(char *text, char from, char to)
{
    for (; *text != '\0'; text++)
        if (*text == from) *text = to;
}

void supervised_say(struct supervised *s, const char *fmt, ...)
{
    char text[1024];
    struct thea_err err;
    struct json_node *m;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cr_assert(n > 0 && (size_t)n < sizeof text);
    swap_quotes(text, '\'', '"');
    cr_assert_eq(json_parse(&m, text, (size_t)n, "test", &err), THEA_OK, "%s: %s", text, err.message);
    cr_assert_eq(channel_send(s->channel, m, &err), THEA_OK);
}

const char *supervised_hear(struct supervised *s)
{
    struct json_node *m;
    struct thea_err err;
    thea_rc rc;
    size_t from = s->told.len;
    while ((rc = channel_receive(s->channel, &m, &err)) == THEA_OK) {
        char *line = json_print(m, 0, 0);
        swap_quotes(line, '"', '\'');
        buf_printf(&s->told, "%s\n", line);
        free(line);
        json_free(m);
    }
    cr_assert(rc == THEA_AGAIN || rc == THEA_DONE, "%s", err.message);
    return buf_text(&s->told) + (s->told.len > 0 ? from : 0);
}

bool supervised_heard(struct supervised *s, const char *part)
{
    (void)supervised_hear(s);
    return strstr(buf_text(&s->told), part) != NULL;
}
