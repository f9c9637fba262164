/* See token_list.h. */
#include "text/token_list.h"

#include <stdlib.h>

void token_list_fini(struct token_list *list)
{
    free(list->ids);
    free(list->ends);
    *list = (struct token_list){0};
}

void token_list_reserve(struct token_list *list, size_t n)
{
    if (list->cap - list->count >= n) return;
    size_t cap = list->cap < 256 ? 256 : list->cap;
    while (cap < list->count + n) cap *= 2;
    list->ids = realloc(list->ids, cap * sizeof *list->ids);
    list->ends = realloc(list->ends, cap * sizeof *list->ends);
    if (list->ids == NULL || list->ends == NULL) abort();
    list->cap = cap;
}

void token_list_add(struct token_list *list, int32_t id, int64_t end)
{
    token_list_reserve(list, 1);
    int64_t before = list->count > 0 ? list->ends[list->count - 1] : 0;
    list->ids[list->count] = id;
    list->ends[list->count++] = end > before ? end : before;
}
