#!/usr/bin/env python3
"""Writes tokenizer.json files from third-party vocabularies, as Transformers' converters do.

usage: make_tokenizers.py DATA OUT

DATA is the folder of third-party data. Into OUT go llama2.json (from a SentencePiece model), llama3.json and
qwen2.json (from tiktoken ranks). Merges are derived from the vocabularies: every split of a token into two
tokens is one, ordered by the score or rank of its result.
"""

import base64
import json
import struct
import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The (number, value) pairs of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = data[at : at + 8], at + 8
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind == 5:
            value, at = data[at : at + 4], at + 4
        else:
            raise ValueError(f"protobuf wire type {kind}")
        yield key >> 3, value


def read_sentencepiece(path):
    """[(piece, score)] in the order of ids."""
    pieces = []
    with open(path, "rb") as file:
        for number, value in fields(file.read()):
            if number == 1:
                piece = dict(fields(value))
                pieces.append((piece[1].decode(), struct.unpack("<f", piece.get(2, b"\0\0\0\0"))[0]))
    return pieces


def splits(token, vocabulary):
    """Each way to cut the token into two others, the pair with the lowest ids first."""
    pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
    pairs = [pair for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
    return sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))


def added(content, number):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}


def bos_template(token, number):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}}}


def sentencepiece_tokenizer(pieces):
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces:
        merges += [(left, right, score) for left, right in splits(piece, vocabulary)]
    merges.sort(key=lambda merge: (merge[2], len(merge[0]), len(merge[1])), reverse=True)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added("<unk>", 0), added("<s>", 1), added("</s>", 2)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": bos_template("<s>", 1),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocabulary, "merges": [[left, right] for left, right, _ in merges]}}


def byte_characters():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def read_tiktoken(path):
    """{token as byte-level characters: rank}"""
    characters = byte_characters()
    ranks = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            token, rank = line.split()
            ranks["".join(characters[byte] for byte in base64.b64decode(token))] = int(rank)
    return ranks


def tiktoken_tokenizer(ranks, expression, specials, normalizer, bos, ignore_merges):
    merges = []
    for token in sorted(ranks, key=ranks.get):
        merges += [f"{left} {right}" for left, right in splits(token, ranks)]
    first = max(ranks.values()) + 1
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(token, first + i) for i, token in enumerate(specials)],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": bos_template(bos, first + specials.index(bos)) if bos else None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": ignore_merges, "vocab": ranks, "merges": merges}}


HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def main():
    data, out = sys.argv[1:]
    tokenizers = {
        "llama2": sentencepiece_tokenizer(read_sentencepiece(f"{data}/tokenizers/llama2-tokenizer.model")),
        "llama3": tiktoken_tokenizer(
            read_tiktoken(f"{data}/tokenizers/llama3-tokenizer.model"), HEAD + r"\p{N}{1,3}" + TAIL,
            ["<|begin_of_text|>", "<|end_of_text|>"], None, "<|begin_of_text|>", True),
        "qwen2": tiktoken_tokenizer(
            read_tiktoken(f"{data}/tokenizers/qwen.tiktoken"), HEAD + r"\p{N}" + TAIL,
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], {"type": "NFC"}, None, False),
    }
    for name, tokenizer in tokenizers.items():
        with open(f"{out}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(tokenizer, file, ensure_ascii=False)


if __name__ == "__main__":
    main()
