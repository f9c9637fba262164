/* Files of torch.save: what torch wrote is read, views and shared storages are honoured, and each way in
 * which such a file can be damaged or malicious has its own message. */
#include "nn/weights/torch_bin.h"

#include "kernels/kernels.h"
#include "nn/weights/loader.h"
#include "tests/support/torch_writer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A file in memory. */
struct image {
    char *bytes;
    size_t size;
    FILE *file;
};

static void begin(struct image *i)
{
    *i = (struct image){0};
    i->file = open_memstream(&i->bytes, &i->size);
    cr_assert_not_null(i->file);
}

static void finish(struct image *i)
{
    cr_assert(fclose(i->file) == 0);
    i->file = NULL;
}

static const struct weight *find(const struct weight_file *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->tensors[i].name, name) == 0) return &b->tensors[i];
    cr_assert(false, "no tensor '%s'", name);
    return NULL;
}

static void parse(struct weight_file *out, const struct image *i)
{
    struct thea_err err;
    cr_assert(torch_bin_parse(out, i->bytes, i->size, "m.bin", &err) == THEA_OK, "%s", err.message);
}

static void refused(const void *bytes, size_t size, const char *part)
{
    struct weight_file b;
    struct thea_err err;
    char *copy = malloc(size + 1); /* of its very size, for the sanitizer */
    if (size > 0) memcpy(copy, bytes, size);
    thea_rc rc = torch_bin_parse(&b, copy, size, "m.bin", &err);
    free(copy);
    cr_assert(rc == THEA_EDATA, "accepted, or %d instead of 65, where '%s' was expected", rc, part);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
    cr_expect_not_null(strstr(err.message, "m.bin"), "names no file: %s", err.message);
    cr_expect(b.count == 0 && b.tensors == NULL);
}

/* --- What is read */

Test(torch_bin, a_file_that_torch_wrote_is_read)
{
    struct weight_file b;
    struct thea_err err;
    const char *path = THEA_SOURCE_DIR "/tests/goldens/m2bert-tiny/pytorch_model.bin";
    cr_assert(torch_bin_open(&b, path, &err) == THEA_OK, "%s", err.message);
    cr_expect(torch_bin_verify(&b, path, &err) == THEA_OK, "%s", err.message);
    const struct weight *ids = find(&b, "bert.embeddings.position_ids");
    cr_assert(ids->dtype == TENSOR_I64 && ids->rank == 2 && ids->shape[0] == 1 && ids->shape[1] == 64);
    for (int64_t i = 0; i < 64; i++) cr_assert(memcmp((const char *)ids->data + 8 * i, &i, 8) == 0);
    const struct weight *one = find(&b, "bert.encoder.layer.2.attention.filter_fn.implicit_filter.1.freq");
    const struct weight *same =
        find(&b, "bert.encoder.layer.2.attention.filter_fn.implicit_filter_rev.5.freq");
    cr_expect(one->data == same->data && one->size_bytes == same->size_bytes,
              "the six names share one storage");
    const struct weight *fft = find(&b, "bert.encoder.flashfft.f_16_fft_real");
    cr_expect(fft->dtype == TENSOR_BF16 && fft->size_bytes == fft->shape[0] * fft->shape[1] * 2);
    cr_expect_eq((uintptr_t)one->data % 64, 0, "torch aligns storages, and they are mapped");
    weight_file_close(&b);
}

Test(torch_bin, offsets_and_strides_are_honoured)
{
    struct image image;
    begin(&image);
    struct torch_writer w;
    float values[24];
    for (int i = 0; i < 24; i++) values[i] = (float)i;
    torch_writer_begin(&w, image.file);
    size_t s = torch_writer_add(&w, "whole", "FloatStorage", (const uint64_t[]){4, 6}, 2, values, 4);
    torch_writer_view(&w, "turned", "FloatStorage", s, 24, 0, (const uint64_t[]){6, 4},
                      (const uint64_t[]){1, 6}, 2);
    torch_writer_view(&w, "corner", "FloatStorage", s, 24, 8, (const uint64_t[]){2, 3},
                      (const uint64_t[]){6, 1}, 2);
    torch_writer_view(&w, "row", "FloatStorage", s, 24, 6, (const uint64_t[]){1, 6},
                      (const uint64_t[]){99, 1}, 2);
    torch_writer_view(&w, "last", "FloatStorage", s, 24, 23, NULL, NULL, 0);
    torch_writer_end(&w);
    finish(&image);
    struct weight_file b;
    parse(&b, &image);
    const struct kernels *k = kernels_select(NULL);
    float got[24];
    weight_widen(got, find(&b, "turned"), 0, 24, k);
    for (size_t i = 0; i < 24; i++)
        cr_expect(got[i] == values[i % 4 * 6 + i / 4], "turned[%zu] = %g", i, (double)got[i]);
    weight_widen(got, find(&b, "turned"), 5, 3, k);
    cr_expect(got[0] == 7 && got[1] == 13 && got[2] == 19, "from the middle of a row");
    weight_widen(got, find(&b, "corner"), 0, 6, k);
    const float corner[6] = {8, 9, 10, 14, 15, 16};
    cr_expect_arr_eq(got, corner, sizeof corner);
    weight_widen(got, find(&b, "corner"), 2, 3, k);
    cr_expect_arr_eq(got, corner + 2, 12, "across the gap between two rows");
    cr_expect_not(find(&b, "row")->strided, "a stride of a dimension of 1 means nothing");
    cr_expect(((const float *)find(&b, "row")->data)[0] == 6);
    weight_widen(got, find(&b, "last"), 0, 1, k);
    cr_expect(got[0] == 23);
    weight_file_close(&b);
    free(image.bytes);
}

Test(torch_bin, halves_are_widened_through_strides)
{
    struct image image;
    begin(&image);
    struct torch_writer w;
    const uint16_t bf16[6] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0}, f16[2] = {0x3c00, 0xc000};
    torch_writer_begin(&w, image.file);
    size_t s = torch_writer_add(&w, "a", "BFloat16Storage", (const uint64_t[]){2, 3}, 2, bf16, 2);
    torch_writer_view(&w, "t", "BFloat16Storage", s, 6, 0, (const uint64_t[]){3, 2}, (const uint64_t[]){1, 3},
                      2);
    torch_writer_add(&w, "h", "HalfStorage", (const uint64_t[]){2}, 1, f16, 2);
    torch_writer_end(&w);
    finish(&image);
    struct weight_file b;
    parse(&b, &image);
    float got[6];
    weight_widen(got, find(&b, "t"), 0, 6, kernels_select(NULL));
    cr_expect_arr_eq(got, ((const float[]){1, 4, 2, 5, 3, 6}), sizeof got);
    weight_widen(got, find(&b, "h"), 0, 2, kernels_select(NULL));
    cr_expect_arr_eq(got, ((const float[]){1, -2}), 8);
    weight_file_close(&b);
    free(image.bytes);
}

/* A file whose data.pkl is `pickle`, beside one storage of eight floats. */
static void with_pickle(struct image *image, const void *pickle, size_t size)
{
    struct zip_writer z;
    const float zeros[8] = {0};
    begin(image);
    zip_writer_begin(&z, image->file);
    zip_writer_add(&z, "m/data.pkl", pickle, size);
    zip_writer_add(&z, "m/data/0", zeros, sizeof zeros);
    zip_writer_end(&z);
    finish(image);
}

#define TENSOR_8 /* a tensor of eight floats, as protocol 2 has it */                                        \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                   \
    "0X\3\0\0\0cpuK\10tQK\0K\10\x85K"                                                                        \
    "\1\x85\x89"                                                                                             \
    "ccollections\nOrderedDict\n)RtR"

static void accepted(const void *pickle, size_t size, const char *name)
{
    struct image image;
    with_pickle(&image, pickle, size);
    struct weight_file b;
    parse(&b, &image);
    const struct weight *w = find(&b, name);
    cr_expect(b.count == 1 && w->rank == 1 && w->shape[0] == 8 && w->dtype == TENSOR_F32, "%s", name);
    weight_file_close(&b);
    free(image.bytes);
}
#define ACCEPTED(pickle, name) accepted(pickle, sizeof(pickle) - 1, name)

Test(torch_bin, state_dicts_are_found_where_training_code_keeps_them)
{
    ACCEPTED("\x80\2}X\1\0\0\0a" TENSOR_8 "s.", "a");
    ACCEPTED("\x80\2}X\5\0\0\0state}X\5\0\0\0model}X\1\0\0\0b" TENSOR_8 "sss.", "b");
    ACCEPTED("\x80\2}(X\5\0\0\0epochK\3X\12\0\0\0state_dict}X\1\0\0\0c" TENSOR_8 "su.", "c");
}

Test(torch_bin, values_that_are_no_tensors_and_attributes_are_passed_over)
{
    ACCEPTED("\x80\2}(X\1\0\0\0a" TENSOR_8 "X\1\0\0\0nNX\1\0\0\0f"
             "G?\xf0\0\0\0\0\0\0X\1\0\0\0l](\x8a\2\0\x80K\1eu"
             "}X\11\0\0\0_metadata}sb.",
             "a");
}

Test(torch_bin, newer_protocols_and_parameters_are_read)
{
    ACCEPTED(
        "\x80\4\x95\0\0\0\0\0\0\0\0}\x94\x8c\1a\x94\x8c\14torch._utils\x8c\22_rebuild_parameter\x93" TENSOR_8
        "\x88"
        "ccollections\nOrderedDict\n)R\x87Rs.",
        "a");
}

/* --- What is refused */

static void refused_pickle(const void *pickle, size_t size, const char *part)
{
    struct image image;
    with_pickle(&image, pickle, size);
    refused(image.bytes, image.size, part);
    free(image.bytes);
}
#define REFUSED(pickle, part) refused_pickle(pickle, sizeof(pickle) - 1, part)

Test(torch_bin, pickles_that_import_or_call_are_refused_by_name)
{
    REFUSED("\x80\2cos\nsystem\nX\2\0\0\0id\x85R.", "byte 2: it asks for 'os.system', which no tensor needs");
    REFUSED("\x80\2cposix\nsystem\nX\2\0\0\0id\x85R.", "'posix.system'");
    REFUSED("\x80\2c__builtin__\neval\nX\2\0\0\0id\x85R.", "'__builtin__.eval'");
    REFUSED("\x80\4\x8c\10builtins\x8c\4exec\x93X\2\0\0\0id\x85R.", "byte 18: it asks for 'builtins.exec'");
    REFUSED("\x80\2ctorch\nload\nX\2\0\0\0id\x85R.", "'torch.load'");
    REFUSED("\x80\2ctorch._utils\n_rebuild_tensor_v2x\n.", "'torch._utils._rebuild_tensor_v2x'");
    REFUSED("\x80\2ccollections\nOrderedDict \n.", "'collections.OrderedDict?'");
    REFUSED("\x80\2ca\x1b[31m\n\xff\n.", "it asks for 'a?[31m.?'");
    REFUSED("\x80\2(X\2\0\0\0idios\nsystem\n.", "instruction INST would call code");
    REFUSED("\x80\2(ccollections\nOrderedDict\no.", "instruction OBJ would call code");
    REFUSED("\x80\2ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ would call code");
    REFUSED("\x80\4ccollections\nOrderedDict\n)}\x92.", "instruction NEWOBJ_EX would call code");
    REFUSED("\x80\2\x82\1.", "instruction EXT1 would call code");
}

Test(torch_bin, calls_of_known_functions_with_wrong_arguments)
{
    REFUSED("\x80\2K\1)R.", "it calls an integer with a tuple");
    REFUSED("\x80\2ccollections\nOrderedDict\nK\1R.", "it calls a function with an integer");
    REFUSED("\x80\2ccollections\nOrderedDict\nK\1\x85R.", "OrderedDict is called with 1 arguments");
    REFUSED("\x80\2ctorch._utils\n_rebuild_tensor_v2\n)R.",
            "rebuilt from something else than (storage, offset");
    REFUSED("\x80\2ctorch._utils\n_rebuild_tensor_v3\n)R.", "without a dtype");
    REFUSED("\x80\2ctorch._utils\n_rebuild_parameter\nK\1\x85R.", "without a tensor");
    REFUSED("\x80\2ctorch\nSize\n)R.", "torch.Size is called");
    REFUSED("\x80\2K\1Q.", "a persistent id is an integer");
    REFUSED("\x80\2(X\7\0\0\0storageK\1K\1K\1K\1tQ.", "a persistent id names no storage");
    REFUSED("\x80\2K\1}b.", "it sets the state of an integer");
}

Test(torch_bin, pickles_that_do_not_hold_together)
{
    REFUSED("", "byte 0: it ends without a STOP");
    REFUSED("\x80\2}", "it ends without a STOP");
    REFUSED("\x80\2X\5\0\0\0ab", "a text of 5 bytes, where 2 are left");
    REFUSED("\x80\2X\xff\xff\xff\xff"
            "ab.",
            "a text of 4294967295 bytes");
    REFUSED("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
            "ab.",
            "a text of 18446744073709551615 bytes");
    REFUSED("\x80\2J\1", "it ends within an instruction");
    REFUSED("\x80\2ctorch", "it ends within an instruction");
    REFUSED("\x80\2.", "it takes a value from an empty stack");
    REFUSED("\x80\2K\1(\x85.", "it takes a value from an empty stack");
    REFUSED("\x80\2t.", "it goes back to a mark that is not there");
    REFUSED("\x80\2K\1K\2a.", "it adds items to an integer; accepted: a list");
    REFUSED("\x80\2](K\1u.", "it adds items to a list; accepted: a dict");
    REFUSED("\x80\2}(K\1u.", "a key without a value");
    REFUSED("\x80\2h\7.", "memo slot 7 is empty");
    REFUSED("\x80\2}r\xff\xff\xff\xff.", "memo slot 4294967295, in a pickle of");
    REFUSED("\x80\11.", "pickle protocol 9");
    REFUSED("\x80\2\x8a\x09"
            "123456789.",
            "an integer of 9 bytes");
    REFUSED("\x80\2S'a'\n.", "instruction STRING, which no file of tensors has");
    REFUSED("\x80\2\xff.", "there is no instruction 0xff");
    REFUSED("\x80\2K\1.", "it holds an integer, but no tensors by name");
    REFUSED("\x80\2}.", "it holds a dict, but no tensors by name");
    REFUSED("\x80\2}q\0X\5\0\0\0stateh\0s.", "but no tensors by name"); /* a dict that holds itself */
    REFUSED("\x80\2}K\1" TENSOR_8 "s.", "a tensor's name is empty, no text");
    REFUSED("\x80\2}X\1\0\0\0\0" TENSOR_8 "s.", "holds a zero byte");
}

/* One tensor with the given figures, over the storage of eight floats. */
static void refused_tensor(const char *class, const char *key, uint64_t elements, uint64_t offset,
                           uint64_t size, uint64_t stride, const char *part)
{
    struct buf p = {0};
    pickle_begin(&p);
    buf_add_char(&p, '}');
    pickle_text(&p, "t");
    pickle_tensor(&p, class, key, elements, offset, (const uint64_t[]){2, size},
                  (const uint64_t[]){stride, 1}, 2);
    buf_add_text(&p, "s.");
    refused_pickle(p.data, p.len, part);
    buf_fini(&p);
}

Test(torch_bin, tensors_that_their_storage_does_not_hold)
{
    refused_tensor("FloatStorage", "1", 8, 0, 4, 4, "tensor 't': its storage 'data/1' is not in the file");
    refused_tensor("FloatStorage", "../data/0", 8, 0, 4, 4, "is not in the file");
    refused_tensor("FloatStorage", "", 8, 0, 4, 4, "its storage's key is no name");
    refused_tensor("FloatStorage", "0", 9, 0, 4, 4, "has 32 bytes, not 9 elements of F32");
    refused_tensor("DoubleStorage", "0", 8, 0, 4, 4, "has 32 bytes, not 8 elements of F64");
    refused_tensor("FloatStorage", "0", 1ULL << 62, 0, 4, 4, "not 4611686018427387904 elements");
    refused_tensor("FloatStorage", "0", 8, 1, 4, 4, "elements 1 to 9 are beyond its storage of 8");
    refused_tensor("FloatStorage", "0", 8, 0, 5, 4, "elements 0 to 9 are beyond");
    refused_tensor("FloatStorage", "0", 8, 9, 0, 4, "elements 9 to 9 are beyond");
    refused_tensor("FloatStorage", "0", 8, 1ULL << 62, 4, 4, "are beyond its storage");
    refused_tensor("FloatStorage", "0", 8, 0, 1ULL << 63, 4, "integers, 0 or more");
    refused_tensor("FloatStorage", "0", 8, 0, 1ULL << 62, 1ULL << 62,
                   "elements 0 to 9223372036854775808 are beyond");
    refused_tensor("FloatStorage", "0", 8, 0, (1ULL << 63) - 1, 0, "are beyond its storage");
    refused_tensor("NoStorage", "0", 8, 0, 4, 4, "it asks for 'torch.NoStorage'");
}

Test(torch_bin, memory_bombs_end_at_their_limits)
{
    size_t n = 5 << 20; /* values: more than are accepted */
    char *lists = malloc(n + 2);
    memcpy(lists, "\x80\2", 2);
    memset(lists + 2, ']', n);
    refused_pickle(lists, n + 2, "more than 4194304 values");
    memset(lists + 2, '(', n);
    refused_pickle(lists, n + 2, "it ends without a STOP"); /* five million marks */
    memset(lists + 2, 0x85, n);
    lists[2] = ')';
    refused_pickle(lists, n + 2, "more than 4194304 values"); /* a tuple five million deep, never walked */
    lists[2] = ']', lists[3] = 'q', lists[4] = 0;
    for (size_t i = 5; i + 2 <= n; i += 2) memcpy(lists + i, "h\0", 2);
    refused_pickle(lists, n - 1, "without a STOP"); /* one value two million times on the stack */
    free(lists);
}

/* --- The zip around it */

static void good(struct image *image)
{
    static const char pickle[] = "\x80\2}X\1\0\0\0a" TENSOR_8 "s.";
    with_pickle(image, pickle, sizeof pickle - 1);
}

Test(torch_bin, files_that_are_no_zip)
{
    refused("", 0, "is no file of torch.save: it is empty");
    refused("hello, world", 12, "it does not begin as zip files do");
    refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", 62, "git-lfs pointer");
    refused("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15,
            "the format that torch had before 1.6");
    refused("\x93NUMPY", 6, "does not begin as zip files do");
}

Test(torch_bin, a_file_cut_anywhere_is_refused)
{
    struct image image;
    good(&image);
    for (size_t n = 4; n < image.size; n++) refused(image.bytes, n, "m.bin");
    refused(image.bytes, image.size - 1, "truncated, or an unfinished download");
    free(image.bytes);
}

/* The place of the i-th occurrence of a mark. */
static char *seek(const struct image *image, const char *mark, size_t len, int i)
{
    char *at = image->bytes;
    for (size_t left = image->size; (at = memmem(at, left, mark, len)) != NULL && i-- > 0;) {
        at++;
        left = image->size - (size_t)(at - image->bytes);
    }
    cr_assert_not_null(at);
    return at;
}

enum {
    ENTRY_FLAGS = 8,
    ENTRY_METHOD = 10,
    ENTRY_CRC = 16,
    ENTRY_STORED = 20,
    ENTRY_SIZE = 24,
    ENTRY_NAME = 28,
    ENTRY_AT = 42
};

/* Put bytes at `field` of the member's entry in the directory. */
static void refused_entry(int member, int field, const char *bytes, size_t len, const char *part)
{
    struct image image;
    good(&image);
    memcpy(seek(&image, "PK\1\2", 4, member) + field, bytes, len);
    refused(image.bytes, image.size, part);
    free(image.bytes);
}

Test(torch_bin, directories_that_do_not_hold)
{
    refused_entry(0, ENTRY_METHOD, "\10", 1, "member 'm/data.pkl' is compressed (method 8)");
    refused_entry(1, ENTRY_FLAGS, "\11", 1, "member 'm/data/0' is encrypted");
    refused_entry(0, ENTRY_FLAGS + 1, "\x28", 1, "is encrypted");
    refused_entry(0, ENTRY_CRC, "\1\2\3\4", 4, "is damaged: its bytes sum up to");
    refused_entry(0, ENTRY_STORED, "\1\0\0\0", 4, "stored in 1 bytes, but");
    refused_entry(1, ENTRY_SIZE - 4, "\xff\xff\xff\x7f\xff\xff\xff\x7f", 8,
                  "its bytes go beyond the file: truncated");
    refused_entry(1, ENTRY_SIZE, "\xff\xff\xff\xff", 4, "entry 1 of its directory is broken");
    refused_entry(1, ENTRY_NAME, "\0\0", 2, "a member's name is empty");
    refused_entry(1, ENTRY_NAME, "\xff\xff", 2, "entry 1 of its directory is broken");
    refused_entry(1, ENTRY_AT, "\xf0\xff\xff\x7f", 4, "member 'm/data/0': it begins outside of the file");
    refused_entry(1, ENTRY_AT, "\4\0\0\0", 4, "there is no header where the directory says");
    refused_entry(1, ENTRY_AT, "\0\0\0\0", 4, "member 'm/data/0': its own header has another name");
    refused_entry(1, 46 + 2, "D", 1, "member 'm/Data/0': its own header has another name");
    refused_entry(0, 0, "X", 1, "entry 0 of its directory is broken");
}

Test(torch_bin, end_records_that_do_not_hold)
{
    static const struct {
        const char *mark;
        int field;
        const char *bytes;
        size_t len;
        const char *part;
    } cases[] = {
        {"PK\6\6", 24, "\3\0\0\0\0\0\0\0\3", 9, "its directory of 110 bytes cannot hold 3 members"},
        {"PK\6\6", 24, "\1\0\0\0\0\0\0\0\1", 9, "its directory has bytes that belong to no member"},
        {"PK\6\6", 24, "\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0", 16, "cannot hold 281474976710656 members"},
        {"PK\6\6", 24, "\1", 1, "one of several volumes"},
        {"PK\6\6", 48, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "said to lie outside of the file"},
        {"PK\6\6", 40, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "said to lie outside of the file"},
        {"PK\6\6", 0, "QQ", 2, "its zip64 locator leads nowhere"},
        {"PK\6\7", 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "its zip64 locator leads nowhere"},
        {"PK\5\6", 4, "\1", 1, "one of several volumes"},
        {"PK\5\6", 20, "\1", 1, "no zip directory at its end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image image;
        good(&image);
        memcpy(seek(&image, cases[i].mark, 4, 0) + cases[i].field, cases[i].bytes, cases[i].len);
        refused(image.bytes, image.size, cases[i].part);
        free(image.bytes);
    }
}

Test(torch_bin, a_file_without_zip64_records_or_with_a_comment_is_read)
{
    struct image image;
    begin(&image);
    struct zip_writer z;
    static const char pickle[] = "\x80\2}X\1\0\0\0a" TENSOR_8 "s.";
    const float zeros[8] = {0};
    zip_writer_begin(&z, image.file);
    z.zip64 = false;
    zip_writer_add(&z, "x/data/0", zeros, sizeof zeros);
    zip_writer_add(&z, "x/data.pkl", pickle, sizeof pickle - 1);
    zip_writer_end(&z);
    fputs("PK!", image.file);
    finish(&image);
    image.bytes[image.size - 5] = 3; /* the comment's length */
    struct weight_file b;
    parse(&b, &image);
    cr_expect_eq(b.count, 1);
    weight_file_close(&b);
    free(image.bytes);
}

/* Members by name, of which some are no part of a good file. */
static void refused_members(const char *const names[], const char *byteorder, const char *part)
{
    static const char pickle[] = "\x80\2}X\1\0\0\0a" TENSOR_8 "s.";
    struct image image;
    begin(&image);
    struct zip_writer z;
    zip_writer_begin(&z, image.file);
    for (size_t i = 0; names[i] != NULL; i++) zip_writer_add(&z, names[i], pickle, sizeof pickle - 1);
    if (byteorder != NULL) zip_writer_add(&z, "m/byteorder", byteorder, strlen(byteorder));
    zip_writer_end(&z);
    finish(&image);
    refused(image.bytes, image.size, part);
    free(image.bytes);
}

Test(torch_bin, zip_files_of_something_else)
{
    refused_members((const char *const[]){"data.pkl", NULL}, NULL,
                    "a zip file of 1 members, but none is ROOT/data.pkl");
    refused_members((const char *const[]){"a.txt", "b/c/data.pkl", NULL}, NULL, "of 2 members, but none");
    refused_members((const char *const[]){"m/data.pkl", "n/data.pkl", NULL}, NULL,
                    "two members are a data.pkl");
    refused_members((const char *const[]){"m/data.pkl", "m/data.pkl", NULL}, NULL,
                    "'m/data.pkl' is there twice");
    refused_members((const char *const[]){"m/data.pkl", NULL}, "big",
                    "its byte order is 'big'; accepted: little");
    refused_members((const char *const[]){"m/data.pkl", NULL}, "middle", "its byte order is ''");
}

Test(torch_bin, members_that_overlap)
{
    /* The second member lies in the bytes of the first. */
    struct image image, inner;
    begin(&image);
    begin(&inner);
    struct zip_writer z, small;
    zip_writer_begin(&small, inner.file);
    zip_writer_add(&small, "m/data.pkl", ".", 1);
    zip_writer_end(&small);
    finish(&inner);
    zip_writer_begin(&z, image.file);
    zip_writer_add(&z, "m/outer", inner.bytes, inner.size);
    zip_writer_add(&z, "m/data.pkl", ".", 1);
    zip_writer_end(&z);
    finish(&image);
    char *entry = NULL;
    for (int i = 0; i < 3; i++) entry = seek(&image, "PK\1\2", 4, i); /* the inner zip's is the first */
    uint32_t at = 64; /* where the outer member's bytes begin */
    memcpy(entry + ENTRY_AT, &at, 4);
    refused(image.bytes, image.size, "members 'm/outer' and 'm/data.pkl' overlap");
    free(image.bytes);
    free(inner.bytes);
}

Test(torch_bin, a_flipped_bit_in_the_pickle_is_seen)
{
    struct image image;
    good(&image);
    size_t at = (size_t)(seek(&image, "\x80\2}", 3, 0) - image.bytes);
    for (size_t i = 0; i < 8 * 40; i++) {
        image.bytes[at + i / 8] ^= (char)(1 << i % 8);
        refused(image.bytes, image.size, "member 'm/data.pkl' is damaged");
        image.bytes[at + i / 8] ^= (char)(1 << i % 8);
    }
    free(image.bytes);
}
