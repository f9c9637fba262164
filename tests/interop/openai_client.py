#!/usr/bin/env python3
"""`thea serve` with OpenAI's own Python client, and what that says compared with `thea run embed`, bit for bit.

  openai_client.py BIN_DIR [-m MODEL]     (BIN_DIR: where thea is; pip install openai)

Starts a server, asks it by the client as its users do (strings, lists, token arrays, floats and base64, errors, 32 threads), ends it, exits 1 at any
difference. Without the package it says so and exits 77. Not part of the tests.
"""
import argparse, concurrent.futures, json, os, re, signal, subprocess, sys, tempfile, time

try:
    import openai
except ImportError:
    print("skipped: the Python package `openai` is not importable (pip install openai)")
    sys.exit(77)

KEY, bad = "sk-of-the-test", 0


def check(what, holds, found=""):
    global bad
    if not holds: bad += 1
    print(f"{'ok    ' if holds else 'FAILED'} {what} {'' if holds else found}", flush=True)


def fails(what, kind, code, call):
    try:
        call()
        check(what, False, "no error")
    except kind as e:
        check(what, e.code == code, repr(e))


def pipeline(a, texts):
    lines = "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    model = ["-m", a.model] if a.model else []
    with tempfile.TemporaryDirectory() as d:
        r = subprocess.run([f"{a.bin}/thea", "run", "embed", "-", "-q", "--run-dir", f"{d}/run", "--set", "load.format=jsonl", "--set", "write.format=jsonl", *model],
                           input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(l)["embedding"] for l in r.stdout.decode().splitlines()]


def start(a, directory):
    with open(f"{directory}/key", "w") as f: f.write(KEY + "\n")
    model = ["-m", a.model] if a.model else []
    server = subprocess.Popen([f"{a.bin}/thea", "serve", "embed", *model, "--listen", "127.0.0.1:0", "--token-file", f"{directory}/key", "--alias", "text-embedding-3-small"],
                              stderr=subprocess.PIPE, text=True, env=dict(os.environ, THEA_RUNS=directory))
    for line in server.stderr:
        found = re.search(r"(http://[0-9.:]+/v1)", line)
        if found: break
        print(line, end="")
    else: sys.exit("the server did not start")
    import threading
    threading.Thread(target=server.stderr.read, daemon=True).start()
    return server, found.group(1)


def f32(values):
    import struct
    return struct.pack(f"<{len(values)}f", *values)


def talk(client, want, texts):
    name = client.models.list().data[0].id
    check("models.list names the model", client.models.retrieve(name).id == name)
    one = client.embeddings.create(model=name, input=texts[0])  # asks for base64, and decodes it
    check("a string gives the pipeline's vector", f32(one.data[0].embedding) == f32(want[0]))
    check("usage counts its tokens", one.usage.prompt_tokens == one.usage.total_tokens > 0, repr(one.usage))
    every = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    check("a list gives all of them, in order, under another name", [f32(d.embedding) for d in every.data] == [f32(w) for w in want] and [d.index for d in every.data] == list(range(len(texts))))
    tokens = client.embeddings.create(model=name, input=[[5, 6, 7], [8]])
    single = client.embeddings.create(model=name, input=[5, 6, 7])
    check("token arrays are taken", tokens.data[0].embedding == single.data[0].embedding and tokens.usage.prompt_tokens == 4)
    check("dimensions may be the model's own", len(client.embeddings.create(model=name, input="x", dimensions=len(want[0])).data[0].embedding) == len(want[0]))
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        asked = [i % len(texts) for i in range(256)]
        got = list(pool.map(lambda i: client.embeddings.create(model=name, input=texts[i]).data[0].embedding, asked))
    check("32 threads get what one gets", all(f32(g) == f32(want[i]) for g, i in zip(got, asked)))
    fails("another model is not found", openai.NotFoundError, "model_not_found", lambda: client.embeddings.create(model="gpt", input="x"))
    fails("an empty input is a bad request", openai.BadRequestError, None, lambda: client.embeddings.create(model=name, input=""))
    fails("other dimensions are a bad request", openai.BadRequestError, None, lambda: client.embeddings.create(model=name, input="x", dimensions=3))
    fails("a wrong key is not let in", openai.AuthenticationError, "invalid_api_key", lambda: client.with_options(api_key="sk-wrong").embeddings.create(model=name, input="x"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin"); p.add_argument("-m", "--model")
    a = p.parse_args(); a.bin = os.path.abspath(a.bin)
    texts = [f"Document {i}: {'words and ' * (i % 9)}é 日本 \n\"quoted\"." for i in range(40)]
    want = pipeline(a, texts)
    with tempfile.TemporaryDirectory() as d:
        server, url = start(a, d)
        began = time.time()
        try: talk(openai.OpenAI(base_url=url, api_key=KEY, max_retries=0), want, texts)
        finally: server.send_signal(signal.SIGTERM)
        check("it ends in order", server.wait(60) == 143, repr(server.returncode))
        print(f"openai {openai.__version__}, {time.time() - began:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__": sys.exit(main())
