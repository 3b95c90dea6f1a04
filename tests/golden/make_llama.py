"""Writes small random models of the supported families with what Transformers computes on them, for test_model_golden.

    python make_llama.py --out tests/golden                  # every built-in variant: llama-<name>/, qwen*/, gpt2*/, mistral*/
    python make_llama.py --out /tmp/fresh --seed 7 gqa       # fresh weights, chosen variants
    python make_llama.py --out /tmp/x --heads 6 --kv-heads 2 --head-dim 10 --hidden 24   # a shape of one's own

Needs torch, transformers and safetensors; computes in float32 on one thread. A directory gets config.json and
the weights as Transformers saves them, and expected.safetensors: `tokens` and `labels` (shifted: labels[i] is
what place i should predict, -100 none) of all sequences one after the other, `offset`, `logits`, `loss` (mean
over labelled places) and `gradient.NAME` for every weight.
"""
import argparse
import copy
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 4.0}
# `save` is the type the checkpoint is written in and `shard` the size of its shards; expectations are those of
# the rounded weights. `old_keys` writes config.json as Transformers did before version 5. `more` goes into the
# configuration. `bare` saves the model without its head, as the files of OpenAI's GPT-2 are.
VARIANTS = {
    "gqa": dict(heads=4, kv_heads=2),
    "mha-tied": dict(heads=2, kv_heads=2, tied=True),
    "llama3": dict(heads=4, kv_heads=1, head_dim=16, hidden=16, layers=1, rope=LLAMA3),
    "llama3-old-keys": dict(heads=2, kv_heads=1, head_dim=0, hidden=24, layers=1, tied=True, rope=LLAMA3,
                            old_keys=True),
    "bf16-shards": dict(heads=2, kv_heads=1, save=torch.bfloat16, shard=3_000),
    "f16-shards": dict(heads=2, kv_heads=1, layers=1, save=torch.float16, shard=3_000),
    "qwen2-tied": dict(family="qwen2", heads=4, kv_heads=2, tied=True, old_keys=True),
    "qwen2-untied": dict(family="qwen2", heads=2, kv_heads=2),
    "qwen3": dict(family="qwen3", heads=4, kv_heads=2, head_dim=6),
    "mistral-window": dict(family="mistral", heads=4, kv_heads=2, more=dict(sliding_window=5), lengths=[13, 1, 80]),
    "qwen2-window": dict(family="qwen2", heads=2, kv_heads=1, layers=3, lengths=[13, 1, 70],
                         more=dict(use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "gpt2": dict(family="gpt2", heads=4, tied=True),
    "gpt2-bare-shards": dict(family="gpt2", heads=2, layers=1, intermediate=40, tied=True, bare=True, shard=3_000),
    "gpt2-untied": dict(family="gpt2", heads=2, save=torch.float16),
    "gpt2-odd": dict(family="gpt2", hidden=15, heads=3, layers=1, tied=True),
    "linear": dict(heads=4, kv_heads=2, head_dim=16, hidden=16, layers=1,
                   rope={"rope_type": "linear", "rope_theta": 500.0, "factor": 2.7}),
    "gpt2-scales": dict(family="gpt2", heads=4, layers=3, tied=True, lengths=[13, 1, 40],
                        more=dict(activation_function="gelu", scale_attn_by_inverse_layer_idx=True,
                                  reorder_and_upcast_attn=True)),
    "gpt2-unscaled": dict(family="gpt2", heads=2, layers=1, tied=True, more=dict(scale_attn_weights=False)),
    "yarn": dict(heads=4, kv_heads=2, head_dim=16, hidden=16, layers=1, rope=YARN),
    "qwen2-yarn": dict(family="qwen2", heads=2, kv_heads=1, layers=1, tied=True, old_keys=True,
                       rope=dict(YARN, truncate=False, mscale=0.7, mscale_all_dim=1.0)),
    "dynamic": dict(heads=2, kv_heads=1, layers=1, rope={"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0}),
    "biases": dict(heads=4, kv_heads=2, layers=1, more=dict(attention_bias=True, mlp_bias=True)),
    "qwen3-biases": dict(family="qwen3", heads=2, kv_heads=1, head_dim=6, layers=1, tied=True,
                         more=dict(attention_bias=True)),
}
FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM),
            "qwen3": (Qwen3Config, Qwen3ForCausalLM), "mistral": (MistralConfig, MistralForCausalLM),
            "gpt2": (GPT2Config, GPT2LMHeadModel)}


def make_config(v):
    if v["family"] == "gpt2":
        return GPT2Config(vocab_size=v["vocabulary"], n_embd=v["hidden"], n_inner=v["intermediate"], n_layer=v["layers"],
                          n_head=v["heads"], n_positions=128, tie_word_embeddings=v["tied"], attn_implementation="eager",
                          **v["more"])
    rope = v["rope"] or {"rope_type": "default", "rope_theta": 10000.0}
    own = dict(head_dim=v["head_dim"] or v["hidden"] // v["heads"]) if v["family"] != "qwen2" else {}
    return FAMILIES[v["family"]][0](
        **own, vocab_size=v["vocabulary"], hidden_size=v["hidden"], intermediate_size=v["intermediate"],
        num_hidden_layers=v["layers"], num_attention_heads=v["heads"], num_key_value_heads=v["kv_heads"],
        max_position_embeddings=128, rms_norm_eps=1e-5,
        tie_word_embeddings=v["tied"], rope_parameters=dict(rope), attn_implementation="eager", **v["more"])


def randomise(model, generator):
    """Weights large enough that every part of the model matters, norms around one, biases around zero."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("bias"):
                p.copy_(0.5 * noise)
            else:
                table = "embed" in name or "wte" in name or "wpe" in name
                inputs = p.shape[0 if ".c_" in name else -1]  # gpt2 stores [in, out]
                p.copy_(1 + 0.2 * noise if p.dim() == 1 else noise * (0.5 if table else inputs ** -0.5))


def rewrite_with_old_keys(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope
    if config["hidden_size"] == config["num_attention_heads"] * config.get("head_dim", 0):
        del config["head_dim"]
    if "use_sliding_window" in config:  # as Qwen publishes it: a window beside a switch that is off
        del config["layer_types"]
        config.update(sliding_window=32, max_window_layers=1)
    path.write_text(json.dumps(config, indent=2) + "\n")


def expect(model, v, generator):
    """Three packed sequences; a third of the places without label, so that the gathering is exercised."""
    lengths = v["lengths"]
    tokens, labels, logits, loss_sum = [], [], [], 0.0
    for length in lengths:
        ids = torch.randint(v["vocabulary"], (length,), generator=generator)
        target = torch.cat([ids[1:], torch.tensor([-100])])
        target[torch.rand(length, generator=generator) < 0.33] = -100
        out = model(input_ids=ids[None]).logits[0]
        loss_sum = loss_sum + torch.nn.functional.cross_entropy(out, target, reduction="sum", ignore_index=-100)
        tokens.append(ids), labels.append(target), logits.append(out.detach())
    labels = torch.cat(labels)
    loss = loss_sum / (labels != -100).sum()
    loss.backward()
    offset = torch.tensor([0] + lengths).cumsum(0)
    expected = {"tokens": torch.cat(tokens), "labels": labels, "offset": offset, "logits": torch.cat(logits),
                "loss": loss.detach().reshape(1)}
    for name, p in model.named_parameters():
        expected["gradient." + name] = p.grad
    return {k: t.contiguous() for k, t in expected.items()}


def make(directory, v, seed):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(seed)
    model = FAMILIES[v["family"]][1](make_config(v)).float().eval()
    randomise(model, generator)
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*"):
        old.unlink()
    with torch.no_grad():  # computed with in float32, but with the values that the file will hold
        for p in model.parameters():
            p.copy_(p.to(v["save"]))
    # A copy, since `to` rounds the rotary frequencies too.
    saved = copy.deepcopy(model).to(v["save"])
    (saved.transformer if v["bare"] else saved).save_pretrained(directory, max_shard_size=v["shard"])
    (directory / "generation_config.json").unlink(missing_ok=True)
    if v["old_keys"]:
        rewrite_with_old_keys(directory / "config.json")
    save_file(expect(model, v, generator), directory / "expected.safetensors")
    size = sum(f.stat().st_size for f in directory.glob("*"))
    print(f"{directory}: {size / 1000:.0f} kB, loss {load_file(directory / 'expected.safetensors')['loss'].item():.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", help="of " + ", ".join(VARIANTS))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    shape = dict(layers=2, hidden=16, heads=4, kv_heads=4, head_dim=0, intermediate=24, vocabulary=48)
    for name in shape:
        parser.add_argument("--" + name.replace("_", "-"), type=int)
    parser.add_argument("--tied", action="store_true", default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    defaults = dict(shape, tied=False, family="llama", rope=None, save=torch.float32, shard="1GB", old_keys=False, bare=False, more={}, lengths=[13, 1, 22])
    own = {k: getattr(args, k) for k in [*shape, "tied"] if getattr(args, k) is not None}
    chosen = {"own": own} if own and not args.variants else {n: {**VARIANTS[n], **own} for n in args.variants or VARIANTS}
    for i, (name, variant) in enumerate(chosen.items()):
        directory = name if "family" in variant else f"llama-{name}"
        make(args.out / directory, {**defaults, **variant}, args.seed * 1000 + i)


if __name__ == "__main__":
    main()
