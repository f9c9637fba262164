/* Models by name: each place, and each thing that can be wrong with what is found. */
#include "nn/weights/find.h"

#include "graph/buf.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st, (void)flag, (void)walk;
    return remove(path);
}

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/thea-find-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    cr_assert(chdir(root) == 0);
    setenv("HOME", root, 1);
    const char *const unset[] = {"THEA_MODEL", "THEA_MODEL_PATH", "XDG_DATA_HOME", "HF_HOME", "HF_HUB_CACHE"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
}

static void tear_down(void)
{
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Write a file below root, its directories too. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "we");
    cr_assert_not_null(f, "%s", full);
    fputs(text, f);
    fclose(f);
}

static void put_model(const char *dir)
{
    char path[256];
    const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        put(path, "{}");
    }
}

static void expect_found_for(const char *name, const char *where, find_needs needs)
{
    char *dir, full[512], *real;
    struct thea_err err;
    cr_assert(model_find(&dir, name, needs, &err) == THEA_OK, "%s", err.message);
    snprintf(full, sizeof full, "%s/%s", root, where);
    real = realpath(full, NULL);
    cr_expect_str_eq(dir, real);
    free(dir);
    free(real);
}

static void expect_found(const char *name, const char *where)
{
    expect_found_for(name, where, FIND_CONFIG | FIND_WEIGHTS | FIND_TOKENIZER);
}

static void expect_error(const char *name, find_needs needs, thea_rc rc, const char *part)
{
    char *dir;
    struct thea_err err = {0};
    cr_expect(model_find(&dir, name, needs, &err) == rc, "%d: %s", err.rc, err.message);
    cr_expect_null(dir);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
}

TestSuite(find, .init = set_up, .fini = tear_down);

Test(find, a_path_is_taken_as_it_is)
{
    put_model("here/m");
    expect_found("here/m", "here/m");
    expect_found("./here/m/", "here/m");
}

Test(find, places_are_searched_in_order)
{
    put_model("hub/models--org--m/snapshots/abc");
    put("hub/models--org--m/refs/main", "abc\n");
    setenv("HF_HUB_CACHE", "hub", 1);
    expect_found("org/m", "hub/models--org--m/snapshots/abc");
    put_model(".local/share/thea/models/org/m");
    expect_found("org/m", ".local/share/thea/models/org/m");
    put_model("data/thea/models/org/m");
    setenv("XDG_DATA_HOME", "data", 1);
    expect_found("org/m", "data/thea/models/org/m");
    put_model("second/org/m");
    setenv("THEA_MODEL_PATH", "first::second", 1);
    expect_found("org/m", "second/org/m");
    put_model("org/m");
    expect_found("org/m", "org/m");
}

Test(find, the_bundled_model_is_found_from_any_directory)
{
    char *dir;
    struct thea_err err;
    cr_assert(model_find(&dir, "thea-mini", FIND_CONFIG | FIND_WEIGHTS | FIND_TOKENIZER, &err) == THEA_OK,
              "%s", err.message);
    char *real = realpath(THEA_SOURCE_DIR "/models/thea-mini", NULL);
    cr_expect_str_eq(dir, real);
    free(real);
    free(dir);
}

Test(find, hub_caches_are_found_by_each_variable)
{
    put_model(".cache/huggingface/hub/models--gpt2/snapshots/1");
    put(".cache/huggingface/hub/models--gpt2/refs/main", "1");
    expect_found("gpt2", ".cache/huggingface/hub/models--gpt2/snapshots/1");
    put_model("hf/hub/models--gpt2/snapshots/2");
    put("hf/hub/models--gpt2/refs/main", "2");
    setenv("HF_HOME", "hf", 1);
    expect_found("gpt2", "hf/hub/models--gpt2/snapshots/2");
}

Test(find, the_environment_names_a_default)
{
    put_model("m");
    setenv("THEA_MODEL", "m", 1);
    expect_found(NULL, "m");
}

Test(find, without_a_name_it_says_how_to_give_one)
{
    expect_error(NULL, FIND_CONFIG, THEA_EUSAGE, "-m MODEL");
}

Test(find, a_missing_model_says_where_it_looked_and_how_to_get_it)
{
    setenv("THEA_MODEL_PATH", "/nowhere", 1);
    expect_error("Org/Absent", FIND_CONFIG, THEA_ENOINPUT, "model 'Org/Absent' is not on this machine");
    expect_error("Org/Absent", FIND_CONFIG, THEA_ENOINPUT,
                 "looked in  ., /nowhere, ~/.local/share/thea/models");
    expect_error("Org/Absent", FIND_CONFIG, THEA_ENOINPUT, "get it     hf download Org/Absent");
    expect_error("Org/Absent", FIND_CONFIG, THEA_ENOINPUT, "here now   thea-mini");
}

Test(find, a_misspelt_name_gets_the_nearest)
{
    expect_error("thea-mimi", FIND_CONFIG, THEA_ENOINPUT, "did you mean 'thea-mini'?");
}

Test(find, a_missing_path_is_told_as_one)
{
    expect_error("./absent", FIND_CONFIG, THEA_ENOINPUT, "there is no model at './absent'");
}

Test(find, a_name_cannot_leave_its_place)
{
    put_model("outside");
    setenv("THEA_MODEL_PATH", "models", 1);
    put_model("models/a");
    cr_assert(chdir("models") == 0);
    setenv("THEA_MODEL_PATH", "a", 1);
    expect_error("a/../../absent", FIND_CONFIG, THEA_ENOINPUT, "is not on this machine");
}

Test(find, an_unfinished_download_of_the_hub_is_told)
{
    put(".cache/huggingface/hub/models--org--m/refs/main", "abc");
    expect_error("org/m", FIND_CONFIG, THEA_ENOINPUT, "an unfinished download");
}

Test(find, each_missing_file_has_its_own_message)
{
    put("m/readme", "");
    expect_error("m", FIND_CONFIG, THEA_ENOINPUT, "has no config.json");
    put("m/config.json", "{}");
    expect_error("m", FIND_CONFIG | FIND_TOKENIZER, THEA_ENOINPUT, "tokenizer.json is missing");
    put("m/vocab.txt", "[UNK]");
    expect_found_for("m", "m", FIND_CONFIG | FIND_TOKENIZER);
    expect_error("m", FIND_CONFIG | FIND_WEIGHTS, THEA_ENOINPUT, "has no weights");
    put("m/pytorch_model.bin", "");
    char *dir;
    struct thea_err err;
    cr_expect(model_find(&dir, "m", FIND_CONFIG | FIND_WEIGHTS, &err) == THEA_OK,
              "torch's own files will do");
    free(dir);
}

Test(find, pointers_of_git_lfs_are_told_with_the_command)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    put("m/config.json", "{}");
    put("m/tokenizer.json", pointer);
    put("m/model.safetensors", pointer);
    expect_error("m", FIND_TOKENIZER, THEA_EDATA, "tokenizer.json is a git-lfs pointer");
    expect_error("m", FIND_CONFIG | FIND_WEIGHTS, THEA_EDATA, "git lfs pull");
}

Test(find, gguf_files_are_told_by_number)
{
    put("m/a.gguf", "");
    expect_error("m/a.gguf", FIND_CONFIG, THEA_EDATA, "is a GGUF file");
    expect_error("m", FIND_CONFIG, THEA_EDATA, "has a GGUF file");
    put("m/b.gguf", "");
    expect_error("m", FIND_CONFIG, THEA_EDATA, "has 2 .gguf files");
}

Test(find, a_file_is_no_model)
{
    put("f", "");
    expect_error("f", FIND_CONFIG, THEA_EDATA, "a model is a directory");
}

static void join(void *context, const char *name, const char *dir)
{
    (void)dir;
    buf_printf(context, "%s;", name);
}

Test(find, lists_every_model_once_and_sorted)
{
    put_model("one/zeta");
    put_model("one/org/beta");
    put_model("two/zeta");
    put("one/not-a-model/readme", "");
    put_model("hub/models--org--alpha--x/snapshots/1");
    put("hub/models--org--alpha--x/refs/main", "1");
    setenv("THEA_MODEL_PATH", "one:two", 1);
    setenv("HF_HUB_CACHE", "hub", 1);
    struct buf names = {0};
    model_list(join, &names);
    cr_expect_str_eq(buf_text(&names), "org/alpha/x;org/beta;thea-mini;zeta;");
    buf_fini(&names);
}
