/* Tokenizer speed on one thread: MB/s and tokens/s of encoding, cold and warm, and the time to open a file.
 *   bench-tokenizer [-m DIR_OR_TOKENIZER_JSON] [FILE...]     default: models/thea-mini on the project's own
 * sources Lines are tab-separated: what, MB/s, tokens/s, seconds, bytes, tokens. "cold": no word in the cache
 * when the text begins; each text is seen once. "warm": the same text again. "4 kB": cut into documents of 4
 * kB; "whole": one document. */
#include "graph/buf.h"
#include "graph/json.h"
#include "text/bytelevel.h"
#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOCUMENT = 4096, WALK_FILES = 16 };

static struct buf text;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *message)
{
    fprintf(stderr, "bench-tokenizer: %s\n", message);
    exit(1);
}

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t got, bad, from = text.len;
    if (file == NULL) die(path);
    while ((got = fread(buf_reserve(&text, 1 << 16), 1, 1 << 16, file)) > 0) text.len += got;
    fclose(file);
    if (!utf8_valid(text.data + from, text.len - from, &bad)) text.len = from;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
    size_t n = strlen(path);
    (void)st;
    if (type == FTW_D && at->level > 0 && (path[at->base] == '.' || strcmp(path + at->base, "build") == 0))
        return FTW_SKIP_SUBTREE;
    if (type == FTW_F && n > 2 &&
        (strcmp(path + n - 2, ".c") == 0 || strcmp(path + n - 2, ".h") == 0 ||
         strcmp(path + n - 3, ".md") == 0))
        add_file(path);
    return FTW_CONTINUE;
}

static void print_cpu(void)
{
    char line[256], *colon;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "model name", 10) != 0 || (colon = strchr(line, ':')) == NULL) continue;
        printf("# cpu:%s", colon + 1);
        break;
    }
    if (file != NULL) fclose(file);
}

static size_t document_end(size_t from, size_t size)
{
    size_t end = text.len - from > size ? from + size : text.len;
    while (end < text.len && ((unsigned char)text.data[end] & 0xC0) == 0x80) end++;
    return end;
}

static void measure(struct tokenizer *t, const char *what, size_t size)
{
    struct token_list out = {0};
    struct thea_err err = {0};
    size_t tokens = 0;
    double start = now();
    for (size_t at = 0, end; at < text.len; at = end) {
        end = document_end(at, size);
        if (tokenizer_encode(t, text.data + at, end - at, false, &out, &err) != THEA_OK) die(err.message);
        tokens += out.count;
    }
    double seconds = now() - start;
    printf("%s\t%.2f\t%.0f\t%.4f\t%zu\t%zu\n", what, (double)text.len / 1e6 / seconds,
           (double)tokens / seconds, seconds, text.len, tokens);
    token_list_fini(&out);
}

static void measure_all(struct tokenizer *t)
{
    tokenizer_forget_words(t);
    measure(t, "encode 4 kB cold", DOCUMENT);
    measure(t, "encode 4 kB warm", DOCUMENT);
    tokenizer_forget_words(t);
    measure(t, "encode whole cold", text.len);
    measure(t, "encode whole warm", text.len);
    tokenizer_use_regex(t);
    measure(t, "encode 4 kB warm, PCRE2 in place of the scanner", DOCUMENT);
}

static void measure_decode(struct tokenizer *t)
{
    struct token_list ids = {0};
    struct thea_err err = {0};
    struct buf out = {0};
    if (tokenizer_encode(t, text.data, text.len, false, &ids, &err) != THEA_OK) die(err.message);
    double start = now();
    if (tokenizer_decode(t, ids.ids, ids.count, false, &out, &err) != THEA_OK) die(err.message);
    double seconds = now() - start;
    printf("decode\t%.2f\t%.0f\t%.4f\t%zu\t%zu\n", (double)out.len / 1e6 / seconds,
           (double)ids.count / seconds, seconds, out.len, ids.count);
    if (out.len != text.len || memcmp(out.data, text.data, out.len) != 0)
        printf("# decoding does not give the text back (this tokenizer normalizes)\n");
    buf_fini(&out);
    token_list_fini(&ids);
}

static struct tokenizer *open_timed(const char *what, const char *path, const struct buf *json)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    double start = now();
    thea_rc rc = json != NULL ? tokenizer_parse(&t, json->data, json->len, what, &err)
                              : tokenizer_open(&t, path, &err);
    if (rc != THEA_OK) die(err.message);
    printf("# open %s: %.1f ms, %zu tokens\n", what, 1e3 * (now() - start), tokenizer_vocab_size(t));
    return t;
}

/* A byte-level file of 128k tokens, each an older one and a byte more. */
static void synthesise(struct buf *json)
{
    enum { TOKENS = 128 << 10 };
    struct json_node *file = json_new_map(), *model = json_new_map(), *vocab = json_new_map(),
                     *merges = json_new_list();
    char **names = calloc(TOKENS, sizeof *names);
    for (int i = 0; i < TOKENS; i++) {
        struct buf name = {0};
        char byte[UTF8_MAX + 1] = {0};
        utf8_put(byte, bytelevel_char((unsigned char)(i < 256 ? i : 'a' + i % 26)));
        const char *prefix = i < 256 ? "" : names[i / 26];
        buf_printf(&name, "%s%s", prefix, byte);
        names[i] = buf_take(&name);
        json_put(vocab, names[i], json_new_int(i));
        if (i < 256) continue;
        struct json_node *pair = json_new_list();
        json_append(pair, json_new_string(prefix));
        json_append(pair, json_new_string(byte));
        json_append(merges, pair);
    }
    json_put(model, "type", json_new_string("BPE"));
    json_put(model, "vocab", vocab);
    json_put(model, "merges", merges);
    json_put(file, "model", model);
    char *printed = json_print(file, 0, 0);
    buf_add_text(json, printed);
    free(printed);
    json_free(file);
    for (int i = 0; i < TOKENS; i++) free(names[i]);
    free(names);
}

int main(int argc, char **argv)
{
    const char *model = THEA_SOURCE_DIR "/models/thea-mini";
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "-m") == 0) model = argv[2], first = 3;
    for (int i = first; i < argc; i++) add_file(argv[i]);
    if (first >= argc && nftw(THEA_SOURCE_DIR, visit, WALK_FILES, FTW_PHYS | FTW_ACTIONRETVAL) != 0)
        die("cannot read the source tree");
    if (text.len == 0) die("no text");
    struct buf json = {0};
    print_cpu();
    struct tokenizer *t = open_timed(model, model, NULL);
    printf("what\tMB/s\ttokens/s\tseconds\tbytes\ttokens\n");
    measure_all(t);
    measure_decode(t);
    tokenizer_close(t);
    synthesise(&json);
    printf("# a made-up tokenizer.json of %.1f MB:\n", (double)json.len / 1e6);
    tokenizer_close(open_timed("128k tokens", NULL, &json));
    buf_fini(&json);
    buf_fini(&text);
    return 0;
}
