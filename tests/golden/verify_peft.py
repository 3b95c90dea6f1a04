#!/usr/bin/env python3
"""Checks by hand that PEFT and carrel read each other's adapters and then write the same text.

    python tests/golden/verify_peft.py build/bin/carrel [--written-by-carrel MODEL ADAPTER]...

Needs torch, transformers and peft. For the models of tests/golden/lora-* and for stories260K (../shared/data or
$CARREL_DATA), in float32:
  - adapters that PEFT wrote (random ones of several kinds): greedy text of PEFT and of `carrel generate`
  - adapters that `carrel tune` writes, or those named on the command line: the same the other way
PEFT's text is made token by token, to see how close a choice was, and must be what its own generate() says.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
STORIES = pathlib.Path(os.environ.get("CARREL_DATA", HERE.parent.parent.parent / "shared" / "data")) / "models/stories260K"
KINDS = [
    dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    dict(r=3, lora_alpha=5, target_modules="all-linear", use_rslora=True),
    dict(r=2, lora_alpha=2.5, target_modules=["o_proj", "down_proj"], layers_to_transform=[1], lora_dropout=0.1),
]
GPT2_KINDS = [
    dict(r=4, lora_alpha=8),
    dict(r=3, lora_alpha=5, target_modules="all-linear", use_rslora=True),
    dict(r=2, lora_alpha=2.5, target_modules=["mlp.c_proj", "c_fc"], layers_to_transform=[1], lora_dropout=0.1),
]
PREFIX_KINDS = [
    dict(num_virtual_tokens=6),
    dict(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=10),
]
# Trained a few steps: the seven modules, one layer, rslora; and a prefix behind a projection.
CARREL_KINDS = {
    "LoRA": """lora: {r: 4, lora_alpha: 8, target_modules: [all-linear], layers_to_transform: [1], use_rslora: true}
training: {learning_rate: 0.02, max_steps: 10}
""",
    "prefix": """method: prefix_tuning
prefix_tuning: {num_virtual_tokens: 5, prefix_projection: true, encoder_hidden_size: 12}
training: {learning_rate: 0.02, max_steps: 10}
""",
}
PROMPT, TOKENS = "The ", 40


def greedy(model, tokenizer):
    """What PEFT's model says after the prompt, and the least lead of a chosen token over the next best."""
    end = json.loads((pathlib.Path(model.base_directory) / "config.json").read_text()).get("eos_token_id")
    ids, lead = tokenizer.encode(PROMPT).ids, float("inf")
    prompt = len(tokenizer.decode(ids))
    with torch.no_grad():
        generated = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                                   max_new_tokens=TOKENS, do_sample=False, eos_token_id=end, pad_token_id=end)[0].tolist()
    for _ in range(TOKENS):
        with torch.no_grad():
            best = model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        if best.indices[0].item() == end:
            break
        ids.append(best.indices[0].item())
    assert ids == generated[:len(ids)] and set(generated[len(ids):]) <= {end}, (ids, generated)
    return tokenizer.decode(ids)[prompt:], lead


def compare(carrel, model_path, adapter, what):
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    model.eval()
    model.base_directory = model_path
    tokenizer = Tokenizer.from_file(str(pathlib.Path(model_path) / "tokenizer.json"))
    wanted, lead = greedy(model, tokenizer)
    command = [carrel, "generate", "--model", model_path, "--adapter", adapter, "--dtype", "float32", "--prompt", PROMPT,
               "--max-new-tokens", str(TOKENS), "--temperature", "0"]
    run = subprocess.run([str(part) for part in command], capture_output=True)
    if run.returncode != 0:
        print(f"FAILED {what}: {run.stderr.decode().strip()}")
        return False
    got = run.stdout.decode()
    print(f"{'ok    ' if got == wanted else 'DIFFER'} {what} (least lead {lead:.1e}): {wanted[:50]!r}")
    if got != wanted:
        print(f"       carrel: {got!r}\n       PEFT:   {wanted!r}")
    return got == wanted


def write_with_peft(model_path, kind, directory, seed):
    torch.manual_seed(seed)
    config = PrefixTuningConfig if "num_virtual_tokens" in kind else LoraConfig
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32),
                           config(task_type="CAUSAL_LM", **kind))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(directory)


def write_with_carrel(carrel, model_path, settings, directory, folder):
    data, config = folder / "data.jsonl", folder / "run.yaml"
    data.write_text("".join(json.dumps({"text": f"The cat {word} on the mat."}) + "\n" for word in ("sat", "ran", "slept")))
    config.write_text(f"""model_name_or_path: {model_path}
output_dir: {directory}
dtype: float32
data: {{train: {data}, max_length: 48}}
{settings}""")
    run = subprocess.run([carrel, "tune", config], capture_output=True)
    if run.returncode != 0:
        print(f"FAILED carrel tune: {run.stderr.decode().strip()}")
    return run.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carrel", type=pathlib.Path)
    parser.add_argument("--written-by-carrel", nargs=2, action="append", metavar=("MODEL", "ADAPTER"), default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    carrel = arguments.carrel.resolve()
    models = sorted(HERE.glob("lora-*/model")) + ([STORIES] if STORIES.exists() else [])
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model in models:
            label = model.parent.name if model.name == "model" else model.name
            for i, kind in enumerate((GPT2_KINDS if label.endswith("gpt2") else KINDS) + PREFIX_KINDS):
                adapter = folder / f"{label}-{i}"
                write_with_peft(model, kind, adapter, i)
                good &= compare(carrel, model, adapter, f"{label}: PEFT's adapter {i}")
            if arguments.written_by_carrel:
                continue
            for kind, settings in CARREL_KINDS.items():
                adapter = folder / f"{label}-carrel-{kind}"
                good &= write_with_carrel(carrel, model, settings, adapter, folder)
                good &= compare(carrel, model, adapter, f"{label}: carrel's {kind}")
        for model, adapter in arguments.written_by_carrel:
            good &= compare(carrel, model, adapter, f"{adapter}: carrel's")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
