#!/usr/bin/env python3
"""Writes tests/golden/lora-*: LoRA training of small random llama models by Transformers and PEFT, step by step.

    python tests/golden/make_lora.py [--out DIR] [--all]

Needs torch, transformers, peft and the openssl program; run by hand, its output is committed (two variants;
--all writes more, for $CARREL_GOLDEN_LORA). tests/unit/test_tuning_golden.c reads it:

    model/          config.json, model.safetensors, tokenizer.json (bytes, no merges)
    data.jsonl      the texts
    initial/        the adapter that training starts from, as PEFT saves it (A and B both random, so that the
                    gradients of both are seen from the first step)
    expected.json   settings; loss, gradient norm and learning rate of each step
    gradients.safetensors   of the first step, after clipping
    final/          the adapter after the last step

The order of examples is carrel's own (docs of src/tuning/step.c): made here a second time, from HKDF and AES.
"""
import argparse
import hashlib
import hmac
import json
import math
import pathlib
import shutil
import subprocess

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, get_scheduler

STEPS, BATCH, ACCUMULATION, EXAMPLES, SEED, MAX_LENGTH = 20, 2, 2, 9, 7, 48
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
VARIANTS = {
    "lora-gqa-tied": dict(kv=1, tied=True, modules=["q_proj", "v_proj"], rslora=False, layers=None, schedule="linear"),
    "lora-mha-untied": dict(kv=3, tied=False, modules=MODULES, rslora=True, layers=[1], schedule="cosine"),
    "lora-gqa-untied": dict(kv=1, tied=False, modules=MODULES, rslora=False, layers=None, schedule="linear"),
    "lora-mha-tied": dict(kv=3, tied=True, modules=["o_proj", "up_proj"], rslora=False, layers=[0, 1], schedule="constant"),
}
COMMITTED = ["lora-gqa-tied", "lora-mha-untied"]
TEXTS = ["the ward is quiet at night", "a fever falls by morning", "he asked for water twice", "rest, then walk a little",
         "no pain since the second day", "her pulse is slow and even", "two tablets after each meal", "the cut heals well",
         "come back in one week if the cough stays"]


class Stream:
    """crypto/random.h: AES-256-CTR under HKDF-SHA-256(seed, label)."""

    def __init__(self, seed, label):
        secret = hmac.new(bytes(32), seed.to_bytes(8, "little"), hashlib.sha256).digest()
        self.key = hmac.new(secret, label.encode() + b"\x01", hashlib.sha256).digest()

    def seek(self, index):
        counter = index.to_bytes(4, "big") + bytes(12)
        self.bytes = subprocess.run(["openssl", "enc", "-aes-256-ctr", "-K", self.key.hex(), "-iv", counter.hex()],
                                    input=bytes(4096), capture_output=True, check=True).stdout
        self.at = 0

    def below(self, bound):
        unfair = 2**64 % bound
        while True:
            value = int.from_bytes(self.bytes[self.at:self.at + 8], "little")
            self.at += 8
            if value >= unfair:
                return value % bound

    def shuffle(self, items):
        for i in range(len(items), 1, -1):
            j = self.below(i)
            items[i - 1], items[j] = items[j], items[i - 1]


def make_tokenizer(path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>"] + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")
    return tokenizer


def batches_of_step(step):
    stream, per_epoch = Stream(SEED, "order of examples"), math.ceil(EXAMPLES / (BATCH * ACCUMULATION))
    stream.seek(step // per_epoch)
    order = list(range(EXAMPLES))
    stream.shuffle(order)
    first = step % per_epoch * BATCH * ACCUMULATION
    chosen = order[first:first + BATCH * ACCUMULATION]
    return [chosen[i:i + BATCH] for i in range(0, len(chosen), BATCH)]


def loss_sum(model, examples):
    """Sum of the cross-entropy over the labelled tokens of a padded batch."""
    longest = max(map(len, examples))
    ids = torch.tensor([e + [1] * (longest - len(e)) for e in examples])
    mask = torch.tensor([[1] * len(e) + [0] * (longest - len(e)) for e in examples])
    labels = ids.masked_fill(mask == 0, -100)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def contiguous(tensors):
    return {name: value.detach().float().contiguous() for name, value in tensors.items()}


def make(name, out, dtype):
    variant, directory = VARIANTS[name], out / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "model").mkdir(parents=True)
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=258, hidden_size=24, intermediate_size=56, num_hidden_layers=2, num_attention_heads=3,
                         num_key_value_heads=variant["kv"], head_dim=8, max_position_embeddings=64, bos_token_id=0,
                         eos_token_id=1, tie_word_embeddings=variant["tied"], initializer_range=0.2,
                         attn_implementation="eager")
    base = LlamaForCausalLM(config)
    for parameter in base.parameters():  # norms that are not all one
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    base.save_pretrained(directory / "model")
    (directory / "model" / "generation_config.json").unlink()
    tokenizer = make_tokenizer(directory / "model")
    (directory / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    examples = [tokenizer.encode(text).ids + [1] for text in TEXTS]
    assert max(map(len, examples)) <= MAX_LENGTH and len(examples) == EXAMPLES

    base.to(dtype)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=variant["modules"],
                      layers_to_transform=variant["layers"], use_rslora=variant["rslora"])
    model = get_peft_model(base, lora)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for n, parameter in trained.items():
        if "lora_B" in n:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(directory / "initial")
    rule = dict(learning_rate=5e-3, weight_decay=0.02, adam_beta1=0.9, adam_beta2=0.98, adam_epsilon=1e-8,
                max_grad_norm=0.8, warmup_steps=4, lr_scheduler_type=variant["schedule"])
    optimizer = torch.optim.AdamW(trained.values(), lr=rule["learning_rate"], weight_decay=rule["weight_decay"],
                                  betas=(rule["adam_beta1"], rule["adam_beta2"]), eps=rule["adam_epsilon"])
    kind = "constant_with_warmup" if variant["schedule"] == "constant" else variant["schedule"]
    schedule = get_scheduler(kind, optimizer, num_warmup_steps=rule["warmup_steps"], num_training_steps=STEPS)
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        batches = [[examples[i] for i in batch] for batch in batches_of_step(step)]
        labelled = sum(len(e) - 1 for batch in batches for e in batch)
        total = 0.0
        for batch in batches:
            loss = loss_sum(model, batch) / labelled
            loss.backward()
            total += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), rule["max_grad_norm"]).item())
        if step == 0:
            save_file(contiguous({n.replace(".default", ""): p.grad for n, p in trained.items()}),
                      directory / "gradients.safetensors")
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(total)
    model.save_pretrained(directory / "final")
    assert any(norm > rule["max_grad_norm"] for norm in norms)  # clipping is seen
    for saved in ("initial", "final"):
        (directory / saved / "README.md").unlink(missing_ok=True)
    expected = dict(rule, r=4, lora_alpha=6, use_rslora=variant["rslora"], target_modules=variant["modules"],
                    layers_to_transform=variant["layers"] or [], seed=SEED, max_steps=STEPS, max_length=MAX_LENGTH,
                    per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION, losses=losses,
                    grad_norms=norms, learning_rates=rates)
    (directory / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(f"{name}: {size} bytes, loss {losses[0]:.4f} to {losses[-1]:.4f}, norms {min(norms):.2f} to {max(norms):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--all", action="store_true", help="every variant, not only those that are committed")
    parser.add_argument("--float64", action="store_true", help="compute in float64, to see what rounding does")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in VARIANTS if arguments.all else COMMITTED:
        make(name, arguments.out, torch.float64 if arguments.float64 else torch.float32)


if __name__ == "__main__":
    main()
