#!/usr/bin/env python3
"""bench/split.py [BIN]: what a split model costs, on the demo's data with examples/split/federation.yaml.

Held-out loss with activations as float32, bfloat16 and int8, of the demo's model and of one with a channel of the
residual stream 129 times the others' size; and what a silo spends on one epoch and on eight, with a front of ten layers
of 512 channels, three times in turn. Needs numpy.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy

BIN = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/bin")
MODEL, DATA, CHANNEL, WIDTH, LAYERS, CUT = "examples/demo/model", "build/demo/data", 5, 128, 6, 2
# Root mean squares of the demo's stream before its two norms of each layer and the last one, by Transformers.
SIZES = (0.118, 0.161, 3.01, 3.06, 3.41, 3.45, 4.19, 4.27, 11.1, 11.3, 11.7, 12.1, 13.9)
OUTLIER = 1040  # 129 times what the others have at the cut once the model is tuned


def carrel(*arguments):
    done = subprocess.run([BIN + "/carrel", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_outlier(folder):
    """A channel that no norm lets through and no layer changes, and norms that make up for what it takes; tuned until
    it is a model again."""
    start, tuned = folder + "/start", folder + "/outlier"
    shutil.copytree(MODEL, start)
    with open(MODEL + "/model.safetensors", "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = {name: entry for name, entry in json.loads(data[8:8 + size]).items() if name != "__metadata__"}
    weights, at = {}, 0
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        bits = numpy.frombuffer(data, numpy.uint16, (end - begin) // 2, 8 + size + begin).astype(numpy.uint32) << 16
        weights[name] = bits.view(numpy.float32).reshape(entry["shape"]).copy()
    weights["model.embed_tokens.weight"][:, CHANNEL] = OUTLIER
    norms = ["model.layers.%d.%s.weight" % (layer, norm) for layer in range(LAYERS)
             for norm in ("input_layernorm", "post_attention_layernorm")] + ["model.norm.weight"]
    for name, own in zip(norms, SIZES):
        weights[name] *= (OUTLIER ** 2 / WIDTH + own ** 2) ** 0.5 / own
        weights[name][CHANNEL] = 0
    for layer in range(LAYERS):
        weights["model.layers.%d.self_attn.o_proj.weight" % layer][CHANNEL] = 0
        weights["model.layers.%d.mlp.down_proj.weight" % layer][CHANNEL] = 0
    for name in header:
        header[name] = {"dtype": "F32", "shape": header[name]["shape"], "data_offsets": [at, at + weights[name].nbytes]}
        at += weights[name].nbytes
    text = json.dumps(header).encode()
    with open(start + "/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(weights[name].tobytes() for name in header))
    subprocess.run([sys.executable, "-B", "examples/demo/make_data.py", "base", folder + "/base"], check=True)
    with open(folder + "/full.yaml", "w") as file:
        json.dump({"model_name_or_path": start, "output_dir": tuned, "method": "full", "seed": 3,
                   "data": {"train": folder + "/base/base.jsonl", "max_length": 96},
                   "training": {"learning_rate": 0.0005, "max_steps": 250, "per_device_train_batch_size": 16, "warmup_steps": 10}}, file)
    carrel("tune", folder + "/full.yaml")
    return tuned


def deep(folder):
    """A model of the demo's tokens, with random weights, that takes a silo with all hospitals' rows seconds to walk through."""
    start, tuned = folder + "/wide", folder + "/deep"
    shutil.copytree(MODEL, start, ignore=shutil.ignore_patterns("*.safetensors"))
    with open(start + "/config.json") as file:
        config = json.load(file)
    config.update(hidden_size=512, intermediate_size=1536, num_attention_heads=8, num_key_value_heads=8, num_hidden_layers=12)
    with open(start + "/config.json", "w") as file:
        json.dump(config, file)
    with open(folder + "/deep.yaml", "w") as file:
        json.dump({"model_name_or_path": start, "output_dir": tuned, "method": "full", "random_init": True, "seed": 3,
                   "data": {"train": DATA + "/lakeside.jsonl", "max_length": 96},
                   "training": {"max_steps": 1, "per_device_train_batch_size": 4}}, file)
    carrel("tune", folder + "/deep.yaml")
    with open(folder + "/rows.jsonl", "w") as file:
        for silo in "lakeside", "northfield", "st-anne":
            with open("%s/%s.jsonl" % (DATA, silo)) as rows:
                file.write(rows.read())
    return tuned


def silo_alone(folder, model, epochs):
    """What a silo that stays in its own process says it sent, and its processor seconds, from the first to the last."""
    name = tempfile.mkdtemp(dir=folder)
    settings = {"model_name_or_path": model, "output_dir": name + "/out", "data": {"max_length": 128},
                "lora": {"r": 8, "target_modules": ["all-linear"]},
                "training": {"num_train_epochs": epochs, "per_device_train_batch_size": 32},
                "split": {"activations": "bfloat16", "layers": 10},
                "federation": {"address": "127.0.0.1:0", "state_dir": name + "/server"}}
    with open(name + "/run.yaml", "w") as file:
        json.dump(settings, file)
    with subprocess.Popen([BIN + "/carrel", "serve", name + "/run.yaml", "--json"], stdout=subprocess.PIPE, text=True) as server:
        next(line for line in server.stdout if json.loads(line)["event"] == "server.listening")
        token = subprocess.run([BIN + "/carrel", "invite", "lakeside", "--config", name + "/run.yaml"],
                               capture_output=True, text=True, check=True).stdout.strip()
        said = name + "/said"
        with open(said, "w") as file:
            silo = subprocess.Popen([BIN + "/carrel", "join", token, "--state", name + "/silo", "--data", folder + "/rows.jsonl",
                                     "--model", model, "--threads", "1", "--json"], stdout=file)
            _, status, spent = os.wait4(silo.pid, 0)
        silo.returncode = os.waitstatus_to_exitcode(status)
        for _ in server.stdout:
            pass
    if silo.returncode != 0 or server.returncode != 0:
        sys.exit("%s: the silo ended with %d, the server with %d" % (name, silo.returncode, server.returncode))
    with open(said) as file:
        sent = next(event for event in map(json.loads, file) if event["event"] == "split.sent")
    return sent, spent.ru_utime + spent.ru_stime


def simulate(folder, model, *settings):
    """The held-out loss."""
    name = tempfile.mkdtemp(dir=folder)
    settings = ("model_name_or_path=" + model, "output_dir=%s/out" % name, "federation.state_dir=%s/server" % name, *settings)
    events = carrel("simulate", "examples/split/federation.yaml", *(part for setting in settings for part in ("--set", setting)))
    return next(event["loss"] for event in events if event["event"] == "simulate.eval")


def main():
    if not os.path.exists(DATA + "/eval.jsonl"):
        subprocess.run([sys.executable, "-B", "examples/demo/make_data.py", "federation", DATA], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for what, model in ("the demo's model", MODEL), ("with a channel 129 times the others' size", with_outlier(folder)):
            exact = None
            for activations in "float32", "bfloat16", "int8":
                loss = simulate(folder, model, "dtype=float32", "training.max_steps=36", "training.learning_rate=0.0005",
                                   "split.layers=%d" % CUT, "split.activations=" + activations)
                exact = exact or loss
                print("%s, %s: held-out loss %.4f, %+.4f %%" % (what, activations, loss, 100 * (loss / exact - 1)), flush=True)
        model = deep(folder)
        for epochs in 1, 8, 1, 8, 1, 8:
            sent, seconds = silo_alone(folder, model, epochs)
            print("%d epochs: the silo walked %d tokens and sent %d bytes in %.2f processor seconds"
                  % (epochs, sent["walked_rows"], sent["bytes"], seconds), flush=True)


if __name__ == "__main__":
    main()
