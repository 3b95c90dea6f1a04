#!/usr/bin/env python3
"""Writes tests/golden/tokenizer-parts: small tokenizer.json files, each with a part that few published tokenizers have,
and what Hugging Face's tokenizers encodes and decodes with it. Every piece of text is a token, so ids show where it was cut.
"""

import argparse
import json
import os

from make_tokenizers import byte_characters
from tokenizers import Tokenizer

TEXT = ["ab abb 12 3\u00bd\u2167 ab", "e\u0301\u200d\u00b2_\u00bc-x\u24b6\ta\u180e\u3000b", "AB aB\nab\r\n\fab\n", "a\u2581b\u2581\u2581 ab"]
LATER = "a\u1dfa\u0301\u0323\U0001fbf3\u0340e\u0301\ufb01"  # U+1DFA and U+1FBF3 are later than Unicode 9
SPACES = [c + "a" + c for c in map(chr, (9, 13, 14, 28, 31, 0x85, 0xa0, 0x1680, 0x180e, 0x1fff, 0x2000, 0x200a, 0x200b, 0x2028, 0x2029,
                                         0x202f, 0x205f, 0x2060, 0x3000, 0xfeff))]
# Bytes that are no UTF-8, or only the beginning of a character.
BROKEN = ["e080", "e09f", "e0a0", "ed9f", "eda0", "efbf", "f08f80", "f09080", "f48fbf", "f49080", "f58080", "c180", "c2", "f090", "ff80", "c3c3a9"]
BEHAVIOURS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
EXPRESSIONS = [
    r"\A\w+", r"b\z", r"[\u0061b]+|\u0031", r"\x{2581}|[\x{61}-\x{62}]+", r"\P{L}+", r"\p{^L}+", r"[^\p{L}\P{N}]+",
    r"[\w]+", r"\w+", r"\W+", r"[^\w]+", r"\bab\b", r"\S+", r"[\S]+", r"\s", r"[\s]+", r"\d+", r"[^\d]+", r"\D+",
    r"[\D]", r"\r|\n|\t|\f", r"(?<=a)b", r"(?<!a)b", r"(?>ab+)", r"(?-i:ab)", r"(?i:ab)", r"(?i)ab", r"(?:a)(b)", r"(?=b)b",
    r"a(?!b)", r"b{2}", r"b{1,}", r"b{1,2}?", r"^ab$", r"ab.", r"a\.|\-|\_", r"[a\-x]", r"x{", r"[]b]", r"[^]b]"]


def words(tokens):
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def tokenizer(vocabulary, **parts):
    return parts | {"model": {"type": "BPE", "ignore_merges": True, "vocab": vocabulary, "merges": []}}


def cut(texts, **parts):
    """The texts' characters, and the pieces into which they are cut, as tokens."""
    first = Tokenizer.from_str(json.dumps(tokenizer({}, **parts)))
    pieces = []
    for text in texts:
        normal = first.normalizer.normalize_str(text) if first.normalizer else text
        whole = first.pre_tokenizer.pre_tokenize_str(normal) if first.pre_tokenizer else [(normal, None)]
        pieces += [*"".join(piece for piece, _ in whole), *(piece for piece, _ in whole if piece)]
    return {"tokenizer": tokenizer(words(pieces), **parts), "texts": texts}


def split(pattern, behaviour="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behaviour, "invert": invert}


def cases():
    for expression in EXPRESSIONS:
        yield cut(TEXT, pre_tokenizer=split({"Regex": expression}))
    yield cut(["\u00b2ab ab\u00bd ab-ab \u0301ab"], pre_tokenizer=split({"Regex": r"\bab\b"}))
    for behaviour in BEHAVIOURS:
        for invert in (False, True):
            for pattern in ({"Regex": "b*"}, {"Regex": r"b|\s"}, {"String": "ab"}):
                yield cut(["\u00e9abb\u2581 bb", "", "bb"], pre_tokenizer=split(pattern, behaviour, invert))
    for individual in (False, True):
        yield cut(TEXT, pre_tokenizer={"type": "Digits", "individual_digits": individual})
    yield cut(TEXT, pre_tokenizer={"type": "Whitespace"})
    yield cut(TEXT, pre_tokenizer={"type": "WhitespaceSplit"})
    for scheme in ("always", "first", "never"):
        for whole in (False, True):
            step = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": whole}
            yield cut([*TEXT, "\u2581ab \u2581a", " ab", " ", "\u2581"], pre_tokenizer=step, decoder=step)
    nested = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, split({"String": "b"}, "MergedWithNext")]}]}
    yield cut(TEXT, pre_tokenizer=nested)
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        yield cut([LATER, "a\u0301\u0300\u0323\u0302", "\u0130I\u1e9e\uac00\u1100\u1161"], normalizer={"type": form})
    for left, right in ((True, False), (False, True)):
        yield cut(["  a b\u3000 ", " ", *SPACES], normalizer={"type": "Strip", "strip_left": left, "strip_right": right})

    for start, stop in ((0, 1), (1, 0), (2, 2)):
        strip = {"type": "Strip", "content": "\u2581", "start": start, "stop": stop}
        yield {"tokenizer": tokenizer(words(["\u2581\u2581\u2581a\u2581\u2581\u2581", "a\u2581b", "\u2581x"]), decoder=strip), "ids": [0, 1, 2, 0]}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    spelled = words(["\u00e6\u0139\u00a5", "\u00e6", "\u65e5 ", "\u0120a", "\u0139\u00a5"])  # U+65E5, and its bytes in two tokens
    yield {"tokenizer": tokenizer(spelled, decoder=byte_level), "ids": [0, 3, 1, 2, 1, 4, 1]}
    characters = byte_characters()
    for broken in BROKEN:
        tokens = [characters[byte] for byte in bytes.fromhex(broken)] + ["a"]
        yield {"tokenizer": tokenizer(words(tokens), decoder=byte_level), "ids": [words(tokens)[token] for token in tokens]}
    same = [{"id": 2 + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True,
             "special": False} for i, content in enumerate(["Ab", "aB"])]
    yield {"tokenizer": tokenizer(words("ab"), added_tokens=same, normalizer={"type": "Lowercase"}), "texts": ["bAba", "aB"]}
    parts = ["</s>", "<s>", "<sep>", "a", "b"]
    template = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "two", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                           "</s>": {"id": "</s>", "ids": [0], "tokens": ["</s>"]},
                           "two": {"id": "two", "ids": [2, 1], "tokens": ["<sep>", "<s>"]}}}
    for processors in ([byte_level, template], [template, byte_level],
                       [{"type": "Sequence", "processors": [template]}, byte_level]):
        yield {"tokenizer": tokenizer(words(parts), post_processor={"type": "Sequence", "processors": processors}), "texts": ["ab", ""]}


def answer(case):
    made = Tokenizer.from_str(json.dumps(case["tokenizer"]))
    runs = [{"text": text, "ids": made.encode(text).ids} for text in case.get("texts", [])]
    for run in runs or [case]:
        run["decoded"] = made.decode(run["ids"])
    return {"tokenizer": json.dumps(case["tokenizer"], ensure_ascii=False), "runs": runs or [{k: case[k] for k in ("ids", "decoded")}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer-parts"))
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(answer(case), ensure_ascii=False) for case in cases()) + "\n]\n")


main()
