#!/usr/bin/env python3
"""The same LoRA step in PyTorch, Transformers and PEFT: what a user would run instead of `carrel bench --only tune-step`.

    pip install torch transformers peft
    python3 bench/peer_peft.py [--length 2048] [--dtype bfloat16|float32] [--threads 2] [--steps 5] [--compile]

Run it beside carrel in one session on one machine, and compare ratios.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--length", type=int, default=256, choices=[256, 2048], help="tokens of a sequence: 4 x 256 or 1 x 2048")
parser.add_argument("--compile", action="store_true", help="torch.compile the model")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
config = LlamaConfig(hidden_size=1024, num_hidden_layers=12, intermediate_size=2816, num_attention_heads=16,
                     num_key_value_heads=16, vocab_size=32000, max_position_embeddings=arguments.length)
model = LlamaForCausalLM(config).to(getattr(torch, arguments.dtype))
model.set_attn_implementation("sdpa")
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
if arguments.compile:
    model = torch.compile(model)
batch, length, seconds = max(1, 1024 // arguments.length), arguments.length, []
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
print(json.dumps({"name": "tune-step" if length == 256 else f"tune-step-{length}", "compiled": arguments.compile, "dtype": arguments.dtype, "torch": torch.__version__,
                  "figure": batch * length / statistics.median(seconds), "unit": "tokens/s", "peak_memory_bytes": peak}))
