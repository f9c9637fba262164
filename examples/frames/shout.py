#!/usr/bin/env python3
"""A stage for a shell pipe in Python, with the official FlatBuffers library alone: makes text upper case.

    flatc --python --gen-object-api -o generated frame.fbs      # frame.fbs: share/thea/schema, or schemas/ of the source
    thea load notes.md | PYTHONPATH=generated python3 shout.py | thea write --format text

On stdin and stdout: 8 bytes "THEA\\x01\\0\\0\\0", then for each frame its length (8 bytes, little endian) and the frame.
"""
import struct
import sys

import flatbuffers
from thea.wire.DType import DType
from thea.wire.Frame import Frame, FrameT
from thea.wire.Kind import Kind

MAGIC = b"THEA\x01\0\0\0"


def read_exactly(stream, n):
    data = stream.read(n)
    if len(data) != n:
        sys.exit("shout.py: input ended in the middle of a frame")
    return data


def frames(stream):
    """Yield the bytes of each frame; without an eof frame at the end the stage before died."""
    if read_exactly(stream, 8) != MAGIC:
        sys.exit("shout.py: input is not frames of thea")
    kind = None
    while header := stream.read(8):
        (length,) = struct.unpack("<Q", header)
        data = read_exactly(stream, length)
        if not Frame.FrameBufferHasIdentifier(data, 0):
            sys.exit("shout.py: a frame has no identifier THF1")
        kind = Frame.GetRootAs(data).Kind()
        yield data
    if kind != Kind.eof:
        sys.exit("shout.py: input ended without its eof frame")


def shout(frame):
    for tensor in frame.tensors or []:
        if tensor.name == b"text" and tensor.dtype == DType.u8:
            text = bytes(tensor.bytes).decode().upper().encode()
            tensor.bytes = list(text)
            tensor.shape = [len(text)]


def encode(frame):
    builder = flatbuffers.Builder(1024)
    builder.Finish(frame.Pack(builder), file_identifier=b"THF1")
    return bytes(builder.Output())


def main():
    out = sys.stdout.buffer
    out.write(MAGIC)
    for data in frames(sys.stdin.buffer):
        frame = FrameT.InitFromObj(Frame.GetRootAs(data))
        shout(frame)
        encoded = encode(frame)
        out.write(struct.pack("<Q", len(encoded)) + encoded)
    out.flush()


if __name__ == "__main__":
    main()
