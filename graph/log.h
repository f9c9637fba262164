/* Log: lines on stderr, `<program>: <level>: message`, colours only on a terminal.
 * One process, one log; thread-safe (a line is one write). Detail lines of a message keep their indentation.
 */
#ifndef THEA_LOG_H
#define THEA_LOG_H

#include "graph/err.h"
#include <stdbool.h>

typedef enum { THEA_LOG_ERROR, THEA_LOG_WARNING, THEA_LOG_INFO, THEA_LOG_DEBUG } thea_log_level;
typedef enum { THEA_COLOR_AUTO, THEA_COLOR_ALWAYS, THEA_COLOR_NEVER } thea_color;

/* program: "thea", "thea-layers", "layers/1": kept by pointer. Level: WARNING, or DEBUG if THEA_LOG=debug,
 * INFO if THEA_LOG=info. */
void thea_log_init(const char *program);
void thea_log_set_level(thea_log_level level); /* -q: ERROR, -v: INFO, -vv: DEBUG */
void thea_log_set_color(thea_color color);

/* Whether text written to fd may have colours: the setting, else a terminal, no NO_COLOR, TERM not "dumb". */
bool thea_log_colors(int fd);

void thea_error(const char *fmt, ...) THEA_PRINTF(1, 2);
void thea_warning(const char *fmt, ...) THEA_PRINTF(1, 2);
void thea_info(const char *fmt, ...) THEA_PRINTF(1, 2);
void thea_debug(const char *fmt, ...) THEA_PRINTF(1, 2);

/* Log err's message as an error and return the exit status that belongs to it; for the end of main(). */
int thea_log_failure(const struct thea_err *err);

#endif
