#!/usr/bin/env python3
"""Compare thea's tokenizers with the `tokenizers` library on random texts, over many made-up tokenizer.json files.

  tokenizer_random.py BIN_DIR [--seed N] [--texts N]     (BIN_DIR: where thea-load, thea-tokenize … are)

Prints a line a configuration and exits 1 at any difference. Without the library it says so and exits 77. Not part of the tests.
"""
import argparse, copy, json, os, random, subprocess, sys, tempfile

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: the Python package `tokenizers` is not importable")
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GOLDENS = os.path.join(ROOT, "tests", "goldens", "tokenizers")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PIECES = ["a", "b", "e", "the", "The", " ", "  ", "   ", "\n", "\r\n", "\t", "'s", "'LL", "'\u017f", "1", "23", "4567", "\u00b2", "\u0663", "\u2160", "_", "-", "!!", "...", "<s>", "</s>", "<unk>", "<|endoftext|>",
          "word", "(", ")", "{", "$", "+", "\u00e9", "e\u0301", "\u0301", "\u0323\u0301", "\u0130", "\u00df", "\ufb01", "\u01c5", "\u65e5\u672c", "\u3042", "\uac00", "\u1100\u1161\u11a8", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u00a0", "\u2003", "\u3000", "\u180e", "\u0085", "\u2028", "\u200b", "\ufeff",
          "\u2581", "\u2581\u2581", "\u0000", "\u0007", "\u0928\u093f", "\u0e01\u0e33", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0391\u03a3\u03c2", "\u2126", "\u212b", "\uff21", "\u3392", "\U0001d400", "\u0344", "\u0958", "\ud7a3", "\U000e0100", "caf\u00e9", "na\u00efve", "<a>", "<ls>", "<rs>", "<both>", "/", "//", "def", "return", "x1"]


def base(name):
    with open(os.path.join(GOLDENS, name, "tokenizer.json"), encoding="utf-8") as f: return json.load(f)


def split(pattern, behavior="Isolated", invert=False, kind="Regex"): return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def seq(*steps): return {"type": "Sequence", "pretokenizers": list(steps)}
def norms(*steps): return {"type": "Sequence", "normalizers": list(steps)}
def decs(*steps): return {"type": "Sequence", "decoders": list(steps)}
def meta(**k): return dict({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}, **k)


def configurations():
    for name in sorted(os.listdir(GOLDENS)):
        if name.startswith(("bytelevel", "spm", "wordpiece")): yield name, base(name)
    g, s = base("bytelevel-gpt2"), base("spm-llama")
    for what, change in {
        "o200k": seq(split(O200K), BYTES), "deepseek": seq(split(r"\p{N}{1,3}"), split(r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK), BYTES),
        "digits": seq({"type": "Digits", "individual_digits": True}, GPT2), "digit groups": seq({"type": "Digits", "individual_digits": False}, GPT2),
        "punctuation": seq({"type": "Punctuation", "behavior": "Contiguous"}, GPT2), "punctuation removed": seq({"type": "Punctuation", "behavior": "Removed"}, GPT2),
        "whitespace": seq({"type": "WhitespaceSplit"}, BYTES), "word class": seq(split(r"\w+|[^\w\s]+"), BYTES), "not spaces": seq(split(r"[^\S\n]+|\S+", "MergedWithPrevious"), BYTES),
        "scripts": seq(split(r"\p{Han}+|\p{Hiragana}+|\p{Latin}+", "Contiguous"), BYTES), "anchors": seq(split(r"^.|.$"), BYTES), "empty matches": seq(split(r"a*"), BYTES), "braces": seq(split(r"e{,2}x?|{"), BYTES), "hex": seq(split(r"\h+"), BYTES),
        "lookbehind": seq(split(r"(?<=e)\s|(?<!a)b"), BYTES), "case": seq(split(r"(?i)the|\u00e9|ss"), BYTES),
    }.items():
        c = copy.deepcopy(g); c["pre_tokenizer"] = change
        yield "pre_tokenizer " + what, c
    for behavior in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
        for invert in (False, True):
            for pattern, kind in ((r"\s", "Regex"), ("e", "String")):
                c = copy.deepcopy(g); c["pre_tokenizer"] = seq(split(pattern, behavior, invert, kind), BYTES)
                yield f"split {pattern} {behavior} {invert}", c
    for what, change in {"NFD": {"type": "NFD"}, "NFKC": {"type": "NFKC"}, "NFKD": {"type": "NFKD"}, "Lowercase": {"type": "Lowercase"}, "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
                         "strip left": {"type": "Strip", "strip_left": True, "strip_right": False}, "regex": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                         "several": norms({"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": r"\p{M}"}, "content": ""}, {"type": "NFC"})}.items():
        c = copy.deepcopy(base("bytelevel-added")); c["normalizer"] = change; c["added_tokens"][9]["content"] = "@@@"  # in place of newlines: a token normalized to nothing matches everywhere there
        yield "normalizer " + what, c
    for what, change in {"always": meta(), "first": meta(prepend_scheme="first"), "never": meta(prepend_scheme="never"), "never unsplit": meta(prepend_scheme="never", split=False)}.items():
        c = copy.deepcopy(s); c["normalizer"] = None; c["pre_tokenizer"] = change; c["decoder"] = {k: v for k, v in change.items() if k != "split"} | {"split": True}
        yield "metaspace " + what, c
    c = copy.deepcopy(s); c["model"]["byte_fallback"] = False; yield "unknown fused", c
    c = copy.deepcopy(c); c["model"]["fuse_unk"] = False; yield "unknown", c
    c = copy.deepcopy(c); c["model"]["unk_token"] = None; yield "dropped", c
    c = copy.deepcopy(s); del c["model"]["vocab"]["<0xE6>"]; c["model"]["vocab"]["<filler>"] = max(c["model"]["vocab"].values()) + 1; yield "a byte missing", c
    for what, change in {"none": None, "strip stop": decs({"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "e", "start": 2, "stop": 3}), "strip each": {"type": "Strip", "content": "\u2581", "start": 1, "stop": 0},
                         "regex": decs({"type": "Replace", "pattern": {"Regex": "[ae]+"}, "content": "<>"}, {"type": "Fuse"}), "fused replace": decs({"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "aa"}, "content": "b"}),
                         "bytelevel then": decs({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, {"type": "Strip", "content": " ", "start": 1, "stop": 1})}.items():
        c = copy.deepcopy(s); c["decoder"] = change
        yield "decoder " + what, c
    c = copy.deepcopy(base("bytelevel-gpt2-prefix")); c["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True}; yield "roberta", c


    w = base("wordpiece-cased")
    for options in ({"clean_text": False}, {"handle_chinese_chars": False}, {"lowercase": True}, {"strip_accents": True}, {"lowercase": True, "strip_accents": False}):
        c = copy.deepcopy(w); c["normalizer"] = w["normalizer"] | options; yield f"wordpiece {options}", c
    for options in ({"max_input_chars_per_word": 5}, {"continuing_subword_prefix": ""}, {"continuing_subword_prefix": "a"}):
        c = copy.deepcopy(w); c["model"] = w["model"] | options; yield f"wordpiece {options}", c
    for what, change in {"none": None, "bare": {"type": "WordPiece", "prefix": "##", "cleanup": False}, "prefix": {"type": "WordPiece", "prefix": "e", "cleanup": True}}.items():
        c = copy.deepcopy(w); c["decoder"] = change; yield "wordpiece decoder " + what, c
    c = copy.deepcopy(w); c["pre_tokenizer"] = seq({"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}); yield "wordpiece other words", c
    c = copy.deepcopy(w); c["added_tokens"] = w["added_tokens"] + [{"id": len(w["model"]["vocab"]), "content": "Word", "single_word": True, "lstrip": False, "rstrip": False, "normalized": True, "special": False}]; yield "wordpiece added", c


def run(command, lines):
    data = "".join(json.dumps(l) + "\n" for l in lines).encode()
    r = subprocess.run(["sh", "-c", command], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0: return None, r.stderr.decode()
    return {d["id"]: d for d in map(json.loads, r.stdout.decode().splitlines())}, r.stderr.decode()


def reference(function, *arguments, **options):
    """None where the library itself panics (tokens that swallow spaces, one after another)."""
    try: return function(*arguments, **options)
    except BaseException as e:
        if type(e).__name__ == "PanicException": return None
        raise


def compare(what, config, a, rng):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "tokenizer.json")
        with open(path, "w", encoding="utf-8") as f: json.dump(config, f, ensure_ascii=False)
        t = Tokenizer.from_file(path)
        specials = [x["content"] for x in config["added_tokens"]]
        texts = ["".join(rng.choices(PIECES + specials, k=rng.randint(1, 24))) for _ in range(a.texts)]
        ids = [[rng.randrange(t.get_vocab_size()) for _ in range(rng.randint(1, 16))] for _ in range(a.texts)]
        ids = [[i for i in l if t.id_to_token(i) is not None] or [0] for l in ids]
        bad = 0
        for special in (True, False):
            flag = "" if special else "--no-special"
            got, log = run(f"{a.bin}/thea-load --format jsonl - | {a.bin}/thea-tokenize -m {d} {flag} | {a.bin}/thea-write --format jsonl", [dict(id=str(i), text=x) for i, x in enumerate(texts)])
            if got is None: print(f"{what}: {log.strip()}"); return 1
            for i, x in enumerate(texts):
                full = reference(t.encode, x, add_special_tokens=special)
                if full is None: continue
                want, have = full.ids, got.get(str(i), {}).get("tokens")
                if want != have:
                    if bad < 3: print(f"{what}: {x!r}\n  want {want} {[t.id_to_token(k) for k in want]}\n  have {have} {log.strip()[:200]}")
                    bad += 1
            got, log = run(f"{a.bin}/thea-load --format tokens - | {a.bin}/thea-detokenize -m {d} {flag} | {a.bin}/thea-write --format jsonl", [dict(id=str(i), tokens=x) for i, x in enumerate(ids)])
            if got is None: print(f"{what}: {log.strip()}"); return 1
            for i, x in enumerate(ids):
                want, have = t.decode(x, skip_special_tokens=not special), got.get(str(i), {}).get("text") or ""
                if want != have:
                    if bad < 3: print(f"{what}: decode {x} {[t.id_to_token(k) for k in x]}\n  want {want!r}\n  have {have!r} {log.strip()[:200]}")
                    bad += 1
        print(f"{what}: {'equal' if bad == 0 else str(bad) + ' differences'}")
        return bad


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin"); p.add_argument("--seed", type=int, default=1); p.add_argument("--texts", type=int, default=300); p.add_argument("--only", default="")
    a = p.parse_args(); a.bin = os.path.abspath(a.bin)
    return 1 if sum(compare(n, c, a, random.Random(a.seed)) for n, c in configurations() if a.only in n) else 0


if __name__ == "__main__": sys.exit(main())
