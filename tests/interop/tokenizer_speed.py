#!/usr/bin/env python3
"""thea's tokenizer against the `tokenizers` library: the same file, the same text, one thread, CPU time.

  tokenizer_speed.py BIN_DIR [-m DIR] FILE...      (BIN_DIR: where bench-tokenizer is)

Prints MB/s of both and their ratio, tab-separated. Without the library it says so and exits 77. Not part of the tests.
"""
import argparse, os, subprocess, sys, time

os.environ["RAYON_NUM_THREADS"] = "1"; os.environ["TOKENIZERS_PARALLELISM"] = "false"
try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: the Python package `tokenizers` is not importable")
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def documents(data, size):
    at = 0
    while at < len(data):
        end = min(at + size, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80: end += 1
        yield data[at:end].decode()
        at = end


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin"); p.add_argument("-m", "--model", default=os.path.join(ROOT, "models", "thea-mini")); p.add_argument("files", nargs="+")
    a = p.parse_args()
    ours = {}
    for line in subprocess.run([os.path.join(a.bin, "bench-tokenizer"), "-m", a.model, *a.files], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines():
        cells = line.split("\t")
        if line.startswith("# cpu"): print(line)
        if len(cells) == 6 and cells[0].startswith("encode"): ours[cells[0]] = (float(cells[1]), int(cells[5]))
    data = b"".join(open(f, "rb").read() for f in a.files)
    t = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    t.encode("warm up")
    print("what\tthea MB/s\ttokenizers MB/s\tratio\ttokens equal")
    for what, key, size in (("documents of 4 kB", "encode 4 kB cold", 4096), ("one text", "encode whole cold", len(data))):
        texts, n = list(documents(data, size)), 0
        start = time.process_time()
        for x in texts: n += len(t.encode(x, add_special_tokens=False).ids)
        theirs = len(data) / 1e6 / (time.process_time() - start)
        print(f"{what}\t{ours[key][0]:.1f}\t{theirs:.2f}\t{ours[key][0] / theirs:.1f}\t{n == ours[key][1]}")


if __name__ == "__main__": main()
