#!/usr/bin/env python3
"""Compares carrel's tokenizers with Hugging Face's on random text. By hand, where `tokenizers` is installed:

    compare_tokenizers.py CARREL DATA [CHARACTERS [SEED]]

CARREL is the program, DATA the folder of third-party data, CHARACTERS how many each tokenizer is given (200,000).
The tokenizers are those of DATA, one that carrel trains, and variants of these with other normalizers,
pre-tokenizers, added tokens and decoders. Exits with status 1 where anything differs.
"""

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = ("the quick brown fox don't I'll WE'VE she'd 'S ſ'ſ x=1; // 3.14159 2024 12345 __init__ naïve Straße İstanbul "
         "Ωmega ΣΊΣΥΦΟΣ коты 你好世界 日本語 한국어 ภาษาไทย עִבְרִית العَرَبِيَّة हिन्दी 🦙 👩‍👩‍👧 🇩🇪 ﬁn ½ Ⅷ ² ① ǅ").split()
SPACES = [" ", " ", " ", "  ", "   ", "\t", "\u00a0", "\u3000", "\u180e", "\u2028", "\u0085", "\u200b", "\v", "\r"]
SPECIALS = ["<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<unk>", "<x>", "[A]", "[AB]", "</", "<|end", "▁", "ab"]
# Characters that every library knows; Python 3.11 has Unicode 14, as PCRE2 10.42 does.
ASSIGNED = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
LATIN = [c for c in ASSIGNED if ord(c) < 0x250]
MARKS = [c for c in ASSIGNED if unicodedata.combining(c)]


def random_text(rng, length, newlines):
    parts = []
    size = 0
    while size < length:
        kind = rng.random()
        if kind < 0.35:
            part = rng.choice(WORDS)
        elif kind < 0.65:
            part = rng.choice(SPACES)
        elif kind < 0.72 and newlines:
            part = rng.choice(["\n", "\n\n", "\r\n", " \n", "\n "])
        elif kind < 0.78:
            part = rng.choice(SPECIALS)
        elif kind < 0.84:
            part = "".join(rng.choice(LATIN) for _ in range(rng.randint(1, 6)))
        elif kind < 0.88:
            part = rng.choice(ASSIGNED) + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4)))
        elif kind < 0.94:
            part = "".join(rng.choice(ASSIGNED) for _ in range(rng.randint(1, 4)))
        else:
            part = rng.choice("ab1 .'▁") * rng.randint(1, 40)
        parts.append(part if newlines else part.replace("\n", ""))
        size += len(part)
    return "".join(parts)


def run(program, arguments, text):
    done = subprocess.run([program, "tokenizer", *arguments], input=text, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout


def describe(name, text, ours, theirs, tokenizer):
    at = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    print(f"{name}: differs at token {at} of {text[:60]!r}...")
    for who, ids in (("carrel", ours), ("theirs", theirs)):
        print(f"  {who}: {[(i, tokenizer.id_to_token(i)) for i in ids[max(at - 2, 0) : at + 4]]}")


def compare(program, name, path, characters, rng):
    """The number of texts that differ."""
    tokenizer = tokenizers.Tokenizer.from_file(path)
    wrong = done = 0
    lines = []
    while done < characters // 2:
        lines.append(random_text(rng, rng.choice([1, 3, 10, 40, 200]), False))
        done += len(lines[-1])
    got = run(program, ["encode", "--tokenizer", path, "--lines"], ("\n".join(lines) + "\n").encode()).decode()
    for line, ids in zip(lines, got.split("\n"), strict=False):
        ours, theirs = [int(i) for i in ids.split()], tokenizer.encode(line).ids
        if ours != theirs:
            if wrong < 3:
                describe(name, line, ours, theirs, tokenizer)
            wrong += 1
    for _ in range(4):
        text = random_text(rng, characters // 8, True)
        got = run(program, ["encode", "--tokenizer", path, "--no-special"], text.encode()).decode()
        ours, theirs = [int(i) for i in got.split()], tokenizer.encode(text, add_special_tokens=False).ids
        if ours != theirs:
            describe(name, text, ours, theirs, tokenizer)
            wrong += 1
        ids = [i for i in (rng.randrange(tokenizer.get_vocab_size()) for _ in range(2000))]
        for given in (ours, ids):
            for skip in (False, True):
                words = " ".join(map(str, given)).encode()
                flags = ["--skip-special"] if skip else []
                back = run(program, ["decode", "--tokenizer", path, *flags], words).decode()
                wanted = tokenizer.decode(given, skip_special_tokens=skip)
                if back != wanted:
                    at = next((i for i, p in enumerate(zip(back, wanted)) if p[0] != p[1]), -1)
                    print(f"{name}: decodes to {back[at - 5 : at + 20]!r}, not {wanted[at - 5 : at + 20]!r}")
                    wrong += 1
    print(f"{name}: {len(lines)} lines and 4 texts, {wrong} wrong", flush=True)
    return wrong


def added(content, number, **flags):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False} | flags


def variants(base, byte_level):
    """(name, changes) for a tokenizer.json."""
    first = max(base["model"]["vocab"].values()) + 1
    for name, normalizer in {
        "nfc": {"type": "NFC"}, "nfd": {"type": "NFD"}, "nfkc": {"type": "NFKC"}, "nfkd": {"type": "NFKD"},
        "lower": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "strip": {"type": "Sequence", "normalizers": [
            {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    }.items():
        yield name, {"normalizer": normalizer}
    tail = [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}] if byte_level else []
    splits = {"digits": [{"type": "Digits", "individual_digits": False}],
              "digit": [{"type": "Digits", "individual_digits": True}],
              "words": [{"type": "Whitespace"}], "spaces": [{"type": "WhitespaceSplit"}]}
    for behaviour in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            splits[f"{behaviour}-{invert}"] = [{"type": "Split", "pattern": {"Regex": r"\s|[aeiou]\w"},
                                                "behavior": behaviour, "invert": invert}]
            splits[f"{behaviour}-{invert}-string"] = [{"type": "Split", "pattern": {"String": "ab"},
                                                       "behavior": behaviour, "invert": invert}]
    for name, steps in splits.items():
        yield name, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps + tail}}
    for scheme in ("always", "first", "never"):
        for split in (False, True):
            step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
            yield f"metaspace-{scheme}-{split}", {
                "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [step] + tail},
                **({} if byte_level else {"decoder": {k: v for k, v in step.items()}})}
    if byte_level:
        yield "prefix-space", {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}}
    for flag in ("lstrip", "rstrip", "single_word", "special", "normalized"):
        tokens = [added("<x>", first, **{flag: True}), added("[A]", first + 1, **{flag: True}),
                  added("[AB]", first + 2, **{flag: True}), added("[AB]x", first + 3),
                  added("</", first + 4, **{flag: True, "normalized": True}), added("fox", first + 5, **{flag: True})]
        yield f"added-{flag}", {"added_tokens": base["added_tokens"] + tokens}
    yield "no-decoder", {"decoder": None}


def main():
    program, data = sys.argv[1:3]
    characters = int(sys.argv[3]) if len(sys.argv) > 3 else 200_000
    rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-B", f"{HERE}/make_tokenizers.py", data, folder], check=True)
        trained = f"{folder}/trained.json"
        run(program, ["train", "--output", trained, "--vocab-size", "2000", "--special", "<|endoftext|>", "--bos", "<s>",
                      f"{data}/tokenizers/cs336/corpus.en"], b"")
        # Away from its tokenizer_config.json, whose class would have it read otherwise.
        stories = shutil.copy(f"{data}/models/stories260K/tokenizer.json", f"{folder}/stories260K.json")
        paths = {"gpt2": f"{data}/tokenizers/gpt2-hf/tokenizer.json", "stories260K": stories, "trained": trained}
        paths |= {name: f"{folder}/{name}.json" for name in ("llama2", "llama3", "qwen2")}
        for name, path in paths.items():
            wrong += compare(program, name, path, characters, rng)
        for name, path, byte_level in (("trained", trained, True), ("stories260K", stories, False)):
            with open(path, encoding="utf-8") as file:
                base = json.load(file)
            for variant, changes in variants(base, byte_level):
                changed = f"{folder}/variant.json"
                with open(changed, "w", encoding="utf-8") as file:
                    json.dump(copy.deepcopy(base) | changes, file)
                wrong += compare(program, f"{name}/{variant}", changed, characters // 10, rng)
    print(f"{wrong} differences")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
