/* The inside of the kind load, shared by stages/load.c and load_*.c alone.
 *
 *   stages/load.c    options, table, life          load_number.c  which documents there are, and their
 * numbers load_list.c      operands to items             load_emit.c    documents to frames load_follow.c
 * items that come later         load_feed.c    what comes once, into spools load_listen.c    what comes over
 * a network
 *
 * A document goes through three steps: an operand is listed as items (a file, standard input, a prompt); each
 * item's documents are numbered in order; numbered documents are emitted, as often as the run asks for. What
 * is listed and numbered is in the manifest. A source that follows or listens is *live*: items come later,
 * files of records grow, and it has no end. */
#ifndef STAGES_SUPPORT_LOAD_IMPL_H
#define STAGES_SUPPORT_LOAD_IMPL_H

#include "graph/wire/stage.h"
#include "stages/support/follow.h"
#include "stages/support/glob_walk.h"
#include "stages/support/listen.h"
#include "stages/support/manifest.h"
#include "stages/support/records.h"
#include "stages/support/spool.h"
#include "stages/support/text_reader.h"

#include <pthread.h>
#include <sys/stat.h>

enum { PIECE_BYTES = 64 << 10, PIECE_TOKENS = 4096, LOAD_WAITS_MAX = 4 };
enum { PORT_DOCS, PORT_TOKENS };
enum { FORMAT_AUTO, FORMAT_TEXT, FORMAT_JSONL, FORMAT_TOKENS };
#define LOAD_NONE SIZE_MAX

/* A spool and what fills it. Another thread may fill it, too (HTTP): all goes through feed_*. */
struct feed {
    bool open;
    size_t item; /* whose bytes these are */
    struct spool spool;
    pthread_mutex_t lock;
    uint64_t trim_at, trim_ns; /* the spool may be trimmed to there, from then on; 0: not known */
};

struct load {
    /* Options. */
    struct value_list paths, exclude, texts;
    int format;
    const char *base;
    int64_t max_bytes, spool_bytes;
    bool follow;
    const char *listen;

    char *base_dir;
    struct glob_walk walk;
    struct manifest manifest;
    int64_t expected; /* documents that will come; -1: not known */

    struct feed in, net; /* standard input; the network */
    uint64_t id_base;    /* a stream's id less its index; UINT64_MAX until one was started */
    uint64_t safe;       /* streams before it are committed */
    uint64_t trim_next_ns;

    /* Live. */
    struct follow *follower;
    struct glob_pattern *patterns;
    size_t pattern_count;
    void *tree; /* which item a path is */
    struct thea_err follow_failed;
    bool lost; /* events were lost: look at everything again */
    struct listen *listener;
    struct http *http;
    struct thea_err listen_failed; /* the spool could not be written */
    struct growing {
        size_t item;
        bool fresh; /* something happened since it had nothing more */
    } * growing;
    size_t growing_count, turn;

    int waits[LOAD_WAITS_MAX]; /* nothing is there before one of these can be read; of this op */
    size_t wait_count;

    /* Numbering. */
    size_t at;              /* items before it are done */
    size_t ahead;           /* how many to number before the next sync */
    struct records counter; /* name != NULL: reads item `counting` ahead of emission */
    size_t counting;

    /* Emitting. */
    uint64_t next;               /* index of the next stream to start */
    struct stage_stream *stream; /* NULL: between two documents */
    size_t item;                 /* whose document it is, or whose file is open; LOAD_NONE */
    int fd;                      /* -1: nothing */
    struct text_reader reader;
    struct records records; /* name != NULL: fd is JSON Lines */
    uint64_t record_index;  /* the stream that its next record is */
    struct record record;   /* the document being sent, when it is one */
    const char *text;       /* its text (NULL: its tokens), or a prompt's */
    size_t text_len, sent;
};

/* load_list.c */
THEA_CHECK thea_rc load_list(struct stage *st, struct load *l, struct thea_err *err);
const char *load_name(const struct load *l, size_t item); /* as messages and ids have it; borrowed */
bool load_is_prompt(const struct load *l, size_t item, const char **text);

/* load_number.c */
/* Number some documents more. THEA_OK: some items are further; THEA_AGAIN: nothing is there yet; THEA_DONE:
 * no more will come. */
THEA_CHECK thea_rc load_number(struct stage *st, struct load *l, struct thea_err *err);
/* By hand a file of records is counted only when it has been read. */
void load_number_counted(struct load *l);
void load_number_close(struct load *l);
void load_leave_out(struct stage *st, struct load *l, const char *name, const char *reason);
void load_leave_out_line(struct stage *st, struct load *l, const struct records *r);
/* What every reader of an item's records has in common. */
struct records load_records(const struct load *l, size_t item, int fd);
/* Does the file differ from what was noted? Then note it, and say so once. */
bool load_changed(struct load *l, size_t item, const struct stat *now);

bool load_is_live(const struct load *l);
/* Where its bytes are now. */
const char *load_path(const struct load *l, size_t item);
bool load_path_is_records(const struct load *l, const char *path);
/* A file was found. Errors: THEA_EUSAGE for what is no file. */
THEA_CHECK thea_rc load_list_file(struct load *l, const char *path, struct thea_err *err);

/* load_follow.c */
THEA_CHECK thea_rc load_follow_open(struct stage *st, struct load *l, struct thea_err *err);
void load_follow_close(struct load *l);
int load_open_file(struct load *l, size_t item); /* as open(2), wherever the item's file is now */
/* What happened since: new items, growing ones made fresh. */
THEA_CHECK thea_rc load_follow_take(struct load *l, struct thea_err *err);
/* Is this file of records not the one that was read so far? Then it is said, and made a new item. */
bool load_follow_replaced(struct load *l, size_t item, const struct stat *now);

/* load_feed.c */
THEA_CHECK thea_rc load_feed_open(struct stage *st, struct load *l, struct thea_err *err);
void load_feed_close(struct load *l);
/* The feed whose spool keeps an item's bytes; NULL: they are in a file of its own, or, by hand, nowhere. */
struct feed *load_feed_of(struct load *l, size_t item);
/* Of a struct feed, as pread(2). */
ssize_t load_feed_read(void *feed, void *to, size_t room, uint64_t offset);
bool load_feed_ended(struct feed *f);
bool load_feed_full(struct feed *f);
uint64_t load_feed_end(struct feed *f);
/* Take what comes on standard input. THEA_OK: something came, or its end; THEA_AGAIN: nothing. */
THEA_CHECK thea_rc load_feed_stdin(struct load *l, struct thea_err *err);
bool load_must_wait(struct load *l, int fd); /* nothing can be read from fd: noted as what is waited for */
THEA_CHECK thea_rc load_feed_sync(struct load *l, struct thea_err *err);
void load_feed_trim(struct stage *st, struct load *l);

/* load_listen.c */
THEA_CHECK thea_rc load_listen_open(struct stage *st, struct load *l, struct thea_err *err);
void load_listen_close(struct load *l);

/* load_emit.c */
/* One frame, or one document's beginning. THEA_DONE: none of the numbered ones is left. */
THEA_CHECK thea_rc load_emit(struct stage *st, struct load *l, struct thea_err *err);
void load_emit_close(struct load *l);

#endif
