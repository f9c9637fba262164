/* Files as torch.save writes them: see torch_writer.h. The pickle is the last member here (torch's is the
 * first): a reader goes by the directory. */
#include "tests/support/torch_writer.h"

#include "nn/weights/crc32.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static void put(struct buf *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8) buf_add_char(b, (char)value); /* zeros beyond its eight */
}

static void must(bool good)
{
    if (good) return;
    perror("torch_writer");
    abort();
}

static void write_bytes(struct zip_writer *z, const void *bytes, uint64_t n)
{
    if (bytes != NULL) {
        must(fwrite(bytes, 1, n, z->file) == n);
    } else {
        must(fseeko(z->file, (off_t)n, SEEK_CUR) == 0);
    }
    z->at += n;
}

void zip_writer_begin(struct zip_writer *z, FILE *file)
{
    *z = (struct zip_writer){.file = file, .zip64 = true};
}

static uint32_t sum_of(const void *bytes, uint64_t size)
{
    static const unsigned char zeros[1 << 16];
    if (bytes != NULL) return crc32_update(0, bytes, size);
    uint32_t crc = 0;
    for (uint64_t left = size; left > 0;) {
        uint64_t n = left < sizeof zeros ? left : sizeof zeros;
        crc = crc32_update(crc, zeros, n);
        left -= n;
    }
    return crc;
}

/* Sizes and sum are in the directory alone (flag 8), as in torch's files; an extra field aligns the data. */
static void add_header(struct buf *h, uint64_t at, const char *name)
{
    size_t n = strlen(name), begin = at + 30 + n + 4, pad = (ALIGNMENT - begin % ALIGNMENT) % ALIGNMENT;
    put(h, 0x04034b50, 4);
    put(h, 0, 2);
    put(h, 0x0808, 2);
    for (int i = 0; i < 18; i++) buf_add_char(h, 0);
    put(h, n, 2);
    put(h, 4 + pad, 2);
    buf_add(h, name, n);
    put(h, 0x4246, 2);
    put(h, pad, 2);
    for (size_t i = 0; i < pad; i++) buf_add_char(h, 'Z');
}

void zip_writer_add(struct zip_writer *z, const char *name, const void *bytes, uint64_t size)
{
    struct buf header = {0}, *d = &z->directory;
    add_header(&header, z->at, name);
    put(d, 0x02014b50, 4);
    put(d, 0, 4);
    put(d, 0x0808, 2);
    put(d, 0, 6);
    put(d, sum_of(bytes, size), 4);
    put(d, size, 4);
    put(d, size, 4);
    put(d, strlen(name), 2);
    put(d, 0, 12);
    put(d, z->at, 4);
    buf_add_text(d, name);
    write_bytes(z, header.data, header.len);
    write_bytes(z, bytes, size);
    buf_fini(&header);
    z->count++;
}

void zip_writer_end(struct zip_writer *z)
{
    uint64_t directory = z->at, bytes = z->directory.len;
    struct buf end = {0};
    if (z->zip64) {
        put(&end, 0x06064b50, 4);
        put(&end, 44, 8);
        put(&end, 0, 4);
        put(&end, 0, 8);
        put(&end, z->count, 8);
        put(&end, z->count, 8);
        put(&end, bytes, 8);
        put(&end, directory, 8);
        put(&end, 0x07064b50, 4);
        put(&end, 0, 4);
        put(&end, directory + bytes, 8);
        put(&end, 1, 4);
    }
    put(&end, 0x06054b50, 4);
    put(&end, 0, 4);
    put(&end, z->count, 2);
    put(&end, z->count, 2);
    put(&end, bytes, 4);
    put(&end, directory, 4);
    put(&end, 0, 2);
    write_bytes(z, buf_text(&z->directory), bytes);
    write_bytes(z, end.data, end.len);
    must(fflush(z->file) == 0);
    buf_fini(&z->directory);
    buf_fini(&end);
}

void pickle_begin(struct buf *p)
{
    buf_add(p, "\x80\x02", 2);
}

void pickle_text(struct buf *p, const char *text)
{
    buf_add_char(p, 'X');
    put(p, strlen(text), 4);
    buf_add_text(p, text);
}

void pickle_int(struct buf *p, int64_t value)
{
    if (value >= INT32_MIN && value <= INT32_MAX) {
        buf_add_char(p, 'J');
        put(p, (uint64_t)value, 4);
    } else {
        buf_add(p, "\x8a\x08", 2);
        put(p, (uint64_t)value, 8);
    }
}

void pickle_call(struct buf *p, const char *module, const char *name)
{
    buf_printf(p, "c%s\n%s\n", module, name);
}

static void pickle_sizes(struct buf *p, const uint64_t *sizes, size_t n)
{
    buf_add_char(p, '(');
    for (size_t i = 0; i < n; i++) pickle_int(p, (int64_t)sizes[i]);
    buf_add_char(p, 't');
}

void pickle_tensor(struct buf *p, const char *class, const char *key, uint64_t elements, uint64_t offset,
                   const uint64_t *shape, const uint64_t *stride, size_t rank)
{
    uint64_t packed[8], product = 1;
    for (size_t i = rank; i-- > 0;) {
        packed[i] = product;
        product *= shape[i];
    }
    pickle_call(p, "torch._utils", "_rebuild_tensor_v2");
    buf_add_text(p, "((");
    pickle_text(p, "storage");
    pickle_call(p, "torch", class);
    pickle_text(p, key);
    pickle_text(p, "cpu");
    pickle_int(p, (int64_t)elements);
    buf_add_text(p, "tQ");
    pickle_int(p, (int64_t)offset);
    pickle_sizes(p, shape, rank);
    pickle_sizes(p, stride != NULL ? stride : packed, rank);
    buf_add_char(p, (char)0x89);
    pickle_call(p, "collections", "OrderedDict");
    buf_add_text(p, ")RtR");
}

void torch_writer_begin(struct torch_writer *w, FILE *file)
{
    *w = (struct torch_writer){0};
    zip_writer_begin(&w->zip, file);
    pickle_begin(&w->pickle);
    pickle_call(&w->pickle, "collections", "OrderedDict");
    buf_add_text(&w->pickle, ")R(");
}

void torch_writer_view(struct torch_writer *w, const char *name, const char *class, size_t storage,
                       uint64_t elements, uint64_t offset, const uint64_t *shape, const uint64_t *stride,
                       size_t rank)
{
    char key[32];
    snprintf(key, sizeof key, "%zu", storage);
    pickle_text(&w->pickle, name);
    pickle_tensor(&w->pickle, class, key, elements, offset, shape, stride, rank);
}

size_t torch_writer_add(struct torch_writer *w, const char *name, const char *class, const uint64_t *shape,
                        size_t rank, const void *bytes, size_t element_bytes)
{
    char member[64];
    uint64_t elements = 1;
    for (size_t i = 0; i < rank; i++) elements *= shape[i];
    size_t storage = w->storages++;
    snprintf(member, sizeof member, "archive/data/%zu", storage);
    zip_writer_add(&w->zip, member, bytes, elements * element_bytes);
    torch_writer_view(w, name, class, storage, elements, 0, shape, NULL, rank);
    return storage;
}

void torch_writer_end(struct torch_writer *w)
{
    buf_add_text(&w->pickle, "u.");
    zip_writer_add(&w->zip, "archive/byteorder", "little", 6);
    zip_writer_add(&w->zip, "archive/data.pkl", w->pickle.data, w->pickle.len);
    zip_writer_add(&w->zip, "archive/version", "3\n", 2);
    zip_writer_end(&w->zip);
    buf_fini(&w->pickle);
}
