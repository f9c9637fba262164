#include "tests/support/models.h"

#include "graph/buf.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

char *models_find(const char *name)
{
    const char *folder = getenv("THEA_TEST_MODELS");
    struct buf path = {0};
    if (folder != NULL && folder[0] != '\0') {
        buf_printf(&path, "%s/%s", folder, name);
    } else {
        buf_printf(&path, "%s/../shared/models/%s", run_source_dir(), name);
    }
    if (access(buf_text(&path), R_OK) == 0) return buf_take(&path);
    cr_assert(getenv("CI") == NULL, "model %s is not at %s (THEA_TEST_MODELS)", name, buf_text(&path));
    buf_fini(&path);
    cr_skip_test("model %s is not here (THEA_TEST_MODELS)", name);
    return NULL;
}
