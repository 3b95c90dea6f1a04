#!/usr/bin/env python3
"""What int8 and masking cost in quality: held-out losses after some steps of LoRA, and gradients.

    python3 bench/fidelity.py [--model NAME] [--steps 200] [--dtype bfloat16] [--work DIRECTORY]

Models: `demo` (examples/demo/model, on the demo's data), `wide` (random, d = 4096, two layers, written here, on the same
data), `stories` (stories260K on ChatDoctor's dialogues, from ../shared/data or $CARREL_DATA). With LoRA on q and v, LoRA
on all linears, and prefixes, each is trained by `carrel tune` four times: with the checkpoint's weights, with an int8
base in the trusted process, and with masked products (slicing.pads: enclave) of four digits and of three. Gradients are
those of one step of plain SGD in float32: masked, beside the same int8 base in the trusted process.
"""
import argparse
import array
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build/bin")
DEMO = os.path.join(ROOT, "examples/demo")
SHARED = os.environ.get("CARREL_DATA", os.path.join(ROOT, "../shared/data"))
RUNS = [("base", ""), ("int8", "load_in_8bit: true\n"), ("masked", "slicing: {pads: enclave, accelerators: ['%s']}\n"),
        ("masked, 3 digits", "slicing: {pads: enclave, digits: 3, accelerators: ['%s']}\n")]
TUNED = {"LoRA on q and v": "lora: {r: 8, lora_alpha: 16, target_modules: [q_proj, v_proj]}",
         "LoRA on all linears": "lora: {r: 8, lora_alpha: 16, target_modules: all-linear}",
         "prefixes": "method: prefix_tuning\nprefix_tuning: {num_virtual_tokens: 16}"}
SETTINGS = """model_name_or_path: %(model)s
output_dir: %(output)s
seed: 1
dtype: %(dtype)s
data: {train: %(train)s, %(eval)s max_length: %(length)d}
%(tuned)s
training: {learning_rate: %(rate)g, optim: %(optim)s, per_device_train_batch_size: %(batch)d, max_steps: %(steps)d}
"""


def gaussian_bfloat16(count, deviation, generator):
    """By cutting float32 short."""
    values = array.array("f", (generator.gauss(0, deviation) for _ in range(count))).tobytes()
    return b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4))


def write_wide(directory, hidden=4096, intermediate=11008, layers=2):
    """A llama with random weights, of a deviation of 0.02, and the demo's tokenizer."""
    os.makedirs(directory)
    shutil.copy(os.path.join(DEMO, "model/tokenizer.json"), directory)
    with open(os.path.join(DEMO, "model/config.json")) as file:
        config = json.load(file)
    config.update(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=32,
                  num_key_value_heads=32, tie_word_embeddings=False)
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file)
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "lm_head.weight": [config["vocab_size"], hidden],
              "model.norm.weight": [hidden]}
    for layer in range(layers):
        at = "model.layers.%d." % layer
        shapes.update({at + "self_attn.%s_proj.weight" % name: [hidden, hidden] for name in "qkvo"})
        shapes.update({at + "mlp.%s_proj.weight" % name: [intermediate, hidden] for name in ("gate", "up")})
        shapes[at + "mlp.down_proj.weight"] = [hidden, intermediate]
        shapes.update({at + name + ".weight": [hidden] for name in ("input_layernorm", "post_attention_layernorm")})
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    generator, pool_size = random.Random(1), 1 << 20
    pool = gaussian_bfloat16(pool_size, 0.02, generator)  # rows are parts of it, from anywhere on
    with open(os.path.join(directory, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for shape in shapes.values():
            for _ in range(shape[0] if len(shape) > 1 else 0):
                at = 2 * generator.randrange(pool_size - shape[1])
                file.write(pool[at:at + 2 * shape[1]])
            if len(shape) == 1:
                file.write(struct.pack("<H", 0x3F80) * shape[0])


def write_rows(path, rows):
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def prepare(name, work):
    """Model, training data, held-out data, length, batch and learning rate."""
    if name == "stories":
        with open(os.path.join(SHARED, "datasets/chatdoctor/chatdoctor5k.json")) as file:
            rows = json.load(file)[:1800]
        write_rows(work + "/stories.jsonl", rows[:1600])
        write_rows(work + "/stories-eval.jsonl", rows[1600:])
        return os.path.join(SHARED, "models/stories260K"), work + "/stories.jsonl", work + "/stories-eval.jsonl", 480, 8, 0.001
    subprocess.run([sys.executable, os.path.join(DEMO, "make_data.py"), "federation", work], check=True, stdout=subprocess.DEVNULL)
    if name == "demo":
        return os.path.join(DEMO, "model"), work + "/pooled.jsonl", work + "/eval.jsonl", 128, 32, 0.001
    write_wide(work + "/wide")
    with open(work + "/eval.jsonl") as file:
        write_rows(work + "/wide-eval.jsonl", [json.loads(line) for line in file][:64])
    # Trained three times as fast, it ends where rounding takes it (docs/NUMERICS.md).
    return work + "/wide", work + "/pooled.jsonl", work + "/wide-eval.jsonl", 64, 2, 0.0003


def tune(settings, extra, work):
    """The held-out loss."""
    with open(work + "/settings.yaml", "w") as file:
        file.write(SETTINGS % settings + extra)
    done = subprocess.run([BIN + "/carrel", "tune", work + "/settings.yaml", "--json", "--restart"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("carrel tune: " + done.stderr)
    events = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    losses = [event["loss"] for event in events if event.get("event") == "train.eval"]
    return losses[-1] if losses else None


def adapter(path):
    """The values of all its tensors, which are float32."""
    with open(path + "/adapter_model.safetensors", "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        body = file.read()
    values = array.array("f")
    for name in sorted(header):
        assert header[name]["dtype"] == "F32"
        values.frombytes(body[slice(*header[name]["data_offsets"])])
    return values


def distance(got, wanted, start):
    """Of the changes since `start`."""
    off = sum((a - b) ** 2 for a, b in zip(got, wanted))
    return (off / sum((b - c) ** 2 for b, c in zip(wanted, start))) ** 0.5


def compare(name, tuned, arguments, place, address, work):
    model, train, held_out, length, batch, rate = place
    settings = {"model": model, "train": train, "eval": "eval: %s," % held_out, "length": length, "batch": batch,
                "tuned": TUNED[tuned], "dtype": arguments.dtype, "optim": "adamw", "rate": rate,
                "steps": arguments.steps, "output": work + "/out"}
    losses = {run: tune(settings, extra % address if "%s" in extra else extra, work) for run, extra in RUNS}
    print("%s, %s, %s, %d steps:" % (name, tuned, arguments.dtype, arguments.steps))
    for run, loss in losses.items():
        beside = {"base": None, "int8": "base"}.get(run, "int8")
        off = loss - losses[beside] if beside else 0
        print("  %-17s held-out loss %.4f" % (run, loss) +
              ("; %+.4f nats of %s, %+.3f %%" % (off, beside, 100 * off / losses[beside]) if beside else ""), flush=True)
    # At so small a rate nothing moves: where it started.
    settings.update(dtype="float32", optim="sgd", steps=1, eval="")
    values = []
    for rate, extra in ((1e-30, RUNS[1][1]), (1, RUNS[1][1]), (1, RUNS[2][1] % address)):
        settings["rate"] = rate
        tune(settings, extra, work)
        values.append(adapter(work + "/out"))
    print("  gradient off that of int8 in float32 by %.1e" % distance(values[2], values[1], values[0]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["demo", "wide", "stories"], action="append")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--work", help="where files are made, and left; without it, a directory that is removed")
    arguments = parser.parse_args()
    work = arguments.work or tempfile.mkdtemp(prefix="carrel-fidelity-")
    os.makedirs(work, exist_ok=True)
    try:
        for name in arguments.model or ["demo", "wide", "stories"]:
            place, address = prepare(name, work), "unix:%s/%s.sock" % (work, name)
            accelerator = subprocess.Popen([BIN + "/carrel-accelerator", "--model", place[0], "--listen", address],
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for tuned in TUNED:
                    compare(name, tuned, arguments, place, address, work)
            finally:
                accelerator.terminate()
                accelerator.wait()
    finally:
        if not arguments.work:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
