#!/usr/bin/env python3
"""Writes tests/golden/templates: small tokenizers, and what Transformers' apply_chat_template makes of messages with
the six chat templates: tokens, and the mask of what the assistant says.
"""

import argparse
import json
import os

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

# The first begins as the tokenizer begins a text, the second as the format says.
BEGIN = "{% if begin %}{{ bos_token }}{% endif %}"
BOS = "{% if bos_token %}{{ bos_token }}{% endif %}"
EOS = "{% if eos_token %}{{ eos_token }}{% endif %}"


def by_role(system, user, assistant, before=BEGIN, without_system=None, empty_system=False):
    text = before
    if without_system is not None:
        text += "{% if messages[0].role != 'system' %}" + system.replace("CONTENT", f'"{without_system}"') + "{% endif %}"
    named = "message.role == 'system'" + ("" if empty_system else " and message.content")
    turns = f"{{% if {named} %}}{system}{{% elif message.role == 'user' %}}{user}{{% elif message.role == 'assistant' %}}{assistant}{{% endif %}}"
    return (text + "{% for message in messages %}" + turns + "{% endfor %}").replace("CONTENT", "message.content")


def generation(text):
    return "{% generation %}" + text + "{% endgeneration %}"


ALPACA_SYSTEM = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
                 "request.")
VICUNA_SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
                 "detailed, and polite answers to the user's questions.")
TEMPLATES = {
    "chatml": BEGIN + (
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
        "{% if message.role == 'assistant' %}" + generation("{{ message.content + '<|im_end|>' }}") +
        "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
        "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
        "{% for message in rest %}"
        "{% if loop.index0 == 0 and system is string %}"
        "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}" + BOS + "{{ '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% else %}" + generation("{{ ' ' + content.strip() + ' ' }}" + EOS) + "{% endif %}{% endfor %}"),
    "llama3": BOS + (
        "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
        "{% if message['role'] == 'assistant' %}" + generation("{{ message['content'] | trim + '<|eot_id|>' }}") +
        "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
    "alpaca": by_role("{{ CONTENT + '\n\n' }}", "{{ '### Instruction:\n' + CONTENT + '\n\n' }}",
                      "{{ '### Response:\n' }}" + generation("{{ CONTENT }}" + EOS) + "{{ '\n\n' }}",
                      without_system=ALPACA_SYSTEM)
    + "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
    "vicuna": by_role("{{ CONTENT + ' ' }}", "{{ 'USER: ' + CONTENT + ' ' }}",
                      "{{ 'ASSISTANT:' }}" + generation("{{ ' ' + CONTENT }}" + EOS), without_system=VICUNA_SYSTEM)
    + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "plain": by_role("{{ CONTENT + '\n' }}", "{{ CONTENT + '\n' }}", generation("{{ CONTENT }}" + EOS)),
}


def chat(*contents, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


CHATS = [
    chat("What is it?", "It is a cat."),
    chat("Why?", "Because.", "And then?", "Nothing.", system="Be short."),
    chat("Say it.", "The cat sat.", system=""),
    chat("  What ", " a cat  ", "then \n", "\n\nthe end\n ", system=" Be. \t"),
    chat("\u4f60\u597d, cafe\u0301 \U0001f431?", "\U0001f431\u3000\u00e9t\u00e9 \u00a0", system="\u8bf7"),
    chat("", "", "a", "\u0301b"),
    chat("[INST] ### Response: USER:", "<|im <<SYS>> ASSISTANT: ok"),
    chat("The user asks", "and the cat answers", "again, with it's own words:\n1. 23\n2. 456"),  # ends with the user
]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
TEXT = ["The cat sat on it. What is it? Because the user asks, and the assistant answers.", ALPACA_SYSTEM,
        VICUNA_SYSTEM, "USER: ASSISTANT: ### Instruction:\n### Response:\n<|im_start|>system\nassistant\nuser\n",
        "[INST] <<SYS>> <</SYS>> [/INST] then, with it's own words: \n\n 123 \u4f60\u597d"] * 3


def byte_level(specials, begin, normalizer):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420 + len(specials), special_tokens=specials, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXT, trainer)
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))])
    return tokenizer


def pieces(metaspace):
    """As SentencePiece has it; the prefix is put there by the normalizer or, before the first piece, by Metaspace."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += sorted((t for t in learned["vocab"] if t not in "\n"), key=learned["vocab"].get)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in learned["merges"] if not any("\n" in half for half in merge)]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


LLAMA = {"tokenizer_class": "LlamaTokenizer"}  # puts a Metaspace in the place of the file's normalizer
TOKENIZERS = {  # tokenizer, BOS, EOS, what else its configuration says
    "llama2": (pieces(False), "<s>", "</s>"),
    "llama2-class": (pieces(False), "<s>", "</s>", LLAMA),
    "llama2-legacy": (pieces(False), "<s>", "</s>", LLAMA | {"legacy": True}),
    "metaspace": (pieces(True), "<s>", "</s>"),
    "llama3": (byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                           "<|eot_id|>"], "<|begin_of_text|>", None), "<|begin_of_text|>", "<|end_of_text|>"),
    "qwen": (byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, normalizers.NFC()), None,
             "<|im_end|>"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates"))
    out = parser.parse_args().out
    cases = []
    for name, (tokenizer, bos, eos, *more) in TOKENIZERS.items():
        config = {"bos_token": bos, "eos_token": eos} | (more[0] if more else {})
        os.makedirs(f"{out}/{name}", exist_ok=True)
        with open(f"{out}/{name}/tokenizer.json", "w", encoding="utf-8") as file:
            json.dump(json.loads(tokenizer.to_str()), file, ensure_ascii=False, separators=(",", ":"))
        with open(f"{out}/{name}/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        if more:
            fast = LlamaTokenizer.from_pretrained(f"{out}/{name}")
        else:
            fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
        for template, text in TEMPLATES.items():
            for i, messages in enumerate(CHATS):
                made = fast.apply_chat_template(messages, chat_template=text, tokenize=True, return_dict=True,
                                                return_assistant_tokens_mask=True, begin=bos is not None)
                case = {"tokenizer": name, "template": template, "chat": i, "ids": made["input_ids"],
                        "said": "".join(map(str, made["assistant_masks"]))}
                if messages[-1]["role"] == "user":
                    case["prompt"] = fast.apply_chat_template(messages, chat_template=text, tokenize=True,
                                                              return_dict=True, add_generation_prompt=True,
                                                              begin=bos is not None)["input_ids"]
                cases.append(case)
    with open(f"{out}/expected.json", "w", encoding="utf-8") as file:
        file.write('{"chats": [\n' + ",\n".join(json.dumps(messages) for messages in CHATS) + '\n],\n"cases": [\n')
        file.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
