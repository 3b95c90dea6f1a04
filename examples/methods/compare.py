#!/usr/bin/env python3
"""The comparison of methods: what each makes of the same data, with as many trained values as another.

For each set of data: the base, each silo alone, federations of the three (FedAvg of LoRA and of P-tuning v2),
split fine-tuning (LoRA, SPF and both, in the tail of the model), and all data pooled (LoRA, SPF by each
criterion and granularity, full fine-tuning). A federation's silos make as many steps each as a run alone or pooled, which
is three times the work; a line tells what it comes to with the same. Every method has its own learning rate, the best of RATES on the
validation part with the first seed; the table has the loss, in nats a token, on the test part, mean and range of the
seeds. A run that was done is not done again: results.jsonl in the folder of the comparison keeps them.

usage: compare.py [--carrel PROGRAM] [--data DIR] [--out DIR] [--sets NAME,...] [--methods PART ...] [--seeds N] [--jobs N]
  --carrel   the program that runs (build/bin/carrel)
  --data     third-party data, with models/stories260K and datasets (../shared/data)
  --sets     of demo, chatdoctor, medquad, covid-dialogue, pubmedqa, chinese (all)
  --methods  those whose names hold one of the parts (all)
  --seeds    runs of each method at its learning rate (3)
  --jobs     runs at a time, of one thread each (the processors)
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import threading

import data

RATES = [0.001, 0.003, 0.01, 0.03]
PREFIX_RATES = [0.01, 0.03, 0.1, 0.3]
FULL_RATES = [0.0003, 0.001, 0.003, 0.01]
STEPS = 60
ROUNDS = {"all": (6, 10), "third": (5, 4)}  # a federation's rounds and each silo's steps in one: as many as alone or pooled, or a third
SETS = ["demo", *data.THIRD_PARTY]


class Model:
    """A base, with what makes every method train about as many values: those of LoRA with r = 4 on all linears."""

    def __init__(self, path, max_length):
        with open(path + "/config.json") as file:
            config = json.load(file)
        d, ff, self.layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
        kv = config["num_key_value_heads"] * d // config["num_attention_heads"]
        shapes = [(d, d), (d, kv), (d, kv), (d, d), (d, ff), (d, ff), (ff, d)]
        self.path, self.max_length = path, max_length
        self.trained = 4 * self.layers * sum(a + b for a, b in shapes)
        self.density = self.trained / (self.layers * sum(a * b for a, b in shapes))
        self.virtual_tokens = round(self.trained / (2 * kv * self.layers))
        self.front = self.layers // 2
        self.tail = self.layers / (self.layers - self.front)  # the same number of values in fewer layers


def lora(r):
    return {"method": "lora", "lora": {"r": r, "lora_alpha": 2 * r, "target_modules": ["all-linear"]}}


def spf(density, criterion="weight_l1", granularity="row"):
    return {"method": "spf", "spf": {"criterion": criterion, "granularity": granularity, "density": density,
                                     "target_modules": ["all-linear"], **({"calibration_batches": 4} if criterion in ("gradient", "fisher") else {})}}


def both(r, density, criterion, granularity):
    return {**lora(r), **spf(density, criterion, granularity), "method": "lora+spf"}


def methods(model):
    """(name, kind, settings, learning rates). A kind is eval, tune (pooled), split, a federation's (ROUNDS), or the silo
    that tunes alone."""
    yield "base, not tuned", "eval", {}, [0]
    for silo in data.SILOS:
        yield "LoRA, the %s silo alone" % silo, silo, lora(4), RATES
    yield "LoRA, FedAvg", "all", lora(4), RATES
    yield "LoRA, FedAvg, a third of the steps each", "third", lora(4), RATES
    yield "P-tuning v2, FedAvg", "all", {
        "method": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": model.virtual_tokens}}, PREFIX_RATES
    split = {"split": {"activations": "bfloat16", "layers": model.front}}
    density = model.tail * model.density
    yield "LoRA, split", "split", {**split, **lora(round(4 * model.tail))}, RATES
    yield "SPF, split", "split", {**split, **spf(density)}, RATES
    yield "LoRA+SPF, split", "split", {**split, **both(round(2 * model.tail), density / 2, "weight_l1", "row")}, RATES
    yield "LoRA, pooled", "tune", lora(4), RATES
    for granularity in "head", "row", "element":
        for criterion in "weight_l1", "gradient", "fisher", "random":
            by = "by %s, %ss" % (criterion, granularity)
            yield "SPF %s, pooled" % by, "tune", spf(model.density, criterion, granularity), RATES
            yield "LoRA+SPF %s, pooled" % by, "tune", both(2, model.density / 2, criterion, granularity), RATES
    yield "full fine-tuning, pooled", "tune", {"method": "full"}, FULL_RATES


def settings(model, rows, out, kind, own, rate, seed):
    config = {"model_name_or_path": model.path, "output_dir": out + "/result", "seed": seed, "threads": 1,
              "data": {"max_length": model.max_length}, **own,
              "training": {"learning_rate": rate, "per_device_train_batch_size": 8, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 5}}
    if kind == "split" or kind in ROUNDS:
        config["silos"] = [{"name": silo, "data": "%s/%s.jsonl" % (rows, silo)} for silo in data.SILOS]
        config["federation"] = {"address": "127.0.0.1:0", "state_dir": out + "/server"}
    if kind in ROUNDS:
        config["federation"].update(rounds=ROUNDS[kind][0], local_steps=ROUNDS[kind][1])
    else:
        config["training"].update(max_steps=STEPS)
    if "silos" not in config:
        config["training"].update(save_steps=0)
        config["data"]["train"] = "%s/%s.jsonl" % (rows, "pooled" if kind == "tune" else kind)
    return config


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError("%s\n%s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def evaluate(carrel, model, rows, part, adapter, full):
    base = adapter if full else model.path
    command = [carrel, "eval", "--model", base, "--data", "%s/%s.jsonl" % (rows, part), "--max-length", str(model.max_length),
               "--threads", "1", "--json"]
    return json.loads(call(*command, *(["--adapter", adapter] if adapter and not full else [])))


def run(carrel, model, rows, out, kind, own, rate, seed):
    """What a run ends with on both held-out parts."""
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    adapter = None
    if kind != "eval":
        adapter = out + "/result"
        with open(out + "/run.yaml", "w") as file:
            config = settings(model, rows, out, kind, own, rate, seed)
            json.dump(config, file)
        call(carrel, "simulate" if "silos" in config else "tune", out + "/run.yaml")
    found = {part: evaluate(carrel, model, rows, part, adapter, own.get("method") == "full") for part in ("validation", "test")}
    shutil.rmtree(out)
    return {part: {"loss": told["loss"], "exact_match": told["exact_match"]} for part, told in found.items()}


class Results:
    """Of runs that are done, on disk as soon as they are."""

    def __init__(self, path):
        self.path, self.lock, self.done = path, threading.Lock(), {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    row = json.loads(line)
                    self.done[row["run"]] = row["found"]

    def get(self, name, make):
        if name not in self.done:
            found = make()
            with self.lock, open(self.path, "a") as file:
                self.done[name] = found
                file.write(json.dumps({"run": name, "found": found}) + "\n")
            print("%-70s %.4f" % (name, found["test"]["loss"]), flush=True)
        return self.done[name]


def compare(carrel, model, rows, out, results, method, seeds, label):
    """The best rate by the first seed, then all seeds at it."""
    name, kind, own, rates = method

    def one(rate, seed):
        title = "%s | %s | %g | %d" % (label, name, rate, seed)
        place = "%s/runs/%s" % (out, title.replace(" ", "_").replace("|", "-"))
        return results.get(title, lambda: run(carrel, model, rows, place, kind, own, rate, seed))
    rate = min(rates, key=lambda r: one(r, 1)["validation"]["loss"])
    return rate, [one(rate, seed)["test"] for seed in range(1, 1 + (seeds if kind != "eval" else 1))]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--carrel", default="build/bin/carrel")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="build/methods")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--methods", nargs="+", default=[""])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    results = Results(options.out + "/results.jsonl")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        table = []
        for label in options.sets.split(","):
            rows = "%s/data/%s" % (options.out, label)
            if not os.path.exists(rows):
                data.make(label, options.data, rows)
            model = Model("examples/demo/model", 128) if label == "demo" else Model(options.data + "/models/stories260K", 256)
            for method in methods(model):
                if any(part in method[0] for part in options.methods):
                    table.append((label, method[0], pool.submit(compare, options.carrel, model, rows, options.out, results, method, options.seeds, label)))
        print_table([(label, name, *future.result()) for label, name, future in table])


def print_table(rows):
    print("\n| data | method | rate | test loss | range | exact answers |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for label, name, rate, found in rows:
        losses = [one["loss"] for one in found]
        exact = sum(one["exact_match"] for one in found) / len(found)
        print("| %s | %s | %s | %.4f | %.4f to %.4f | %.1f %% |" % (
            label, name, "%g" % rate if rate else "", sum(losses) / len(losses), min(losses), max(losses), 100 * exact))


if __name__ == "__main__":
    sys.exit(main())
