/* Any bytes as a pipeline file: yaml_read, expansion and printing of what they say never crash, hang or read
 * outside; every place that is told lies inside the text. Seeds: tests/goldens/pipelines/bad. */
#include "graph/control/yaml.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_places(const struct yaml_node *node, size_t lines)
{
    assert(node->place.line >= 1 && node->place.line <= lines + 1);
    assert(node->place.column >= 1);
    for (size_t i = 0; i < node->count; i++) {
        if (node->keys != NULL) check_places(node->keys[i], lines);
        check_places(node->items[i], lines);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag_list *diags = diag_list_new();
    struct buf said = {0};
    char *text = malloc(size + 1); /* the exact size under the sanitizer: nothing may read on */
    if (text == NULL) abort();
    memcpy(text, data, size);
    text[size] = '\0';
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n' || text[i] == '\r' ||
                 (unsigned char)text[i] >= 0x80; /* libyaml breaks lines at U+0085, U+2028 too */
    diag_source(diags, "f", text, size);
    struct yaml_node *root = yaml_read(text, size, "f", 1, diags);
    if (root != NULL) {
        check_places(root, lines);
        yaml_expand(root, diags);
    }
    assert(root != NULL || diag_count(diags) > 0);
    diag_print_text(diags, &said, true);
    diag_print_json(diags, &said);
    yaml_node_free(root);
    diag_list_free(diags);
    buf_fini(&said);
    free(text);
    return 0;
}
