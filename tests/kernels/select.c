#include "tests/kernels/check.h"

Test(select, finds_a_whole_table_by_name_and_the_best_by_none)
{
    cr_assert_str_eq(kernels_select("plain")->name, "plain");
    unsetenv("THEA_KERNELS");
    const struct kernels *best = kernels_select(NULL);
    FOR_EACH_TABLE (k) {
        void *entries[sizeof *k / sizeof(void *)];
        memcpy(entries, k, sizeof *k);
        for (size_t i = 0; i < COUNT(entries); i++)
            cr_assert_not_null(entries[i], "%s lacks entry %zu", k->name, i);
        if (k == best)
            best = NULL;
        else
            cr_assert_not_null(best, "a table after the best one, %s, runs here", k->name);
    }
    cr_assert_null(best);
}

Test(select, follows_the_environment)
{
    setenv("THEA_KERNELS", "plain", 1);
    cr_assert_str_eq(kernels_select(NULL)->name, "plain");
    setenv("THEA_KERNELS", "", 1);
    cr_assert_not_null(kernels_select(NULL));
}

Test(select, knows_no_other_name)
{
    static const char *const wrong[] = {"avx", "AVX2", "plain ", "neon", "avx5122"};
    for (size_t i = 0; i < COUNT(wrong); i++) cr_assert_null(kernels_select(wrong[i]), "%s", wrong[i]);
    setenv("THEA_KERNELS", "fast", 1);
    cr_assert_null(kernels_select(NULL));
}

Test(select, describes_the_cpu_in_whatever_room_there_is)
{
    for (size_t size = 1; size < 40; size++) {
        char name[64], features[64];
        memset(name, 'x', sizeof name);
        memset(features, 'x', sizeof features);
        cr_assert_lt(strlen(kernels_cpu_name(name, size)), size);
        cr_assert_lt(strlen(kernels_cpu_features(features, size)), size);
        cr_assert(name[size] == 'x' && features[size] == 'x', "size %zu", size);
    }
    cr_assert_not_null(strstr(kernels_blas_config(), "OpenBLAS"));
}
