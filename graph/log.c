/* Log: see log.h. Invariant: a message is one write(2), so lines of several threads and processes do not mix.
 */
#include "graph/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program_name = "thea";
static thea_log_level log_level = THEA_LOG_WARNING;
static thea_color log_color = THEA_COLOR_AUTO;

void thea_log_init(const char *program)
{
    program_name = program;
    const char *wanted = getenv("THEA_LOG");
    if (wanted == NULL) return;
    if (strcmp(wanted, "debug") == 0) log_level = THEA_LOG_DEBUG;
    if (strcmp(wanted, "info") == 0) log_level = THEA_LOG_INFO;
}

void thea_log_set_level(thea_log_level level)
{
    log_level = level;
}

void thea_log_set_color(thea_color color)
{
    log_color = color;
}

bool thea_log_colors(int fd)
{
    if (log_color != THEA_COLOR_AUTO) return log_color == THEA_COLOR_ALWAYS;
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (no_color != NULL && no_color[0] != '\0') return false;
    if (term == NULL || strcmp(term, "dumb") == 0) return false;
    return isatty(fd) == 1;
}

static void write_line(thea_log_level level, const char *fmt, va_list args)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    static const char *const colors[] = {"\033[1;31m", "\033[1;35m", "\033[1;36m", "\033[2m"};
    if (level > log_level) return;
    char line[4096];
    bool color = thea_log_colors(STDERR_FILENO);
    int head = snprintf(line, sizeof line, "%s: %s%s:%s ", program_name, color ? colors[level] : "",
                        names[level], color ? "\033[0m" : "");
    if (head < 0) return;
    size_t room = sizeof line - (size_t)head - 1;
    int body = vsnprintf(line + head, room, fmt, args);
    size_t length = (size_t)head + (body < 0 ? 0 : (size_t)body < room ? (size_t)body : room - 1);
    line[length++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored; /* nobody is left to tell */
}

#define LOG_FUNCTION(name, level)                                                                            \
    void name(const char *fmt, ...)                                                                          \
    {                                                                                                        \
        va_list args;                                                                                        \
        va_start(args, fmt);                                                                                 \
        write_line(level, fmt, args);                                                                        \
        va_end(args);                                                                                        \
    }
LOG_FUNCTION(thea_error, THEA_LOG_ERROR)
LOG_FUNCTION(thea_warning, THEA_LOG_WARNING)
LOG_FUNCTION(thea_info, THEA_LOG_INFO)
LOG_FUNCTION(thea_debug, THEA_LOG_DEBUG)

int thea_log_failure(const struct thea_err *err)
{
    thea_error("%s", thea_err_message(err));
    return thea_exit_status(err->rc);
}
