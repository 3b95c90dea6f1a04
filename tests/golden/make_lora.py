#!/usr/bin/env python3
"""Writes tests/golden/lora-* and full-*: training of small random models of the supported families by Transformers and PEFT, step by step.

    python tests/golden/make_lora.py [--out DIR] [--all] [--seed N] [--weights-seed N]

Needs torch, transformers, peft and the openssl program; run by hand, its output is committed (five variants;
--all writes more, for $CARREL_GOLDEN_LORA). tests/unit/test_tuning_golden.c reads it:

    model/          config.json, model.safetensors, tokenizer.json (bytes, no merges)
    data.jsonl      the texts
    initial/        the adapter that training starts from, as PEFT saves it (A and B both random, so that the
                    gradients of both are seen from the first step)
    expected.json   settings; loss, gradient norm and learning rate of each step
    gradients.safetensors   of the first step, after clipping
    final/          the adapter after the last step

full-* is full-parameter training of the model and data of lora-*; it has an expected.json alone.

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
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config, get_scheduler

STEPS, BATCH, ACCUMULATION, EXAMPLES, MAX_LENGTH = 20, 2, 2, 9, 48
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
VARIANTS = {
    "lora-gqa-tied": dict(kv=1, tied=True, modules=["q_proj", "v_proj"], rslora=False, layers=None, schedule="linear"),
    "lora-mha-untied": dict(kv=3, tied=False, modules=MODULES, rslora=True, layers=[1], schedule="cosine"),
    "lora-gqa-untied": dict(kv=1, tied=False, modules=MODULES, rslora=False, layers=None, schedule="linear"),
    "lora-mha-tied": dict(kv=3, tied=True, modules=["o_proj", "up_proj"], rslora=False, layers=[0, 1], schedule="constant_with_warmup"),
    "lora-qwen2": dict(config=Qwen2Config, kv=1, tied=True, modules=["q_proj", "k_proj", "v_proj"], rslora=False, layers=None,
                       schedule="linear"),
    "lora-qwen3": dict(config=Qwen3Config, kv=1, tied=True, modules=["q_proj", "k_proj", "v_proj"], rslora=False, layers=None,
                       schedule="cosine"),
    "lora-gpt2": dict(config=GPT2Config, kv=3, tied=True, modules=["c_attn", "c_proj", "c_fc"], rslora=False, layers=None,
                      schedule="linear"),
}
RULE = dict(learning_rate=5e-3, weight_decay=0.02, adam_beta1=0.9, adam_beta2=0.98, adam_epsilon=1e-8, max_grad_norm=0.8,
            warmup_steps=4)
COMMITTED = ["lora-gqa-tied", "lora-mha-untied", "lora-qwen2", "lora-qwen3", "lora-gpt2"]
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


def make_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>"] + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def batches_of_step(seed, step):
    stream, per_epoch = Stream(seed, "order of examples"), math.ceil(EXAMPLES / (BATCH * ACCUMULATION))
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


def train(model, groups, rule, schedule, seed, first_gradient=None):
    """Losses, norms of the gradient, and learning rates of the steps."""
    optimizer = torch.optim.AdamW(groups, lr=rule["learning_rate"], betas=(rule["adam_beta1"], rule["adam_beta2"]),
                                  eps=rule["adam_epsilon"])
    trained = [parameter for group in groups for parameter in group["params"]]
    scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=rule["warmup_steps"], num_training_steps=STEPS)
    examples = [make_tokenizer().encode(text).ids + [1] for text in TEXTS]
    assert max(map(len, examples)) <= MAX_LENGTH and len(examples) == EXAMPLES
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        batches = [[examples[i] for i in batch] for batch in batches_of_step(seed, step)]
        labelled = sum(len(e) - 1 for batch in batches for e in batch)
        total = 0.0
        for batch in batches:
            loss = loss_sum(model, batch) / labelled
            loss.backward()
            total += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, rule["max_grad_norm"]).item())
        if step == 0 and first_gradient:
            first_gradient()
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(total)
    assert any(norm > rule["max_grad_norm"] for norm in norms)  # clipping is seen
    return dict(rule, lr_scheduler_type=schedule, seed=seed, max_steps=STEPS, max_length=MAX_LENGTH,
                per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION, losses=losses,
                grad_norms=norms, learning_rates=rates)


def write_expected(directory, expected):
    (directory / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    losses, norms = expected["losses"], expected["grad_norms"]
    print(f"{directory.name}: {size} bytes, loss {losses[0]:.4f} to {losses[-1]:.4f}, "
          f"norms {min(norms):.2f} to {max(norms):.2f}")


def contiguous(tensors):
    return {name: value.detach().float().contiguous() for name, value in tensors.items()}


def make(name, out, dtype, seed, weights_seed):
    variant, directory = VARIANTS[name], out / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "model").mkdir(parents=True)
    torch.manual_seed(weights_seed)
    kind = variant.get("config", LlamaConfig)
    own = (dict(n_embd=24, n_inner=56, n_layer=2, n_head=3, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
           if kind is GPT2Config else
           dict(hidden_size=24, intermediate_size=56, num_hidden_layers=2, num_attention_heads=3,
                num_key_value_heads=variant["kv"], head_dim=8, max_position_embeddings=64))
    config = kind(vocab_size=258, bos_token_id=0, eos_token_id=1, tie_word_embeddings=variant["tied"],
                  initializer_range=0.2, attn_implementation="eager", **own)
    if config.model_type == "qwen2":
        del config.head_dim  # no key of that family: hidden_size / num_attention_heads, the same 8
    base = AutoModelForCausalLM.from_config(config)
    for n, parameter in base.named_parameters():  # norms that are not all one, biases that are not zero
        if n.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
        elif parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    base.save_pretrained(directory / "model")
    (directory / "model" / "generation_config.json").unlink()
    make_tokenizer().save(str(directory / "model" / "tokenizer.json"))
    (directory / "model" / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}\n')
    (directory / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))

    base.to(dtype)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=variant["modules"],
                      layers_to_transform=variant["layers"], use_rslora=variant["rslora"])
    model = get_peft_model(base, lora)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for n, parameter in trained.items():
        if "lora_B" in n:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(directory / "initial")

    def keep_gradient():
        save_file(contiguous({n.replace(".default", ""): p.grad for n, p in trained.items()}),
                  directory / "gradients.safetensors")

    groups = [dict(params=list(trained.values()), weight_decay=RULE["weight_decay"])]
    expected = train(model, groups, RULE, variant["schedule"], seed, keep_gradient)
    model.save_pretrained(directory / "final")
    for saved in ("initial", "final"):
        (directory / saved / "README.md").unlink(missing_ok=True)
    write_expected(directory, dict(expected, r=4, lora_alpha=6, use_rslora=variant["rslora"],
                                   target_modules=variant["modules"], layers_to_transform=variant["layers"] or []))


def make_full(name, out, dtype, seed):
    """Every parameter trained; norms and biases do not decay, as Transformers' Trainer groups them."""
    model = AutoModelForCausalLM.from_pretrained(out / name / "model", attn_implementation="eager").to(dtype)
    norms = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    groups = [dict(params=others, weight_decay=RULE["weight_decay"]), dict(params=norms, weight_decay=0.0)]
    directory = out / name.replace("lora", "full")
    directory.mkdir(exist_ok=True)
    write_expected(directory, train(model, groups, dict(RULE, learning_rate=2e-3), "linear", seed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--all", action="store_true", help="every variant, not only those that are committed")
    parser.add_argument("--float64", action="store_true", help="compute in float64, to see what rounding does")
    parser.add_argument("--seed", type=int, default=7, help="of the order of examples (7)")
    parser.add_argument("--weights-seed", type=int, default=1, help="of the random weights (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in VARIANTS if arguments.all else COMMITTED:
        dtype = torch.float64 if arguments.float64 else torch.float32
        make(name, arguments.out, dtype, arguments.seed, arguments.weights_seed)
        make_full(name, arguments.out, dtype, arguments.seed)


if __name__ == "__main__":
    main()
