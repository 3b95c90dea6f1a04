#!/usr/bin/env python3
"""The same LoRA steps in PyTorch, Transformers and PEFT: what a user would run instead of what `carrel bench` measures.

    pip install torch transformers peft
    python3 bench/peer_peft.py [--only tune-step|tune-step-2048|tune-step-gpt2] [--dtype bfloat16|float32] [--threads 2] [--steps 5] [--compile]

Run it beside carrel in one session on one machine, and compare ratios.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--only", default="tune-step", choices=["tune-step", "tune-step-2048", "tune-step-gpt2"])
parser.add_argument("--compile", action="store_true", help="torch.compile the model")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
batch, length = (1, 2048) if arguments.only == "tune-step-2048" else (4, 256)
if arguments.only == "tune-step-gpt2":
    config = GPT2Config(n_positions=length, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model, modules = GPT2LMHeadModel(config), ["c_attn"]
else:
    config = LlamaConfig(hidden_size=1024, num_hidden_layers=12, intermediate_size=2816, num_attention_heads=16,
                         num_key_value_heads=16, vocab_size=32000, max_position_embeddings=length)
    model, modules = LlamaForCausalLM(config), ["q_proj", "v_proj"]
model = model.to(getattr(torch, arguments.dtype))
model.set_attn_implementation("sdpa")
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=modules, task_type="CAUSAL_LM",
                                         fan_in_fan_out=arguments.only == "tune-step-gpt2"))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
if arguments.compile:
    model = torch.compile(model)
seconds = []
for step in range(arguments.steps + 1):
    tokens = torch.randint(0, config.vocab_size, (batch, length))
    begin = time.monotonic()
    model(input_ids=tokens, labels=tokens).loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    if step > 0:
        seconds.append(time.monotonic() - begin)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"name": arguments.only, "compiled": arguments.compile, "dtype": arguments.dtype, "torch": torch.__version__,
                  "figure": batch * length / statistics.median(seconds), "unit": "tokens/s", "peak_memory_bytes": peak}))
