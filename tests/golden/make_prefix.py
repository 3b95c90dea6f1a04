#!/usr/bin/env python3
"""Writes tests/golden/prefix-*: prefix tuning of the models of tests/golden/lora-* by Transformers and PEFT, step by step.


Needs what make_lora.py needs. tests/unit/test_tuning_golden.c reads:

    expected.json   the model's folder, settings; loss, gradient norm and learning rate of each step; "eval_loss": what
                    `adapter` has over the texts as PEFT reads it
    initial.safetensors, gradients.safetensors, final.safetensors
                    what is trained before the first step, its gradient after clipping, and after the last step
    adapter/        the result as PEFT saves it
"""
import argparse
import json
import pathlib
import shutil

import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import make_lora

HERE = pathlib.Path(__file__).parent
VARIANTS = {
    "prefix-gqa": dict(model="lora-gqa-tied", projection=False, hidden=None, schedule="linear"),
    "prefix-gqa-projected": dict(model="lora-gqa-tied", projection=True, hidden=None, schedule="cosine"),
    "prefix-mha": dict(model="lora-mha-untied", projection=False, hidden=None, schedule="constant_with_warmup"),
    "prefix-qwen2-projected": dict(model="lora-qwen2", projection=True, hidden=11, schedule="linear"),
    "prefix-gpt2-projected": dict(model="lora-gpt2", projection=True, hidden=None, schedule="linear"),
    "prefix-qwen3": dict(model="lora-qwen3", projection=False, hidden=None, schedule="linear"),
}
TOKENS = 5
RULE = dict(make_lora.RULE, learning_rate=2e-2, max_grad_norm=0.1)


def open_base(directory, dtype):
    return AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").to(dtype)


def eval_loss(model):
    """Mean over the labelled tokens of all texts, whose end is not scored."""
    total = labelled = 0
    for text in make_lora.TEXTS:
        ids = make_lora.make_tokenizer().encode(text).ids
        with torch.no_grad():
            total += make_lora.loss_sum(model, [ids]).item()
        labelled += len(ids) - 1
    return total / labelled


def make(name, out, dtype, seed, weights_seed):
    variant, directory = VARIANTS[name], out / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    torch.manual_seed(weights_seed)
    model_directory = HERE / variant["model"] / "model"
    model = get_peft_model(open_base(model_directory, dtype), PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, prefix_projection=variant["projection"],
        encoder_hidden_size=variant["hidden"])).to(dtype)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def name_of(parameter):  # without a projection the embedding is what is saved, under this name
        return parameter.replace(".default", "") if variant["projection"] else "prompt_embeddings"

    def write(file, tensors):
        save_file(make_lora.contiguous({name_of(n): t.clone() for n, t in tensors.items()}), directory / file)

    write("initial.safetensors", trained)
    groups = [dict(params=[p for n, p in trained.items() if not n.endswith("bias")], weight_decay=RULE["weight_decay"]),
              dict(params=[p for n, p in trained.items() if n.endswith("bias")], weight_decay=0.0)]
    expected = make_lora.train(model, groups, RULE, variant["schedule"], seed,
                               lambda: write("gradients.safetensors", {n: p.grad for n, p in trained.items()}))
    write("final.safetensors", trained)
    model.base_model.config.name_or_path = variant["model"]
    model.save_pretrained(directory / "adapter")
    (directory / "adapter" / "README.md").unlink(missing_ok=True)
    config = directory / "adapter" / "adapter_config.json"
    saved = json.loads(config.read_text())
    config.write_text(json.dumps(dict(saved, base_model_name_or_path=variant["model"]), indent=2) + "\n")
    model = PeftModel.from_pretrained(open_base(model_directory, dtype), directory / "adapter").eval()
    make_lora.write_expected(directory, dict(
        expected, model=variant["model"], num_virtual_tokens=TOKENS, prefix_projection=variant["projection"],
        encoder_hidden_size=variant["hidden"] or 0, eval_loss=eval_loss(model)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--float64", action="store_true", help="compute in float64, to see what rounding does")
    parser.add_argument("--seed", type=int, default=7, help="of the order of examples (7)")
    parser.add_argument("--weights-seed", type=int, default=1, help="of the random prefix (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in VARIANTS:
        dtype = torch.float64 if arguments.float64 else torch.float32
        make(name, arguments.out, dtype, arguments.seed, arguments.weights_seed)


if __name__ == "__main__":
    main()
