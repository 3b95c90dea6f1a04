"""The demo: three hospitals tune one model together, and the result beside what each could do alone.

Runs the programs of build/bin as a person would, and prints each command before it runs it. It ends with an accelerator
that cheats, and with one that steals.
"""
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

import make_data

OUT = "build/demo"
CARREL = "build/bin/carrel"
ACCELERATOR = "build/bin/carrel-accelerator"
HOSTILE = "tests/e2e/hostile_accelerator.py"
THEFT = "build/release/tests/test_slicing_theft"
MODEL = "examples/demo/model"
SILOS = ["st-anne", "northfield", "lakeside"]
EPOCHS = 6  # of the runs alone and pooled: as many passes over the data as the federation makes rounds

TUNE = """# Written by examples/demo/run.py: the federation's settings, on one file of data.
model_name_or_path: examples/demo/model
output_dir: {out}/{name}
seed: 7
data: {{train: {out}/data/{name}.jsonl, max_length: 128}}
lora: {{r: 8, lora_alpha: 16, target_modules: all-linear}}
training:
  learning_rate: 0.005
  weight_decay: 0.01
  lr_scheduler_type: constant
  num_train_epochs: {epochs}
  per_device_train_batch_size: 32
  logging_steps: 50
"""


CHEATED = """# Written by examples/demo/run.py: one hospital's own run, beside the accelerator that cheats.
model_name_or_path: examples/demo/model
output_dir: {out}/cheated
threads: 1
data: {{train: {out}/data/lakeside.jsonl, max_length: 128}}
training: {{max_steps: 20, per_device_train_batch_size: 32}}
slicing: {{pads: enclave, accelerators: ["unix:{out}/hostile.sock"]}}
"""


def run(*command):
    print("\n$ " + shlex.join(command), flush=True)
    if subprocess.call(command) != 0:
        sys.exit("demo: that command failed")


def start(*command):
    """A process beside this one, once it says that it listens."""
    print("\n$ %s &" % shlex.join(command), flush=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    print(line, end="", flush=True)
    if "listening" not in line:
        sys.exit("demo: that command failed")
    return process


def be_cheated(product):
    """A run whose accelerator changes one bit of one answer: it must end there, and say so."""
    with open(OUT + "/cheated.yaml", "w") as out:
        out.write(CHEATED.format(out=OUT))
    honest, hostile = "unix:%s/honest.sock" % OUT, "unix:%s/hostile.sock" % OUT
    accelerator = start(ACCELERATOR, "--model", MODEL, "--listen", honest, "--threads", "1")
    try:
        between = start(sys.executable, "-B", HOSTILE, "--model", MODEL, "--listen", hostile, "--accelerator", honest,
                        "--flip-bit-of", str(product))
        try:
            command = (CARREL, "tune", OUT + "/cheated.yaml")
            print("\n$ " + shlex.join(command), flush=True)
            ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        finally:
            between.kill()
    finally:
        accelerator.kill()
    print(ended.stderr, end="")
    print("\nThe accelerator: " + between.stdout.read().strip())
    if ended.returncode == 0 or "a wrong product" not in ended.stderr or os.path.exists(OUT + "/cheated/adapter_model.safetensors"):
        sys.exit("demo: an accelerator that cheats was not found out")


def evaluate(adapter=None):
    command = [CARREL, "eval", "--model", MODEL, "--data", OUT + "/data/eval.jsonl", "--max-length", "128", "--json"]
    if adapter:
        command += ["--adapter", adapter]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def tune(name):
    path = "%s/%s.yaml" % (OUT, name)
    with open(path, "w") as out:
        out.write(TUNE.format(out=OUT, name=name, epochs=EPOCHS))
    run(CARREL, "tune", path)
    return evaluate("%s/%s" % (OUT, name))


def rows_of(name):
    with open("%s/data/%s.jsonl" % (OUT, name)) as rows:
        return sum(1 for _ in rows)


def main():
    begin = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    print("Three hospitals, each with questions and answers of its own specialities that the base model has never seen.")
    run(sys.executable, "-B", "examples/demo/make_data.py", "federation", OUT + "/data")
    table = [("base model, not tuned", "", evaluate())]

    print("\nThe federation: a server and three silos over TLS on this machine. Beside each silo an accelerator that it does not\n"
          "trust computes the products with the frozen matrices, on numbers that tell it nothing: seven processes. Before anything\n"
          "else is said, server and silos show each other evidence of what they run. Here that evidence comes from a key in software\n"
          "and proves nothing, as the warnings say; the demo's policy accepts it, so that the demo runs on any machine.")
    run(CARREL, "simulate", "examples/demo/federation.yaml")
    federation = evaluate(OUT + "/federation")

    print("\nFor comparison: each hospital alone, and all data in one place, which is what may not happen.")
    for silo in SILOS:
        table.append(("%s alone" % silo, format(rows_of(silo), ","), tune(silo)))
    table.append(("federation of the three", format(sum(map(rows_of, SILOS)), ","), federation))
    table.append(("all data pooled", format(rows_of("pooled"), ","), tune("pooled")))

    print("\nHeld-out questions of all six specialities, in wordings that no training used (%d questions):\n"
          % table[0][2]["examples"])
    print("| tuned by                | rows of data | held-out loss | exact answers |")
    print("| ----------------------- | -----------: | ------------: | ------------: |")
    for name, rows, result in table:
        print("| %-23s | %12s | %13.3f | %11.1f %% |" % (name, rows, result["loss"], 100 * result["exact_match"]))
    if federation["exact_match"] <= max(result["exact_match"] for _, _, result in table[:-2]):
        sys.exit("demo: the federation is no better than its best member alone: something is wrong")
    print("\nThe adapter is in %s/federation: a PEFT directory. Ask it something:" % OUT)
    with open(OUT + "/data/eval.jsonl") as rows:
        row = json.loads(rows.readline())
    run(CARREL, "generate", "--model", MODEL, "--adapter", OUT + "/federation", "--prompt",
        make_data.ALPACA.format(q=row["instruction"]), "--max-new-tokens", "20")
    print("\n(the right answer: %s)" % row["output"])
    print("\nWho was admitted, and on what grounds: the server's audit log, and a hospital's.")
    run(CARREL, "inspect", OUT + "/server/audit.jsonl")
    run(CARREL, "inspect", OUT + "/server/silos/st-anne/audit.jsonl")
    print("\nAn attack: an accelerator that changes a single bit of one of its answers, in the middle of a run.")
    be_cheated(100)
    print("\nAnother attack: others have tuned a secret adapter of a small model on an accelerator. Its owner then tunes an adapter of\n"
          "his own until his copy of the model asks what he saw theirs ask. How much of the secret adapter's gain does he get?")
    run(THEFT)
    print("\nDone in %.0f seconds. What travelled: docs/PROTOCOL.md. What is protected: SECURITY.md." % (time.monotonic() - begin))


if __name__ == "__main__":
    main()
