/* The filters of a part's long convolutions: one bank for all its blocks. See model.h and filter.h. */
#include "nn/model_impl.h"

static thea_rc make_bank(struct model *m, uint64_t limit_bytes, struct thea_err *err)
{
    const struct model_config *c = m->config;
    filter_bank_free(m->filters);
    m->filters = NULL;
    if (c->monarch.filter_width == 0) return THEA_OK;
    struct filter_shape shape = {.channels = c->info.hidden,
                                 .features = c->monarch.filter_features,
                                 .width = c->monarch.filter_width,
                                 .context = c->info.context};
    return filter_bank_new(&m->filters, &shape, m->last - m->first + 1, limit_bytes, m->kernels, m->workers,
                           err);
}

thea_rc model_prepare(struct model *m, uint64_t limit_bytes, struct thea_err *err)
{
    thea_rc rc = make_bank(m, limit_bytes, err);
    for (size_t i = 0; i < m->sublayer_count && rc == THEA_OK; i++) {
        const struct sublayer *s = &m->sublayers[i];
        if (s->kind->prepare != NULL) rc = s->kind->prepare(s->self, m->filters, i / 2, err);
    }
    return rc;
}

thea_rc model_limit_filters(struct model *m, uint64_t bytes, struct thea_err *err)
{
    return m->filters != NULL ? model_prepare(m, bytes, err) : THEA_OK;
}

uint64_t model_filters_wanted(const struct model *m)
{
    return m->filters != NULL ? filter_bank_stats(m->filters).wanted_bytes : 0;
}
