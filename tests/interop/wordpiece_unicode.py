#!/usr/bin/env python3
"""Every code point through BERT's normalizer and pre-tokenizer, thea against the `tokenizers` library.

  wordpiece_unicode.py BIN_DIR     (BIN_DIR: where thea-load, thea-tokenize and thea-write are)

Each stands between letters and before a combining mark; the normalized text is compared byte by byte (a byte-level model without merges), the words by a
WordPiece model. Prints a line a configuration and exits 1 at any difference. Without the library it says so and exits 77. Not part of the tests.
"""
import json, os, subprocess, sys, tempfile

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: the Python package `tokenizers` is not importable")
    sys.exit(77)

BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]
ALPHABET = {b: chr(b) for b in BYTES} | {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in BYTES)}


def config(normalizer, pre, model): return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": None, "decoder": None, "model": model}


def configurations():
    byte_model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {ALPHABET[b]: b for b in range(256)}, "merges": []}
    byte_words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    for clean in (True, False):
        for lower in (True, False):
            for strip in (None, True, False):
                n = {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": clean, "strip_accents": strip, "lowercase": lower}
                yield f"BertNormalizer clean {clean} lower {lower} strip {strip}", config(n, byte_words, byte_model)
    pieces = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "b": 2, "##b": 3, "\u0301": 4}}
    yield "BertPreTokenizer", config(None, {"type": "BertPreTokenizer"}, pieces)
    yield "both", config({"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}, {"type": "BertPreTokenizer"}, pieces)


def ours(bin_dir, directory, texts):
    command = f"{bin_dir}/thea-load --format jsonl - | {bin_dir}/thea-tokenize -m {directory} --no-special | {bin_dir}/thea-write --format jsonl"
    data = "".join(json.dumps({"id": str(i), "text": x}) + "\n" for i, x in enumerate(texts)).encode()
    r = subprocess.run(["sh", "-c", command], input=data, stdout=subprocess.PIPE, check=True)
    return {int(d["id"]): d["tokens"] for d in map(json.loads, r.stdout.decode().splitlines())}


def compare(what, conf, bin_dir, codes, texts):
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, "tokenizer.json"), "w", encoding="utf-8") as f: json.dump(conf, f, ensure_ascii=False)
        t, got = Tokenizer.from_file(os.path.join(d, "tokenizer.json")), ours(bin_dir, d, texts)
    bad = [i for i, x in enumerate(texts) if t.encode(x, add_special_tokens=False).ids != got.get(i)]
    for i in bad[:1]: print(f"  {[hex(c) for c in codes[i]][:1]}…: want {t.encode(texts[i], add_special_tokens=False).ids}\n    have {got.get(i)}")
    print(f"{what}: {'equal' if not bad else str(len(bad)) + ' texts differ'}", flush=True)
    return len(bad)


def main():
    if len(sys.argv) != 2: sys.exit(__doc__)
    every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    codes = [every[i:i + 16] for i in range(0, len(every), 16)]
    texts = [" ".join(f"a{chr(c)}b {chr(c)}\u0301" for c in part) for part in codes]
    return 1 if sum(compare(n, c, os.path.abspath(sys.argv[1]), codes, texts) for n, c in configurations()) else 0


if __name__ == "__main__": sys.exit(main())
