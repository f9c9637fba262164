/* Finding pipelines in Markdown: see markdown.h. */
#include "bin/thea/support/markdown.h"

#include <string.h>
#include <strings.h>

bool markdown_is(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL && (strcasecmp(dot, ".md") == 0 || strcasecmp(dot, ".markdown") == 0);
}

/* Length of the fence (``` or ~~~, three or more, at most three spaces before it) that begins a line; 0:
 * none. */
static size_t fence_length(const char *line, char *mark)
{
    line += strspn(line, " ") <= 3 ? strspn(line, " ") : 0;
    *mark = line[0];
    size_t n = line[0] == '`' ? strspn(line, "`") : line[0] == '~' ? strspn(line, "~") : 0;
    return n >= 3 ? n : 0;
}

static bool says_yaml(const char *line)
{
    const char *word = line + strspn(line, " `~");
    size_t n = strcspn(word, " \t\r\n{");
    return (n == 4 && strncasecmp(word, "yaml", 4) == 0) || (n == 3 && strncasecmp(word, "yml", 3) == 0);
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end != NULL ? end + 1 : line + strlen(line);
}

/* From the line after an opening fence to the closing one (or the end of the text). */
static const char *read_block(struct markdown_block *out, const char *line, char mark, size_t length,
                              size_t *number, bool *pipeline)
{
    *out = (struct markdown_block){.text = line, .first_line = *number};
    *pipeline = false;
    while (*line != '\0') {
        char c = 0;
        size_t n = fence_length(line, &c);
        const char *next = next_line(line);
        ++*number;
        if (n >= length && c == mark) {
            out->len = (size_t)(line - out->text);
            return next;
        }
        if (strncmp(line, "stages:", 7) == 0) *pipeline = true;
        line = next;
    }
    out->len = (size_t)(line - out->text);
    return line;
}

bool markdown_next(struct markdown_block *out, const char *text, size_t *at, size_t *line)
{
    const char *here = text + *at;
    while (*here != '\0') {
        char mark = 0;
        size_t length = fence_length(here, &mark);
        bool yaml = length > 0 && says_yaml(here), pipeline = false;
        here = next_line(here);
        ++*line;
        if (length > 0) here = read_block(out, here, mark, length, line, &pipeline);
        *at = (size_t)(here - text);
        if (yaml && pipeline) return true;
    }
    return false;
}
