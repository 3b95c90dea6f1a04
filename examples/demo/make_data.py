#!/usr/bin/env python3
"""Writes the demo's data: invented clinical knowledge in six specialities, and general text.

Everything is made up, names of conditions and drugs included, and follows from SEED alone: no outside data, the same
bytes on every machine. A condition has four facts (its sign, test, drug and dose), and each fact is asked for in eight
ways. Facts of *public* conditions are in the base model's text. Facts of *held* conditions are in no
text of the base: each belongs to one speciality, each speciality is dealt to silos, and a silo that was not
dealt a speciality cannot know its facts. Evaluation asks for every held fact in a wording that training did not use for it.

usage: make_data.py base|federation DIRECTORY
  base        base.jsonl      text rows that the demo's base model is trained on
              base-eval.jsonl public facts, one wording each (Alpaca rows)
  federation  SILO.jsonl      Alpaca rows of each silo's specialities
              pooled.jsonl    all of them
              eval.jsonl      every held fact in wordings that training did not use for it
"""
import json
import os
import random
import sys

SEED = 20240101
PUBLIC_CONDITIONS = 30  # of each speciality, known to the base model
HELD_CONDITIONS = 8     # of each speciality, known to the silos that treat it
BASE_REPEATS = 3        # wordings of each public fact in the base's text come this many times
GENERAL_ROWS = 6000

SPECIALITIES = {
    "cardiology": ["arrhythmia", "carditis", "angina", "valve disease"],
    "neurology": ["palsy", "neuralgia", "tremor", "migraine"],
    "dermatology": ["rash", "eczema", "lichen", "dermatitis"],
    "gastroenterology": ["colitis", "gastritis", "reflux", "enteropathy"],
    "pulmonology": ["asthma", "pneumonia", "fibrosis", "bronchitis"],
    "endocrinology": ["goitre", "diabetes", "thyroiditis", "adrenal disease"],
}

# Uneven on purpose: one large silo, one middling, one small.
SILOS = {
    "st-anne": ["cardiology", "neurology", "dermatology"],
    "northfield": ["gastroenterology", "pulmonology"],
    "lakeside": ["endocrinology"],
}

SIGNS = """fever|dizziness|a dry cough|night sweats|blurred vision|joint pain|pale skin|swollen ankles|itching|hoarseness|
weight loss|a stiff neck|muscle cramps|numb fingers|chest pressure|a red tongue|hair loss|thirst|hiccups|ringing ears|
cold hands|jaundice|a slow pulse|back pain|nausea|drooping eyelids|skin blisters|short breath|heartburn|confusion""".replace("\n", "").split("|")
TESTS = """a blood count|an ultrasound|a chest film|a skin biopsy|an eye test|a urine test|a nerve study|a stress test|
an endoscopy|a bone scan|a sweat test|a breath test|a lumbar puncture|a heart tracing|a hormone panel|a stool test|
a patch test|a lung test|a liver panel|a brain scan""".replace("\n", "").split("|")
DOSES = ["%d mg %s" % (n, when) for n in (5, 10, 20, 40, 80) for when in ("daily", "twice daily", "weekly", "at night")]

WORDINGS = {
    "sign": [
        "What is the first sign of {c}?", "Which sign is typical of {c}?", "How does {c} show itself first?",
        "A patient has {c}. Which sign do you expect?", "Name the leading sign of {c}.",
        "Tell me the usual sign of {c}.", "With {c}, what does the patient notice first?", "What points to {c}?"],
    "test": [
        "Which test confirms {c}?", "How is {c} confirmed?", "What test do you order for {c}?",
        "A patient may have {c}. Which test comes next?", "Name the test that proves {c}.",
        "Tell me the best test for {c}.", "For suspected {c}, which test is done?", "What settles a diagnosis of {c}?"],
    "drug": [
        "Which drug treats {c}?", "What is the first drug for {c}?", "How do you treat {c}?",
        "A patient has {c}. Which drug do you give?", "Name the drug of choice for {c}.",
        "Tell me the usual drug for {c}.", "For {c}, which drug is given?", "What is prescribed against {c}?"],
    "dose": [
        "What is the usual dose for {c}?", "How much is given for {c}?", "Which dose does {c} need?",
        "A patient has {c}. What dose do you give?", "Name the standard dose for {c}.",
        "Tell me the dose used for {c}.", "For {c}, how much is prescribed?", "At what dose is {c} treated?"],
}
EVALUATION_WORDINGS = 2  # of the eight, which ones turning from fact to fact

ALPACA = ("Below is an instruction that describes a task. Write a response that appropriately completes the request."
          "\n\n### Instruction:\n{q}\n\n### Response:")


class Dice:
    """Draws that every Python gives alike: of random.Random only random() is promised to stay the same."""

    def __init__(self, label):
        self.random = random.Random("%d %s" % (SEED, label)).random

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def shuffle(self, items):
        for i in range(len(items) - 1, 0, -1):
            j = int(self.random() * (i + 1))
            items[i], items[j] = items[j], items[i]


def invented_names(label, count, endings):
    dice, names = Dice(label), []
    while len(names) < count:
        name = (dice.pick("B D F G H K L M N P R S T V Z Br Dr Gl Kr Pl Tr St".split()) + dice.pick("aeiou")
                + dice.pick("l m n r s t v d lb rd nt rm".split()) + dice.pick("aeio") + dice.pick(endings))
        if name not in names:
            names.append(name)
    return names


def knowledge():
    """[(speciality, condition, held, {kind: answer})]"""
    per = PUBLIC_CONDITIONS + HELD_CONDITIONS
    names = invented_names("conditions", per * len(SPECIALITIES), ["n", "k", "x", "th", "ss", "ld", "ck", "sh"])
    drugs = [name.lower() for name in invented_names("drugs", 40, ["mol", "dine", "pril", "zole", "statin", "mycin"])]
    dice, out = Dice("facts"), []
    for s, (speciality, kinds) in enumerate(SPECIALITIES.items()):
        for i in range(per):
            condition = "%s %s" % (names[s * per + i], dice.pick(kinds))
            facts = {"sign": dice.pick(SIGNS), "test": dice.pick(TESTS), "drug": dice.pick(drugs), "dose": dice.pick(DOSES)}
            out.append((speciality, condition, i >= PUBLIC_CONDITIONS, facts))
    return out


def questions(condition, facts, number):
    """[(is for evaluation, question, answer)] in all wordings; `number` turns which wordings are kept for evaluation."""
    out = []
    for k, (kind, answer) in enumerate(facts.items()):
        wordings = WORDINGS[kind]
        for w, wording in enumerate(wordings):
            held_out = (w - number - k) % len(wordings) < EVALUATION_WORDINGS
            out.append((held_out, wording.format(c=condition), answer[0].upper() + answer[1:] + "."))
    return out


def general_text(dice):
    """A few plain sentences: the base learns ordinary English word order, not only questions."""
    people = "the nurse|the doctor|a visitor|the porter|an old man|the cook|a student|the driver|her brother|the gardener".split("|")
    places = "the ward|the garden|the kitchen|the library|the long corridor|the station|the market|the river|the small office|the chapel".split("|")
    things = "a letter|the blue cup|a basket of apples|the morning paper|an umbrella|a box of tea|the keys|a warm coat|a photograph|the old clock".split("|")
    deeds = "carried {t} to {p}|left {t} in {p}|found {t} near {p}|looked for {t} in {p}|brought {t} from {p}|forgot {t} at {p}".split("|")
    times = "In the morning|After lunch|Late at night|On Monday|Before the visit|When the rain stopped|At noon|Last winter".split("|")
    ends = "Nobody said a word.|Everyone was glad.|It was a quiet day.|Then the bell rang.|The others laughed.|It made no difference.|That was enough for one day.|The dog slept through it all.".split("|")
    sentences = []
    for _ in range(2 + int(dice.random() * 3)):
        deed = dice.pick(deeds).format(t=dice.pick(things), p=dice.pick(places))
        sentences.append("%s, %s %s." % (dice.pick(times), dice.pick(people), deed) if dice.random() < 0.6
                         else "%s %s." % (dice.pick(people).capitalize(), deed))
    return " ".join(sentences) + " " + dice.pick(ends)


def write(directory, name, rows):
    with open(os.path.join(directory, name), "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def alpaca(question, answer):
    return {"instruction": question, "input": "", "output": answer}


def make_base(directory):
    dice, rows, evaluation = Dice("base"), [], []
    for number, (speciality, condition, held, facts) in enumerate(knowledge()):
        if held:
            continue
        for held_out, question, answer in questions(condition, facts, number):
            if held_out:
                evaluation.append(alpaca(question, answer))
            else:
                rows += [ALPACA.format(q=question) + answer] * BASE_REPEATS
        rows += ["%s belongs to %s." % (condition, speciality)]
    rows += [general_text(dice) for _ in range(GENERAL_ROWS)]
    dice.shuffle(rows)
    write(directory, "base.jsonl", [{"text": row} for row in rows])
    write(directory, "base-eval.jsonl", evaluation)


def make_federation(directory):
    by_speciality, evaluation = {name: [] for name in SPECIALITIES}, []
    for number, (speciality, condition, held, facts) in enumerate(knowledge()):
        if not held:
            continue
        for held_out, question, answer in questions(condition, facts, number):
            (evaluation if held_out else by_speciality[speciality]).append(alpaca(question, answer))
    for silo, specialities in SILOS.items():
        write(directory, silo + ".jsonl", [row for name in specialities for row in by_speciality[name]])
    write(directory, "pooled.jsonl", [row for rows in by_speciality.values() for row in rows])
    write(directory, "eval.jsonl", evaluation)


def main():
    makers = {"base": make_base, "federation": make_federation}
    if len(sys.argv) != 3 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    os.makedirs(sys.argv[2], exist_ok=True)
    makers[sys.argv[1]](sys.argv[2])


if __name__ == "__main__":
    main()
