/* Documents in their turn into the index: see index_turns.h.
 *
 * A commit costs two flushes of a disk, so one is for several documents where they come fast: it is made when
 * the last one was at least as long ago as it took, or when COMMIT_DOCUMENTS wait (a source has 16 streams
 * under way, and must not be held up by those that are done), or when nothing more comes (tick). */
#include "stages/support/index_turns.h"

#include "graph/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { COMMIT_DOCUMENTS = 8, WORD_BYTES = 16 };

struct footer {
    uint64_t text, vector, metadata; /* bytes */
    uint64_t has_text;
};

/* --- the run's word --- */

static thea_rc new_word(char *word, struct thea_err *err)
{
    unsigned char bytes[WORD_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return thea_fail(err, THEA_EOS, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(word + 2 * i, 3, "%02x", bytes[i]);
    return THEA_OK;
}

/* The file has its name only when the word is in it and on the disk. */
static thea_rc write_word(const char *path, const char *word, struct thea_err *err)
{
    struct buf beside = {0};
    size_t n = strlen(word);
    buf_printf(&beside, "%s.new", path);
    int fd = open(beside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, word, n) == (ssize_t)n && fsync(fd) == 0;
    good = good && rename(beside.data, path) == 0;
    thea_rc rc = good ? THEA_OK : thea_fail_create(err, path, errno);
    if (fd >= 0) close(fd);
    buf_fini(&beside);
    return rc;
}

static thea_rc read_word(char *word, const char *path, bool *there, struct thea_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *there = fd >= 0;
    if (fd < 0 && errno == ENOENT) return THEA_OK;
    if (fd < 0) return thea_fail(err, THEA_EIO, "cannot read '%s': %s", path, strerror(errno));
    ssize_t n = read(fd, word, 2 * WORD_BYTES + 1);
    close(fd);
    size_t digits = n > 0 ? strspn(word, "0123456789abcdef") : 0;
    if (n == 2 * WORD_BYTES && digits == (size_t)n) return THEA_OK;
    return thea_fail(err, THEA_EDATA, "damaged: '%s' is not what this stage wrote there", path);
}

thea_rc run_word(char **out, const char *run_dir, const char *name, struct thea_err *err)
{
    char word[2 * WORD_BYTES + 2] = {0};
    bool there = false;
    struct buf path = {0};
    buf_printf(&path, "%s/journal", run_dir);
    (void)mkdir(path.data, 0700);
    size_t at = path.len + 1;
    buf_printf(&path, "/%s", name);
    for (char *c = path.data + at; *c != '\0'; c++)
        if (*c == '/') *c = '.'; /* parts are no directories */
    thea_rc rc = read_word(word, path.data, &there, err);
    if (rc == THEA_OK && !there) rc = new_word(word, err);
    if (rc == THEA_OK && !there) rc = write_word(path.data, word, err);
    if (rc == THEA_OK && (*out = strdup(word)) == NULL) abort();
    buf_fini(&path);
    return rc;
}

/* --- packing --- */

/* What is known of the document beside its text, as JSON. */
static char *metadata_of(const struct stage_stream *s, size_t *n)
{
    static const char *const texts[] = {"path", "pooling", "prompt"};
    static const char *const numbers[] = {"bytes", "normalized", "padded_to", "truncated_from"};
    struct json_node *map = json_new_map();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *value = stage_stream_text(s, texts[i], NULL);
        if (value != NULL) json_put(map, texts[i], json_new_string(value));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t value = stage_stream_int(s, numbers[i], INT64_MIN);
        if (value != INT64_MIN) json_put(map, numbers[i], json_new_int(value));
    }
    char *text = json_print(map, 0, 0);
    *n = strlen(text);
    json_free(map);
    return text;
}

thea_rc index_turns_pack(struct write_index *w, struct stage_stream *s, const struct document *d,
                         struct thea_err *err)
{
    struct gather *to = &d->turn->data;
    size_t n;
    char *metadata = metadata_of(s, &n);
    struct footer f = {to->bytes, d->dimension * sizeof *d->vector, n, d->has_text};
    thea_rc rc = gather_add(to, w->output, d->vector, f.vector, err);
    if (rc == THEA_OK) rc = gather_add(to, w->output, metadata, f.metadata, err);
    if (rc == THEA_OK) rc = gather_add(to, w->output, &f, sizeof f, err);
    free(metadata);
    return rc;
}

/* --- putting --- */

/* Attributes that are columns or the index's own are left out of its metadata. NULL: nothing is left. */
static char *rest_of(const struct json_node *map)
{
    static const char *const kept[] = {"padded_to", "truncated_from"};
    struct json_node *rest = json_new_map();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const struct json_node *value = json_member(map, kept[i]);
        if (value != NULL) json_put(rest, kept[i], json_copy_node(value));
    }
    char *text = json_count(rest) > 0 ? json_print(rest, 0, 0) : NULL;
    json_free(rest);
    return text;
}

static thea_rc put_unpacked(struct write_index *w, const char *id, const char *text, const struct footer *f,
                            const struct json_node *map, const float *vector, struct thea_err *err)
{
    char *rest = rest_of(map);
    struct index_document doc = {
        .id = id,
        .path = json_text_or(map, "path", NULL),
        .text = f->has_text ? text : NULL,
        .text_len = f->text,
        .bytes = json_int_or(map, "bytes", f->has_text ? (int64_t)f->text : -1),
        .metadata = rest,
        .vector = vector,
        .dimension = f->vector / sizeof *vector,
        .pooling = json_text_or(map, "pooling", NULL),
        .normalized = json_int_or(map, "normalized", 0) != 0,
        .prompt = json_text_or(map, "prompt", NULL),
        .padded_to = (uint64_t)json_int_or(map, "padded_to", 0),
        .truncated = json_member(map, "truncated_from") != NULL,
    };
    thea_rc rc = index_put(w->index, &doc, err);
    free(rest);
    return rc;
}

static thea_rc put_document(struct write_index *w, struct turn *turn, struct thea_err *err)
{
    const char *data;
    struct footer f;
    struct json_node *map = NULL;
    float *vector = NULL;
    thea_rc rc = gather_view(&turn->data, &data, err);
    if (rc != THEA_OK) return rc;
    memcpy(&f, data + turn->data.bytes - sizeof f, sizeof f);
    vector = malloc(f.vector + 1);
    if (vector == NULL) abort();
    memcpy(vector, data + f.text, f.vector); /* the text before it may have any length */
    rc = json_parse(&map, data + f.text + f.vector, f.metadata, "attributes", err);
    if (rc == THEA_OK) rc = put_unpacked(w, turn->id, data, &f, map, vector, err);
    json_free(map);
    free(vector);
    return rc;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static thea_rc commit(struct stage *st, struct write_index *w, struct thea_err *err)
{
    uint64_t begin = now_ns();
    thea_rc rc = index_commit(w->index, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = 0; i < w->waiting.count; i++)
        for (uint64_t s = w->waiting.items[i].first; s <= w->waiting.items[i].last; s++) stage_commit(st, s);
    ranges_clear(&w->waiting);
    w->committed_ns = now_ns();
    w->commit_cost_ns = w->committed_ns - begin;
    return THEA_OK;
}

static bool is_due(const struct write_index *w)
{
    if (!index_pending(w->index)) return false;
    return ranges_total(&w->waiting) >= COMMIT_DOCUMENTS || now_ns() - w->committed_ns >= w->commit_cost_ns;
}

static thea_rc put_turn(struct stage *st, struct write_index *w, struct turn *turn, struct thea_err *err)
{
    thea_rc rc = turn->failed ? THEA_OK : put_document(w, turn, err);
    if (rc == THEA_OK) rc = index_mark(w->index, turn->stream, err);
    if (rc != THEA_OK) return rc;
    if (!turn->failed) stage_count_bytes(st, turn->data.bytes);
    ranges_add(&w->waiting, turn->stream, turn->stream);
    turns_leave(&w->turns, turn);
    return THEA_OK;
}

thea_rc index_turns_flush(struct stage *st, struct write_index *w, bool all, struct thea_err *err)
{
    struct turn *turn;
    if (w->kept) turns_learn_totals(&w->turns, st);
    while ((turn = turns_next(&w->turns)) != NULL && turn->done) {
        thea_rc rc = put_turn(st, w, turn, err);
        if (rc == THEA_OK && is_due(w)) rc = commit(st, w, err);
        if (rc != THEA_OK) return rc;
    }
    return all && index_pending(w->index) ? commit(st, w, err) : THEA_OK;
}
