/* Fingerprints: the hash itself, and what of a model changes it. */
#include "retrieval/fingerprint.h"
#include "tests/retrieval/scratch.h"

TestSuite(fingerprint, .init = scratch_make, .fini = scratch_remove);

static void expect_hash(const char *text, size_t repeat, const char *expected)
{
    struct sha256 h;
    char hex[SHA256_HEX];
    sha256_init(&h);
    for (size_t i = 0; i < repeat; i++) sha256_add(&h, text, strlen(text));
    sha256_hex(&h, hex);
    cr_assert_str_eq(hex, expected);
}

Test(sha256, gives_the_digests_of_the_standard)
{
    expect_hash("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hash("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_hash("aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void shell(const char *command)
{
    cr_assert_eq(system(command), 0, "%s", command);
}

static void make_model(void)
{
    shell("mkdir m && echo '{}' > m/config.json && echo '{\"t\": 1}' > m/tokenizer.json && "
          "head -c 5000000 /dev/zero | tr '\\0' 'w' > m/model.safetensors");
}

static void take(char *out, const char *dir)
{
    MUST(fingerprint_of(out, dir, err));
    cr_assert_eq(strlen(out), SHA256_HEX - 1);
}

static void expect_changed(const char *command)
{
    char before[SHA256_HEX], after[SHA256_HEX];
    shell("rm -rf m");
    make_model();
    take(before, "m");
    shell(command);
    take(after, "m");
    cr_assert_str_neq(before, after, "%s", command);
}

Test(fingerprint, changes_with_config_tokenizer_and_weights)
{
    expect_changed("echo '{\"a\": 1}' > m/config.json");
    expect_changed("echo '{\"t\": 2}' > m/tokenizer.json");
    expect_changed("echo '{\"max_seq_length\": 9}' > m/sentence_bert_config.json");
    expect_changed("printf x | dd of=m/model.safetensors bs=1 seek=100 conv=notrunc 2>/dev/null");
    expect_changed("printf x | dd of=m/model.safetensors bs=1 seek=4999999 conv=notrunc 2>/dev/null");
    expect_changed("truncate -s +1 m/model.safetensors");
    expect_changed("head -c 5000000 /dev/urandom > m/model.safetensors");
    expect_changed("mv m/model.safetensors m/model-00001-of-00001.safetensors");
}

Test(fingerprint, is_that_of_a_copy_elsewhere_and_does_not_ask_for_what_decides_nothing)
{
    char a[SHA256_HEX], b[SHA256_HEX];
    make_model();
    take(a, "m");
    shell("cp -r m other && touch other/README.md && echo words > other/vocab.txt && mkdir other/1_Pooling");
    take(b, "other");
    cr_assert_str_eq(a, b);
}

Test(fingerprint, of_what_is_no_model_is_an_error)
{
    struct thea_err err = {0};
    char hex[SHA256_HEX];
    shell("mkdir empty");
    cr_assert_eq(fingerprint_of(hex, "empty", &err), THEA_ENOINPUT);
    cr_assert_not_null(strstr(err.message, "no config.json"), "%s", err.message);
    cr_assert_eq(fingerprint_of(hex, "nowhere", &err), THEA_ENOINPUT);
}
