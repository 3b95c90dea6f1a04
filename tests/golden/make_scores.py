#!/usr/bin/env python3
"""Writes tests/golden/scores/expected.json: corpora of answers and references, with the BLEU that sacreBLEU gives them
and the ROUGE-L of rouge-score, in the words of both tokenizers. Answers and references are made up and random.
"""

import argparse
import json
import os
import random

from rouge_score import rouge_scorer, tokenizers
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

WRITTEN = [
    ["The dose is 2.5 mg, twice a day.", "The dose is 2.5mg, twice daily."],
    ["Take 1,000 mg - not more.", "Take 1,000 mg--not more..."],
    ["It's 10-20% (at most) of \"all\" cases; see p.3/4.", "It's 10 - 20 % (at most) of 'all' cases, see p. 3/4"],
    ["5.", "5 ."], ["Yes", "Yes"], ["a-\nb\nc", "ab c"], ["&lt;b&gt; &amp;quot; &quot;", "<b> &quot; \""],
    ["<skipped> x,y.z", "x , y . z"], ["Straße ÄÖÜ é.", "STRASSE äöü é ."], ["\u212aelvin \u0130stanbul", "kelvin istanbul"],
    ["患者每天服用2.5毫克，分两次。", "患者每日服用 2.5 毫克,分两次。"], ["你好，world!", "您好,world！"],
    ["\u2019t is \u2014 so\u2026", "'t is - so..."], ["\u2f81\u3000x\u00a0y\u1c80\x1cz", "\u2f81 x y z"], ["\u20001\u2001", "\u20001"],
]
LETTERS = [
    "ab AB .,-0", "abc xyz 019 .,-'\"!?()[]{}<>/&;:@#$%^*_~`|\\+=", "一二三，。！ab 1.,-", "é ß\u212a\u0130\u2014\u2026\u3000\uff0ca.1-",
    "the cat sat on mat . , ",
]


def texts(draw, letters):
    def one():
        return "".join(draw.choice(letters) for _ in range(draw.randrange(0, 60)))
    answer = one()
    if draw.random() < 0.3:
        return [answer, one()]
    near = list(answer)
    for _ in range(draw.randrange(0, 6)):
        if near:
            near[draw.randrange(len(near))] = draw.choice(letters)
    return [answer, "".join(near)]


class Chinese(tokenizers.Tokenizer):
    def tokenize(self, text):
        return TokenizerZh()(text).split()


def scored(words, pairs):
    answers, references = [a for a, _ in pairs], [r for _, r in pairs]
    bleu = BLEU(tokenize=words).corpus_score(answers, [references]).score
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Chinese() if words == "zh" else None)
    rouge = [scorer.score(r, a)["rougeL"].fmeasure for a, r in pairs]
    return {"words": words, "pairs": pairs, "bleu": bleu, "rouge_l": sum(rouge) / len(rouge)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "scores"))
    out = parser.parse_args().out
    draw = random.Random(20261127)
    corpora = [[pair] for pair in WRITTEN] + [WRITTEN]
    corpora += [[texts(draw, letters) for _ in range(draw.randrange(1, 12))] for letters in LETTERS for _ in range(12)]
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
        json.dump([scored(words, pairs) for words in ("13a", "zh") for pairs in corpora], file, ensure_ascii=False, indent=0)
        file.write("\n")


main()
