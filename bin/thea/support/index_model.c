/* The model of an index: see index_model.h. */
#include "bin/thea/support/index_model.h"

#include "nn/model.h"
#include "nn/weights/find.h"
#include "retrieval/fingerprint.h"

#include <stdlib.h>
#include <unistd.h>

thea_rc index_model_find(char **dir, const struct index_info *info, const char *index, const char *name,
                         struct thea_err *err)
{
    struct index_model model = {0};
    struct model_info about = {0};
    *dir = NULL;
    if (name == NULL && access(info->model.path, F_OK) != 0)
        return thea_fail(err, THEA_ENOINPUT,
                         "the model of index '%s' is no longer where it was: %s\n"
                         "  say where it is now: -m DIR",
                         index, info->model.path);
    thea_rc rc = model_find(dir, name != NULL ? name : info->model.path, FIND_CONFIG, err);
    if (rc == THEA_OK) rc = model_read_info(&about, *dir, err);
    if (rc == THEA_OK) rc = fingerprint_of(model.fingerprint, *dir, err);
    model.path = *dir;
    model.family = about.model_type;
    model.dimension = about.hidden;
    if (rc == THEA_OK) rc = index_check_model(info, index, &model, err);
    if (rc == THEA_OK) return rc;
    free(*dir);
    *dir = NULL;
    return rc;
}
