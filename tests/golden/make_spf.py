#!/usr/bin/env python3
"""Writes tests/golden/spf-*: sparse fine-tuning of the models of lora-* by PyTorch, step by step.

    python tests/golden/make_spf.py [--out DIR] [--seed N] [--weights-seed N]

Needs what make_lora.py needs, and its lora-* in the same directory; run by hand, its output is committed. It is
dense training of W + change, where the change is zero but at the places that are trained. Places are chosen here
a second time, by sorting the means of |W|. tests/unit/test_tuning_golden.c reads:

    expected.json           settings; loss, gradient norm and learning rate of each step; the loss at the end
    initial.safetensors     the values that training starts from (random, so that the forward pass sees them)
    gradients.safetensors   of the first step, after clipping
    final/                  the change after the last step, as carrel stores it
"""
import argparse
import json
import pathlib
import shutil

import torch
from make_lora import RULE, TEXTS, contiguous, loss_sum, make_tokenizer, train, write_expected
from safetensors.torch import save_file
from torch.nn.utils import parametrize
from transformers import AutoModelForCausalLM

VARIANTS = {
    "spf-element": dict(base="lora-gqa-tied", granularity="element", density=0.05),
    "spf-row": dict(base="lora-gpt2", granularity="row", density=0.1),
    "spf-head": dict(base="lora-qwen3", granularity="head", density=0.2),
}
OWN_RULE = dict(RULE, learning_rate=1e-2, max_grad_norm=0.2)
WITH_HEADS, HEAD = ("q_proj", "k_proj", "v_proj", "c_attn"), 8


class Change(torch.nn.Module):
    """A weight with what is trained of it: values at the places of a mask [out, in], row by row."""

    def __init__(self, mask, turned):
        super().__init__()
        self.values = torch.nn.Parameter(0.05 * torch.randn(int(mask.sum())))
        self.mask, self.turned = mask, turned

    def forward(self, weight):
        change = torch.zeros(self.mask.shape, dtype=weight.dtype).masked_scatter(self.mask, self.values)
        return weight + (change.T if self.turned else change)


def linears(model):
    """Name, module, and whether its weight lies as [in, out], in the order of layers and of enum cr_module."""
    order = ("c_attn", "q_proj", "k_proj", "v_proj", "attn.c_proj", "o_proj", "gate_proj", "c_fc", "up_proj", "mlp.c_proj",
             "down_proj")
    found = [(name, module) for name, module in model.named_modules() if name.endswith(order)]
    place = lambda name: (int(name.split(".")[2]), next(i for i, end in enumerate(order) if name.endswith(end)))
    return [(name, module, type(module).__name__ == "Conv1D") for name, module in sorted(found, key=lambda f: place(f[0]))]


def choose(weights, granularity, density):
    """Masks of the groups of the largest mean size, the first of equal ones first, until the next has no room."""
    groups = []  # (score, number of the weight, rows or element)
    for i, (name, weight) in enumerate(weights):
        sizes = weight.abs().double()
        if granularity == "element":
            groups += [(score, i, divmod(k, weight.shape[1])) for k, score in enumerate(weight.abs().flatten().tolist())]
            continue
        rows = HEAD if granularity == "head" and name.endswith(WITH_HEADS) else 1
        means = sizes.reshape(-1, rows * weight.shape[1]).mean(1).float().tolist()
        groups += [(score, i, slice(g * rows, (g + 1) * rows)) for g, score in enumerate(means)]
    masks = [torch.zeros(weight.shape, dtype=torch.bool) for _, weight in weights]
    room = int(density * sum(weight.numel() for _, weight in weights) + 0.5)
    for _, i, place in sorted(groups, key=lambda group: -group[0]):
        room -= masks[i][place].numel()
        if room < 0:
            break
        masks[i][place] = True
    return masks


def stored(name, change, granularity):
    """The tensors of one module's change."""
    mask, values = change.mask, change.values.detach().float().clone()
    if granularity == "element":
        starts = torch.cat([torch.zeros(1), mask.sum(1).cumsum(0)]).int()
        return {f"{name}.weight.crow_indices": starts, f"{name}.weight.col_indices": mask.nonzero()[:, 1].int().contiguous(),
                f"{name}.weight.values": values}
    rows = mask[:, 0].nonzero()[:, 0].int().contiguous()
    return {f"{name}.weight.rows": rows, f"{name}.weight.values": values.reshape(len(rows), -1)}


def make(name, out, dtype, seed, weights_seed):
    variant, directory = VARIANTS[name], out / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "final").mkdir(parents=True)
    torch.manual_seed(weights_seed)
    model = AutoModelForCausalLM.from_pretrained(out / variant["base"] / "model", attn_implementation="eager").to(dtype)
    model.requires_grad_(False)
    found = linears(model)
    masks = choose([(n, (m.weight.T if turned else m.weight).detach().float()) for n, m, turned in found],
                   variant["granularity"], variant["density"])
    changes = {}
    for (n, module, turned), mask in zip(found, masks):
        if mask.any():
            changes[n] = Change(mask, turned).to(dtype)
            parametrize.register_parametrization(module, "weight", changes[n])

    def tensors(part):
        kept = {}
        for n, change in changes.items():
            value = part(change)
            kept[f"{n}.weight.values"] = value if variant["granularity"] == "element" else value.reshape(-1, change.mask.shape[1])
        return contiguous(kept)

    save_file({n: value.clone() for n, value in tensors(lambda change: change.values).items()}, directory / "initial.safetensors")
    groups = [dict(params=[change.values for change in changes.values()], weight_decay=OWN_RULE["weight_decay"])]
    expected = train(model, groups, OWN_RULE, "linear", seed,
                     lambda: save_file(tensors(lambda change: change.values.grad), directory / "gradients.safetensors"))
    final = {}
    for n, change in changes.items():
        final |= stored(n, change, variant["granularity"])
    save_file(final, directory / "final" / "spf_model.safetensors")
    settings = dict(criterion="weight_l1", granularity=variant["granularity"], density=variant["density"],
                    target_modules=["all-linear"])
    (directory / "final" / "spf_config.json").write_text(json.dumps(
        dict(format="carrel-spf", version=1, base_model_name_or_path=variant["base"], **settings), indent=2) + "\n")
    texts = [make_tokenizer().encode(text).ids for text in TEXTS]  # the end of a text is not scored
    with torch.no_grad():
        loss = sum(loss_sum(model, [text]).item() for text in texts) / sum(len(text) - 1 for text in texts)
    write_expected(directory, dict(expected, model=variant["base"], eval_loss=loss, **settings))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--float64", action="store_true", help="compute in float64, to see what rounding does")
    parser.add_argument("--seed", type=int, default=7, help="of the order of examples (7)")
    parser.add_argument("--weights-seed", type=int, default=1, help="of the initial values (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in VARIANTS:
        make(name, arguments.out, torch.float64 if arguments.float64 else torch.float32, arguments.seed,
             arguments.weights_seed)


if __name__ == "__main__":
    main()
