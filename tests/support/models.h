/* Pretrained models that tests run, and that are too large to be committed. */
#ifndef TESTS_SUPPORT_MODELS_H
#define TESTS_SUPPORT_MODELS_H

/* The directory of model `name`: $THEA_TEST_MODELS/name, or beside the source tree (models.c). Where
 * it is not, the calling test is skipped, naming it; with CI set it fails. free it */
char *models_find(const char *name);

#endif
