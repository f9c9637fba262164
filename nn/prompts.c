/* Prompts of sentence encoders: see prompts.h. */
#include "nn/prompts.h"

#include "graph/buf.h"
#include "graph/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20 };
#define FILE_NAME "config_sentence_transformers.json"

/* The roles that a text can have, and what authors call their prompts. */
static const char *const query_names[] = {"query", NULL};
static const char *const document_names[] = {"document", "passage", "corpus", NULL};

static thea_rc read_config(struct json_node **out, const char *dir, struct thea_err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/" FILE_NAME, dir);
    *out = NULL;
    thea_rc rc = access(path.data, F_OK) == 0 ? json_read_file(out, path.data, FILE_BYTES_MAX, err) : THEA_OK;
    if (rc == THEA_OK && *out != NULL && json_kind(*out) != JSON_MAP_)
        rc = thea_fail(err, THEA_EDATA, "%s: expected a JSON object, found %s", path.data,
                       json_kind_name(json_kind(*out)));
    buf_fini(&path);
    return rc;
}

static bool is_name(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && *c != '-' && *c != '_') return false;
    }
    return text[0] != '\0';
}

static thea_rc no_such(const struct json_node *prompts, const char *dir, const char *wanted,
                       struct thea_err *err)
{
    struct buf names = {0};
    for (struct json_iter it = json_iter(prompts); json_next(&it);)
        if (strcmp(it.key, query_names[0]) != 0 && strcmp(it.key, document_names[0]) != 0)
            buf_printf(&names, "%s, ", it.key);
    thea_rc rc =
        thea_fail(err, THEA_EUSAGE,
                  "%s has no prompt '%s'\n  accepted  %squery, document, or the prompt itself, as in "
                  "'query: '",
                  dir, wanted, buf_text(&names));
    buf_fini(&names);
    return rc;
}

/* The prompt of that name. *out NULL: there is none. */
static thea_rc take(const char **out, const struct json_node *prompts, const char *name, const char *dir,
                    struct thea_err *err)
{
    const struct json_node *node = json_member(prompts, name);
    size_t len = 0;
    *out = json_text(node, &len);
    if (node == NULL || (*out != NULL && strlen(*out) == len)) return THEA_OK;
    return thea_fail(err, THEA_EDATA, "%s/" FILE_NAME ": prompts.%s: expected a text without U+0000", dir,
                     name);
}

static thea_rc take_first(const char **out, const struct json_node *prompts, const char *const *names,
                          const char *dir, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    *out = NULL;
    for (; rc == THEA_OK && *out == NULL && *names != NULL; names++)
        rc = take(out, prompts, *names, dir, err);
    return rc;
}

static thea_rc take_default(const char **out, const struct json_node *config, const struct json_node *prompts,
                            const char *dir, struct thea_err *err)
{
    const char *name = json_text_or(config, "default_prompt_name", NULL);
    *out = "";
    if (name == NULL) return THEA_OK;
    thea_rc rc = take(out, prompts, name, dir, err);
    if (rc != THEA_OK || *out != NULL) return rc;
    return thea_fail(err, THEA_EDATA,
                     "%s/" FILE_NAME ": default_prompt_name is '%.100s', which is not among its prompts", dir,
                     name);
}

static thea_rc choose(const char **out, const struct json_node *config, const char *dir, const char *wanted,
                      struct thea_err *err)
{
    const struct json_node *prompts = json_member(config, "prompts");
    const char *const *role = NULL;
    thea_rc rc = THEA_OK;
    *out = NULL;
    if (wanted != NULL && !is_name(wanted)) {
        *out = wanted;
        return THEA_OK;
    }
    if (wanted != NULL && strcmp(wanted, query_names[0]) == 0) role = query_names;
    if (wanted != NULL && strcmp(wanted, document_names[0]) == 0) role = document_names;
    if (role != NULL)
        rc = take_first(out, prompts, role, dir, err);
    else if (wanted != NULL)
        rc = take(out, prompts, wanted, dir, err);
    if (rc != THEA_OK || *out != NULL) return rc;
    return wanted != NULL && role == NULL ? no_such(prompts, dir, wanted, err)
                                          : take_default(out, config, prompts, dir, err);
}

thea_rc prompt_read(char **out, const char *dir, const char *wanted, struct thea_err *err)
{
    struct json_node *config = NULL;
    const char *found = NULL;
    *out = NULL;
    thea_rc rc = read_config(&config, dir, err);
    if (rc == THEA_OK) rc = choose(&found, config, dir, wanted, err);
    if (rc == THEA_OK && (*out = strdup(found)) == NULL) abort();
    json_free(config);
    return rc;
}
