/* See vocab_load.h. */
#include "text/vocab_load.h"

enum { TOKEN_BYTES_MAX = 1 << 16, SPARE_IDS = 1 << 16 };

thea_rc vocab_check_id(const struct place *at, const char *token, int64_t id, size_t tokens,
                       struct thea_err *err)
{
    if (id < 0 || id > VOCAB_ID_MAX)
        return place_fail(at, err, "token '%.80s' has id %lld; ids go from 0 to %d", token, (long long)id,
                          VOCAB_ID_MAX);
    if ((uint64_t)id < 2 * (uint64_t)tokens + SPARE_IDS) return THEA_OK;
    return place_fail(at, err, "token '%.80s' has id %lld in a vocabulary of %zu tokens", token,
                      (long long)id, tokens);
}

thea_rc vocab_load(struct vocab *v, const struct place *model, struct thea_err *err)
{
    struct place p = place_member(model, "vocab");
    thea_rc rc = place_expect(&p, JSON_MAP_, err);
    if (rc != THEA_OK) return rc;
    size_t count = json_count(p.node);
    if (count == 0) return place_fail(&p, err, "no tokens in it");
    for (struct json_iter it = json_iter(p.node); json_next(&it);) {
        int64_t id = json_int(it.value);
        if (json_kind(it.value) != JSON_INT_)
            return place_fail(&p, err, "the id of token '%.80s' is %s, not an integer", it.key,
                              json_kind_name(json_kind(it.value)));
        rc = vocab_check_id(&p, it.key, id, count, err);
        if (rc != THEA_OK) return rc;
        if (it.key_len > TOKEN_BYTES_MAX)
            return place_fail(&p, err, "token %lld is longer than %d bytes", (long long)id, TOKEN_BYTES_MAX);
        if (!vocab_add(v, it.key, it.key_len, (int32_t)id)) {
            size_t n = 0;
            const char *other = vocab_text(v, (int32_t)id, &n);
            return place_fail(&p, err, "tokens '%.80s' and '%.*s' have the same id %lld", it.key,
                              (int)(n < 80 ? n : 80), other != NULL ? other : "", (long long)id);
        }
        v->entries[id].model = true;
    }
    return THEA_OK;
}
