/* Help texts, man pages and completion scripts, all made from the commands' tables and the kinds' --describe.
 */
#ifndef BIN_THEA_MANUAL_H
#define BIN_THEA_MANUAL_H

#include "bin/thea/support/command.h"
#include "graph/buf.h"

void manual_overview(struct buf *out);                          /* `thea --help` */
void manual_command(struct buf *out, const struct command *c);  /* `thea COMMAND --help`: at most 40 lines */
void manual_man_page(struct buf *out, const struct command *c); /* roff: thea-COMMAND(1) */
void manual_man_overview(struct buf *out);                      /* roff: thea(1) */
/* roff: thea-KIND(1), from the kind's own table. Errors: those of kind_find and kind_describe. */
THEA_CHECK thea_rc manual_man_kind(struct buf *out, const char *kind, struct thea_err *err);
void manual_man_pipeline(struct buf *out); /* roff: thea-pipeline(5) */
/* Shared by the pages: text as roff, and the head of a page. */
void manual_roff_text(struct buf *out, const char *text);
void manual_roff_head(struct buf *out, const char *title, const char *section, const char *name,
                      const char *summary);
/* bash, zsh, fish. Errors: THEA_EUSAGE for another shell. */
THEA_CHECK thea_rc manual_completion(struct buf *out, const char *shell, struct thea_err *err);

#endif
