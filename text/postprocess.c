/* See postprocess.h. A Sequence applies its processors one around the other. */
#include "text/postprocess.h"

#include <stdlib.h>
#include <string.h>

static const char *const supported[] = {"TemplateProcessing", "ByteLevel", "RobertaProcessing",
                                        "BertProcessing",     "Sequence",  NULL};

static void insert(struct id_list *list, size_t at, int32_t id)
{
    list->at = realloc(list->at, (list->count + 1) * sizeof *list->at);
    if (list->at == NULL) abort();
    memmove(list->at + at + 1, list->at + at, (list->count - at) * sizeof *list->at);
    list->at[at] = id;
    list->count++;
}

static thea_rc check_id(const struct place *p, const char *name, int64_t id, const struct vocab *v,
                        struct thea_err *err)
{
    size_t n;
    if (id >= 0 && id <= VOCAB_ID_MAX && vocab_text(v, (int32_t)id, &n) != NULL) return THEA_OK;
    return place_fail(p, err, "special token '%.80s' has id %lld, which the vocabulary does not have", name,
                      (long long)id);
}

/* The ids of special token `name`, before or after the text; *seen counts those put before by this template.
 */
static thea_rc add_special(struct template_ids *t, const struct place *p, const char *name, bool after,
                           size_t *seen, const struct vocab *v, struct thea_err *err)
{
    struct place map = place_member(p, "special_tokens"), entry = place_member(&map, name),
                 ids = place_member(&entry, "ids");
    if (entry.node == NULL)
        return place_fail(
            p, err, "the template names special token '%.80s', which special_tokens does not have", name);
    thea_rc rc = place_expect(&ids, JSON_LIST_, err);
    for (size_t i = 0; i < json_count(ids.node) && rc == THEA_OK; i++) {
        struct place item = place_item(&ids, i);
        rc = place_expect(&item, JSON_INT_, err);
        if (rc == THEA_OK) rc = check_id(&item, name, json_int(item.node), v, err);
        if (rc != THEA_OK) return rc;
        if (after)
            insert(&t->after, t->after.count, (int32_t)json_int(item.node));
        else
            insert(&t->before, (*seen)++, (int32_t)json_int(item.node));
    }
    return rc;
}

static thea_rc read_template(struct template_ids *t, const struct place *p, const struct vocab *v,
                             struct thea_err *err)
{
    struct place list = place_member(p, "single");
    size_t texts = 0, seen = 0;
    thea_rc rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0; i < json_count(list.node) && rc == THEA_OK; i++) {
        struct place item = place_item(&list, i), special = place_member(&item, "SpecialToken");
        const char *name;
        if (json_member(item.node, "Sequence") != NULL) {
            if (texts++ > 0) return place_fail(&item, err, "the text stands twice in the template");
            continue;
        }
        rc = place_expect(&special, JSON_MAP_, err);
        if (rc == THEA_OK) rc = place_string(&special, "id", &name, NULL, err);
        if (rc == THEA_OK) rc = add_special(t, p, name, texts > 0, &seen, v, err);
    }
    if (rc == THEA_OK && texts == 0)
        return place_fail(&list, err, "the template has no place for the text (a \"Sequence\")");
    return rc;
}

/* BERT's and RoBERTa's: cls text sep, each ["token", id]. */
static thea_rc read_pair(struct template_ids *t, const struct place *p, const struct vocab *v,
                         struct thea_err *err)
{
    static const char *const keys[] = {"cls", "sep"};
    for (int i = 0; i < 2; i++) {
        struct place pair = place_member(p, keys[i]);
        const struct json_node *id = json_item(pair.node, 1);
        if (json_count(pair.node) != 2 || json_kind(id) != JSON_INT_)
            return place_fail(&pair, err, "[\"token\", id] expected");
        thea_rc rc = check_id(&pair, keys[i], json_int(id), v, err);
        if (rc != THEA_OK) return rc;
        if (i == 0)
            insert(&t->before, 0, (int32_t)json_int(id));
        else
            insert(&t->after, t->after.count, (int32_t)json_int(id));
    }
    return THEA_OK;
}

thea_rc template_read(struct template_ids *t, const struct place *p, const struct vocab *v,
                      struct thea_err *err)
{
    const char *type;
    if (place_is_null(p)) return THEA_OK;
    thea_rc rc = place_type(p, &type, err);
    if (rc != THEA_OK) return rc;
    if (strcmp(type, "ByteLevel") == 0)
        return THEA_OK; /* trims offsets, which we count in bytes of the text anyway */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(t, p, v, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_pair(t, p, v, err);
    if (strcmp(type, "Sequence") != 0) return place_unsupported(p, err, type, supported);
    struct place list = place_member(p, "processors");
    rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0; i < json_count(list.node) && rc == THEA_OK; i++) {
        struct place item = place_item(&list, i);
        rc = template_read(t, &item, v, err);
    }
    return rc;
}

void template_fini(struct template_ids *t)
{
    free(t->before.at);
    free(t->after.at);
    *t = (struct template_ids){0};
}
