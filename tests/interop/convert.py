#!/usr/bin/env python3
"""Compare `thea convert` with torch and transformers: files that torch.save wrote in many ways, and whole models.

  pip install torch transformers safetensors
  tests/interop/convert.py build/release/bin/thea [MODEL_DIR…]

Every value of every converted tensor must be the one that torch gets (bit for bit, rounding included); every model
directory named must load in transformers with no weight missing or left over, and compute what the original does.
"""
import json, os, subprocess, sys, tempfile

try:
    import torch
    from safetensors.torch import load_file
except ImportError:
    print("skipped: the Python packages `torch` and `safetensors` are not importable")
    sys.exit(77)

thea, models = sys.argv[1], sys.argv[2:] or ["models/thea-mini"]
DTYPES = {"keep": None, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def convert(src, out, dtype):
    subprocess.run([thea, "convert", src, out, "--dtype", dtype], check=True)
    return load_file(os.path.join(out, "model.safetensors"))


def check_same(want, got, dtype, what):
    assert set(want) == set(got), (what, set(want) ^ set(got))
    for name, w in want.items():
        if DTYPES[dtype] is not None and w.dtype in FLOATS:
            w = w.float().to(DTYPES[dtype])
        g = got[name]
        assert g.dtype == w.dtype and g.shape == w.shape, (what, name, g.dtype, w.dtype, g.shape, w.shape)
        assert torch.equal(g.contiguous().view(torch.uint8) if w.dim() else g, w.contiguous().view(torch.uint8) if w.dim() else w), (what, name)


def cases():
    torch.manual_seed(1)
    base = torch.randn(6, 8)
    extremes = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 65504.0, 65519.9, 65520.0, -1e6, 5.9e-8, 2.9e-8, 2.98e-8, 6.1e-5,
                             1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.3895e38, 1e-40])
    linear = torch.nn.Linear(3, 5)
    tied = torch.nn.ModuleDict({"embed_tokens": torch.nn.Embedding(7, 3), "lm_head": torch.nn.Linear(3, 7, bias=False)})
    tied["lm_head"].weight = tied["embed_tokens"].weight
    yield "views", dict(base=base, turned=base.t(), corner=base[1:4, 2:5], step=base[:, ::3], row=base[2], scalar=base[3, 3], empty=base[:0])
    yield "types", {str(t).split(".")[1]: (torch.randn(4, 5) * 9).to(t) for t in
                    (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
                     torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.complex64)}
    yield "rounding", dict(x=extremes, y=torch.randn(100000) * torch.exp2(torch.randint(-30, 17, (100000,)).float()))
    yield "module", linear.state_dict()
    yield "parameters", dict(linear.named_parameters())
    yield "tied", tied.state_dict()
    yield "many", {f"layer.{i}.w": torch.randn(i % 5, 3) for i in range(2500)}


def check_pickles(dir):
    n = 0
    for name, state in cases():
        for protocol in (2, 3, 4, 5):
            for nest in (lambda s: s, lambda s: {"state": {"model": s}, "epoch": 3}, lambda s: {"state_dict": s}):
                src = os.path.join(dir, f"in{n}")
                os.mkdir(src)
                json.dump({"model_type": "none", "tie_word_embeddings": False}, open(os.path.join(src, "config.json"), "w"))
                torch.save(nest(state), os.path.join(src, "pytorch_model.bin"), pickle_protocol=protocol)
                want = torch.load(os.path.join(src, "pytorch_model.bin"), weights_only=False)
                while "state" in want or "model" in want or "state_dict" in want:
                    want = want.get("state") or want.get("model") or want.get("state_dict")
                want = {k: v.detach() for k, v in want.items()}
                dtype = list(DTYPES)[n % 4]
                check_same(want, convert(src, os.path.join(dir, f"out{n}"), dtype), dtype, (name, protocol, dtype))
                n += 1
    print(f"{n} files of torch.save: every value equal")


def check_golden(dir):
    src = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "goldens", "m2bert-tiny")
    want = torch.load(os.path.join(src, "pytorch_model.bin"))
    for dtype in DTYPES:
        check_same(want, convert(src, os.path.join(dir, f"golden-{dtype}"), dtype), dtype, ("m2bert-tiny", dtype))
    print(f"m2bert-tiny: {len(want)} names, every value equal")


def check_model(src, dir, k):
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
    causal = "ForCausalLM" in str(AutoConfig.from_pretrained(src).architectures)
    auto = AutoModelForCausalLM if causal else AutoModel
    original = auto.from_pretrained(src, dtype=torch.float32)
    ids = torch.arange(1, 60)[None]
    outputs = lambda m: (m(ids).logits if causal else m(ids).last_hidden_state).detach()
    source = load_file(os.path.join(src, "model.safetensors"))
    for dtype in DTYPES:
        out = os.path.join(dir, f"model{k}-{dtype}")
        check_same(source, convert(src, out, dtype), dtype, (src, dtype))
        model, info = auto.from_pretrained(out, output_loading_info=True, dtype="auto")
        if dtype != "keep":
            assert model.dtype == DTYPES[dtype], (model.dtype, dtype)
        bad = [v for key in ("missing_keys", "mismatched_keys", "error_msgs") for v in info[key]]
        assert not bad, (src, dtype, info)
        with torch.no_grad():
            error = (outputs(model.float()) - outputs(original)).abs().max() / outputs(original).abs().max()
        print(f"{src} as {dtype}: loads in transformers as {auto.__name__}, outputs differ by {error:.1e}")
        assert error <= (5e-2 if dtype in ("bf16", "f16") else 0), error


with tempfile.TemporaryDirectory() as dir:
    check_pickles(dir)
    check_golden(dir)
    for k, model in enumerate(models):
        check_model(model, dir, k)
