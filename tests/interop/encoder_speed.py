#!/usr/bin/env python3
"""Documents a second of a sentence encoder in thea, over PyTorch's and (with --onnx) onnxruntime's, on one core.

  encoder_speed.py BIN_DIR MODEL [--tokens 128] [--batch 32] [--blocks 12] [--onnx FILE]

One thea pipe runs all the time; documents of random token ids go to it and to the others in turn, a block of 8 batches each, everything pinned
to one core (so that thea's other processes count too), and the embeddings (mean, L2) are compared. Prints a line a block and the median
ratios, tab-separated. An ONNX file that is not there is made of the model (with the packages onnx and onnxscript). Without torch and
transformers it says so and exits 77. Not part of the tests.
"""
import argparse, json, os, random, statistics, subprocess, sys, time

try:
    import numpy as np
    import torch
    from transformers import AutoModel
except ImportError as missing:
    print(f"skipped: the Python package `{missing.name}` is not importable")
    sys.exit(77)


class Thea:
    def __init__(self, bin_dir, model):
        thea = os.path.join(bin_dir, "thea")
        line = f"'{thea}' load --format tokens - | '{thea}' layers -m '{model}' --pad none | '{thea}' pool -m '{model}' | '{thea}' write --format jsonl"
        self.pipe = subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1 << 20)
        self.count = 0

    def __call__(self, ids):
        for row in ids:
            self.pipe.stdin.write(json.dumps({"id": str(self.count), "tokens": row}) + "\n")
            self.count += 1
        self.pipe.stdin.flush()
        return np.array([json.loads(self.pipe.stdout.readline())["embedding"] for _ in ids])

    def close(self):
        self.pipe.stdin.close()
        return self.pipe.wait()


def pooled(hidden):
    mean = hidden.mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def torch_runner(model, batch):
    torch.set_num_threads(1)
    net = AutoModel.from_pretrained(model, dtype=torch.float32).eval()

    def run(ids):
        with torch.inference_mode():
            parts = [torch.tensor(ids[i : i + batch]) for i in range(0, len(ids), batch)]
            return np.concatenate([pooled(net(input_ids=x, attention_mask=torch.ones_like(x)).last_hidden_state.numpy()) for x in parts])

    return run, net.config.vocab_size


class Hidden(torch.nn.Module):
    """The model's last hidden state alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.net(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


def export_onnx(path, model):
    net = AutoModel.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(1000, 2000, (2, 128))
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(Hidden(net), (ids, torch.ones_like(ids), torch.zeros_like(ids)), path, dynamo=True, external_data=False,
                      input_names=["input_ids", "attention_mask", "token_type_ids"], dynamic_shapes=(sizes,) * 3)


def onnx_runner(path, model, batch):
    import onnxruntime

    if not os.path.exists(path): export_onnx(path, model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(ids):
        out = []
        for i in range(0, len(ids), batch):
            x = np.array(ids[i : i + batch], dtype=np.int64)
            given = {"input_ids": x, "attention_mask": np.ones_like(x), "token_type_ids": np.zeros_like(x)}
            out.append(pooled(session.run(None, {n: given[n] for n in names})[0]))
        return np.concatenate(out)

    return run


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin"); p.add_argument("model"); p.add_argument("--onnx")
    p.add_argument("--tokens", type=int, default=128); p.add_argument("--batch", type=int, default=32); p.add_argument("--blocks", type=int, default=12)
    a = p.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("# CPU:", next(l.split(": ")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")))
    reference, vocab = torch_runner(a.model, a.batch)
    runners = {"thea": Thea(a.bin, a.model), "torch": reference}
    if a.onnx: runners["onnxruntime"] = onnx_runner(a.onnx, a.model, a.batch)
    others = [n for n in runners if n != "thea"]
    print("block\t" + "\t".join(f"{n} docs/s" for n in runners) + "\t" + "\t".join(f"over {n}" for n in others) + "\tlargest difference")
    rng, ratios = random.Random(7), {n: [] for n in others}
    for block in range(-1, a.blocks):  # -1: warm-up, not printed
        ids = [[101] + [rng.randrange(1000, vocab - 100) for _ in range(a.tokens - 2)] + [102] for _ in range(8 * a.batch)]
        speed, vectors = {}, {}
        for name, run in runners.items():
            start = time.perf_counter()
            vectors[name] = run(ids)
            speed[name] = len(ids) / (time.perf_counter() - start)
        if block < 0: continue
        for n in others: ratios[n].append(speed["thea"] / speed[n])
        worst = max(float(np.abs(vectors["thea"] - vectors[n]).max()) for n in others)
        print(f"{block + 1}\t" + "\t".join(f"{s:.1f}" for s in speed.values()) + "\t" + "\t".join(f"{ratios[n][-1]:.3f}" for n in others) + f"\t{worst:.1e}", flush=True)
    print("median\t" + "\t".join("" for _ in runners) + "\t" + "\t".join(f"{statistics.median(ratios[n]):.3f}" for n in others))
    sys.exit(runners["thea"].close())


if __name__ == "__main__": main()
