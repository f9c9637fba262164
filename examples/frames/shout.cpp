// A stage for a shell pipe in C++, with the official FlatBuffers library alone: makes text upper case.
//
//   flatc --cpp --gen-object-api frame.fbs      # share/thea/schema/frame.fbs, or schemas/ of the source
//   c++ -std=c++17 -DFLATBUFFERS_MAX_ALIGNMENT=64 -I. shout.cpp -lflatbuffers -o shout
//   thea load notes.md | ./shout | thea write --format text
//
// On stdin and stdout: 8 bytes "THEA\x01\0\0\0", then for each frame its length (8 bytes, little endian) and the frame.
// FLATBUFFERS_MAX_ALIGNMENT: tensor bytes are aligned to 64 bytes, and the library's own limit is 32.
#include "frame_generated.h"

#include <cctype>
#include <cstdio>
#include <cstring>
#include <vector>

namespace wire = thea::wire;
static const char magic[8] = {'T', 'H', 'E', 'A', 1, 0, 0, 0};

static int fail(const char *what)
{
    std::fprintf(stderr, "shout: %s\n", what);
    return 76;
}

static bool read_exactly(void *to, size_t n)
{
    return std::fread(to, 1, n, stdin) == n;
}

static void shout(wire::FrameT &frame)
{
    for (auto &tensor : frame.tensors) {
        if (tensor->name != "text" || tensor->dtype != wire::DType_u8) continue;
        for (auto &byte : tensor->bytes)
            if (byte < 128) byte = static_cast<uint8_t>(std::toupper(byte));
    }
}

static bool write_frame(const wire::FrameT &frame)
{
    flatbuffers::FlatBufferBuilder builder;
    wire::FinishFrameBuffer(builder, wire::Frame::Pack(builder, &frame));
    uint64_t length = builder.GetSize();
    return std::fwrite(&length, sizeof length, 1, stdout) == 1 &&
           std::fwrite(builder.GetBufferPointer(), 1, length, stdout) == length;
}

int main()
{
    char head[8];
    if (!read_exactly(head, sizeof head) || std::memcmp(head, magic, sizeof magic) != 0)
        return fail("input is not frames of thea");
    if (std::fwrite(magic, 1, sizeof magic, stdout) != sizeof magic) return fail("cannot write");
    bool ended = false;
    for (uint64_t length; read_exactly(&length, sizeof length);) {
        if (length > (256 << 20)) return fail("a frame is longer than 256 MiB");
        std::vector<uint8_t> data(length);
        if (!read_exactly(data.data(), length)) return fail("input ended in the middle of a frame");
        flatbuffers::Verifier verifier(data.data(), length);
        if (!wire::VerifyFrameBuffer(verifier)) return fail("a damaged frame");
        auto frame = wire::UnPackFrame(data.data());
        shout(*frame);
        if (!write_frame(*frame)) return fail("cannot write");
        ended = frame->kind == wire::Kind_eof;
    }
    return ended && std::fflush(stdout) == 0 ? 0 : fail("input ended without its eof frame");
}
