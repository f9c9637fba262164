/* thea convert as users run it: what comes out runs as what went in, and nothing is left of what failed. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <string.h>

/* In an empty directory, the source tree's path in $src. */
static struct run_result in_temp(int status, const char *command)
{
    struct run_result r;
    run_shell(&r, NULL, RUN_LIMIT_S,
              "src=$PWD; d=$(mktemp -d) || exit 99; trap 'rm -rf $d' EXIT; cd $d; unset THEA_MODEL; %s",
              command);
    cr_expect_eq(r.status, status, "%s: status %d\n%s%s", command, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    return r;
}

static void expect(int status, const char *command, const char *part)
{
    struct run_result r = in_temp(status, command);
    const char *text = status == 0 ? buf_text(&r.out) : buf_text(&r.err);
    cr_expect_not_null(strstr(text, part), "%s: no '%s' in:\n%s", command, part, text);
    run_result_fini(&r);
}

Test(convert, bf16_weights_by_way_of_f32_give_the_same_bits, .timeout = 5 * RUN_LIMIT_S)
{
    expect(0,
           "thea convert thea-mini f32 --dtype f32 && thea convert ./f32 bf16 --dtype bf16 || exit 1;"
           " run() { thea load --format text $src/README.md | thea tokenize -m $1 | thea layers -m $1 | thea "
           "score | thea write --format jsonl; }; run thea-mini >a; run ./f32 >b; run ./bf16 >c;"
           " short() { grep -o '\"bits_per_byte\": *[0-9]*[.][0-9]\\{3\\}' $1 | head -1; };"
           " cmp a c && test -s a && test -n \"$(short a)\" && test \"$(short a)\" = \"$(short b)\" &&"
           " cmp bf16/tokenizer.json $src/models/thea-mini/tokenizer.json &&"
           " grep -o '\"dtype\": *\"[a-z0-9]*\"' */config.json",
           "bf16/config.json:\"dtype\": \"bfloat16\"\nf32/config.json:\"dtype\": \"float32\"");
}

Test(convert, a_file_of_torch_becomes_safetensors, .timeout = 5 * RUN_LIMIT_S)
{
    expect(0,
           "cp -r $src/tests/goldens/m2bert-tiny in; mkdir in/1_Pooling; echo '{}' >in/1_Pooling/config.json;"
           " mkdir in/onnx; echo x >in/onnx/model.onnx; echo y >in/vocab.txt; echo z >in/tf_model.h5;"
           " thea convert -v in out 2>err || exit 1; cat err >&2; ls -A . out out/1_Pooling; head -c 4000 "
           "out/model.safetensors |"
           " grep -ao '\"format\":\"pt\"\\|\"format\": \"pt\"'",
           ".:\nerr\nin\nout\n\nout:\n1_Pooling\nconfig.json\nmodel.safetensors\nnoise.json\nvocab."
           "txt\n\nout/1_Pooling:\n"
           "config.json\n\"format\"");
}

Test(convert, out_must_be_new)
{
    expect(73, "mkdir out; thea convert thea-mini out", "out is there already; it must be new");
    expect(73, "ln -s nowhere out; thea convert thea-mini out/", "thea: error: ");
    expect(73, "thea convert thea-mini no/such/out", "cannot create no/such/out: No such file or directory");
    expect(66, "thea convert nobody/has-this out", "model 'nobody/has-this' is not on this machine");
    expect(64, "thea convert thea-mini", "thea convert");
    expect(64, "thea convert thea-mini out --dtype f23", "'f23' is not accepted");
}

Test(convert, damage_is_told_and_nothing_is_left)
{
    static const char damaged[] = "cp -r $src/tests/goldens/m2bert-tiny in; printf 'x' | dd "
                                  "of=in/pytorch_model.bin bs=1 seek=200000 conv=notrunc"
                                  " status=none; thea convert in out; s=$?; [ -z \"$(ls -A | grep -v "
                                  "'^in$')\" ] || echo left: $(ls -A) >&2; exit $s";
    struct run_result r = in_temp(65, damaged);
    cr_expect_not_null(strstr(buf_text(&r.err), "is damaged: its bytes sum up to"), "%s", buf_text(&r.err));
    cr_expect_null(strstr(buf_text(&r.err), "left:"), "%s", buf_text(&r.err));
    run_result_fini(&r);
    expect(65,
           "cp -r $src/tests/goldens/m2bert-tiny in; truncate -s 100000 in/pytorch_model.bin; thea convert "
           "in out",
           "truncated, or an unfinished download");
    expect(65,
           "mkdir in; echo '{}' >in/config.json; printf 'cos\\nsystem\\n' >in/pytorch_model.bin; thea "
           "convert in out",
           "is no file of torch.save");
    expect(65, "cp -r $src/models/thea-mini in; echo '[' >in/config.json; thea convert in out",
           "config.json");
}

Test(convert, what_a_killed_process_left_is_taken_over)
{
    expect(0, "mkdir .out.thea; echo junk >.out.thea/model.safetensors; thea convert thea-mini out && ls -A",
           "out\n");
}

Test(convert, two_at_once_do_not_mix)
{
    expect(75, "mkdir .out.thea; flock .out.thea thea convert thea-mini out",
           "out is being written by another process");
}

Test(convert, a_full_disk_is_an_error_with_nothing_left)
{
    struct run_result r =
        in_temp(74, "ulimit -f 1000; trap '' XFSZ; thea convert thea-mini out; s=$?; [ -z \"$(ls -A)\" ] ||"
                    " echo left: $(ls -A) >&2; exit $s");
    cr_expect_not_null(strstr(buf_text(&r.err), "cannot write .out.thea/"), "%s", buf_text(&r.err));
    cr_expect_null(strstr(buf_text(&r.err), "left:"), "%s", buf_text(&r.err));
    run_result_fini(&r);
}
