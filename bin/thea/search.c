/* thea search: the documents of an index that are nearest to a query. Exit status 1 if there are none. */
#include "bin/thea/support/index_model.h"
#include "bin/thea/support/query.h"
#include "graph/json.h"
#include "retrieval/snippet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LIMIT = 10, COLUMNS = 96, ID_COLUMNS = 32, PASSAGE_MIN = 24, JSON_PASSAGE = 200, THREADS_MAX = 64 };

static const struct command_option search_options[] = {
    {"limit", 0, VALUE_INT, "N", "at most so many documents (10)", NULL},
    {"json", 0, VALUE_BOOL, NULL, "a line of JSON a document", NULL},
    {"model", 'm', VALUE_MODEL, "MODEL", "where the index's model is now; another is refused", NULL},
    {"prompt", 0, VALUE_TEXT, "NAME|TEXT",
     "in front of the query, as for embed (query: the model's own, if it has one)", NULL},
    {"threads", 0, VALUE_INT, "N", "threads (default: as many as there are cores)", NULL},
    {0},
};

static const char *const search_examples[] = {
    "thea search notes.index \"how links are made again\"",
    "thea search notes.index --limit 3 --json \"shared memory\"",
    NULL,
};

/* --- printing --- */

static int columns(void)
{
    struct winsize size;
    bool known =
        isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : COLUMNS;
}

static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* The passage with the query's words in bold. */
static void add_marked(struct buf *out, const struct snippet *s)
{
    size_t at = 0;
    for (size_t i = 0; i < s->mark_count; i++) {
        buf_add(out, s->text.data + at, s->marks[i].at - at);
        buf_printf(out, "\033[1m%.*s\033[0m", (int)s->marks[i].n, s->text.data + s->marks[i].at);
        at = s->marks[i].at + s->marks[i].n;
    }
    if (s->text.len > at) buf_add(out, s->text.data + at, s->text.len - at);
}

static void add_id(struct buf *out, const char *id, int width)
{
    int used = width_of(id);
    buf_add_printable(out, id);
    for (; used < width; used++) buf_add_char(out, ' ');
}

static void add_row(struct buf *out, const struct index_hit *hit, const char *query, int id_width, int room)
{
    struct snippet s;
    bool bold = thea_log_colors(STDOUT_FILENO);
    int over = width_of(hit->id) - id_width;
    int left = over > 0 ? room - over : room;
    snippet_make(&s, hit->text != NULL ? hit->text : "", hit->text_len, query,
                 (size_t)(left < PASSAGE_MIN ? PASSAGE_MIN : left));
    buf_printf(out, "%7.4f  ", (double)hit->score);
    add_id(out, hit->id, s.text.len > 0 ? id_width : 0);
    if (s.text.len > 0) buf_add_text(out, "  ");
    if (bold)
        add_marked(out, &s);
    else
        buf_add(out, buf_text(&s.text), s.text.len);
    buf_add_char(out, '\n');
    snippet_fini(&s);
}

static void print_table(struct buf *out, const struct index_hits *hits, const char *query)
{
    int id_width = (int)strlen("document");
    for (size_t i = 0; i < hits->count; i++) {
        int width = width_of(hits->items[i].id);
        if (width > id_width && width <= ID_COLUMNS) id_width = width;
    }
    int room = columns() - id_width - (int)strlen("-0.0000") - 5; /* two gaps, and the sign of a cut */
    buf_printf(out, "%7s  %-*s  %s\n", "score", id_width, "document", "passage");
    for (size_t i = 0; i < hits->count; i++) add_row(out, &hits->items[i], query, id_width, room);
}

static void print_json(struct buf *out, const struct index_hit *hit, const char *query)
{
    struct snippet s;
    struct json_node *map = json_new_map();
    snippet_make(&s, hit->text != NULL ? hit->text : "", hit->text_len, query, JSON_PASSAGE);
    json_put(map, "id", json_new_string(hit->id));
    json_put(map, "score", json_new_number((double)hit->score));
    if (hit->path != NULL) json_put(map, "path", json_new_string(hit->path));
    if (s.line > 0) json_put(map, "line", json_new_int((int64_t)s.line));
    json_put(map, "snippet",
             hit->text != NULL ? json_new_text(buf_text(&s.text), s.text.len) : json_new_null());
    char *line = json_print(map, 0, 9);
    buf_printf(out, "%s\n", line);
    free(line);
    json_free(map);
    snippet_fini(&s);
}

static int print_hits(const struct index_hits *hits, const char *query, bool json)
{
    struct buf out = {0};
    for (size_t i = 0; json && i < hits->count; i++) print_json(&out, &hits->items[i], query);
    if (!json && hits->count > 0) print_table(&out, hits, query);
    fwrite(buf_text(&out), 1, out.len, stdout);
    buf_fini(&out);
    return hits->count > 0 ? 0 : 1;
}

/* --- finding --- */

static thea_rc find(struct index_hits *hits, struct index_reader *r, const float *query,
                    const struct command_args *args, struct thea_err *err)
{
    struct workers *workers = NULL;
    int threads = command_int(args, "threads", (int)sysconf(_SC_NPROCESSORS_ONLN));
    const struct kernels *kernels = kernels_select(NULL);
    if (threads > THREADS_MAX) threads = THREADS_MAX;
    if (kernels == NULL)
        return thea_fail(err, THEA_EUSAGE, "THEA_KERNELS names none that this CPU runs: plain, avx2, avx512");
    thea_rc rc = workers_new(&workers, threads < 1 ? 1 : threads, err);
    if (rc == THEA_OK)
        rc = index_search(hits, r, query, index_reader_info(r)->model.dimension,
                          (size_t)command_int(args, "limit", LIMIT), kernels, workers, err);
    workers_free(workers);
    return rc;
}

static int search_open(struct index_reader *r, const struct command_args *args)
{
    struct thea_err err = {0};
    const struct index_info *info = index_reader_info(r);
    const char *text = args->operands[1];
    struct index_hits hits = {0};
    char *model = NULL;
    int status;
    if (index_model_find(&model, info, args->operands[0], command_value(args, "model"), &err) != THEA_OK)
        return thea_log_failure(&err);
    if (info->rows == info->holes) {
        thea_warning("index '%s' is empty", args->operands[0]);
        free(model);
        return 1; /* nothing to find */
    }
    float *query = calloc(info->model.dimension, sizeof *query);
    if (query == NULL) abort();
    status = query_embed(query, info, model, text, args);
    if (status == 0 && find(&hits, r, query, args, &err) != THEA_OK)
        status = thea_log_failure(&err);
    else if (status == 0)
        status = print_hits(&hits, text, command_flag(args, "json", false));
    index_hits_fini(&hits);
    free(query);
    free(model);
    return status;
}

static int run_search(const struct command_args *args)
{
    struct thea_err err = {0};
    struct index_reader *r = NULL;
    if (args->operands[1][0] == '\0') {
        thea_error("search: the query is empty");
        return THEA_EUSAGE;
    }
    if (command_int(args, "limit", LIMIT) < 1) {
        thea_error("search: --limit takes a number from 1");
        return THEA_EUSAGE;
    }
    if (index_reader_open(&r, args->operands[0], &err) != THEA_OK) return thea_log_failure(&err);
    int status = search_open(r, args);
    index_reader_close(r);
    return status;
}

const struct command command_search = {
    .name = "search",
    .operands = "INDEX QUERY",
    .summary = "the documents of an index that are nearest to a text",
    .description = "The query's vector is made by the pipeline `embed`, with the model and the pooling of "
                   "the index, and "
                   "compared with\n"
                   "every document's (exact dot products). Each is printed with its score, its id and the "
                   "passage in which "
                   "most of the\n"
                   "query's words stand. Exit status 1: nothing was found.",
    .options = search_options,
    .examples = search_examples,
    .min_operands = 2,
    .max_operands = 2,
    .run = run_search,
};
