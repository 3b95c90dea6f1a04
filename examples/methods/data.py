"""The data of the comparison: rows of a question and its answer, dealt to three silos, with a part to choose learning
rates on and a part that is looked at once.

What is not the demo's own is read from a folder of third-party data (README.md says which); nothing of it is
written anywhere but into the folder of the comparison.
"""
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys

SILOS = ["large", "middle", "small"]
SHARES = [0.6, 0.3, 0.1]  # of the training rows
TRAIN, VALIDATION, TEST = 1500, 100, 200
LONGEST = {"instruction": 240, "output": 360}  # bytes


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def chatdoctor(folder):
    for row in json.loads(read(folder + "/chatdoctor/chatdoctor5k.json")):
        yield row["input"], row["output"]


def medquad(folder):
    for line in read(folder + "/medquad/medquad.jsonl").splitlines():
        row = json.loads(line)
        yield row["question"], row["answer"]


def covid_dialogue(folder):
    """The first thing that the patient says, and what the doctor answers."""
    text = read(folder + "/covid-dialogue-en/COVID-Dialogue-Dataset-English.txt")
    for patient, doctor in re.findall(r"Dialogue\s*\nPatient:\s*\n(.*?)\nDoctor:\s*\n(.*?)(?=\nPatient:|\nid=|\Z)", text, re.S):
        yield patient, doctor


def pubmedqa(folder):
    for row in json.loads(read(folder + "/pubmedqa/pqal_dev500.json")).values():
        yield row["QUESTION"], "%s. %s" % (row["final_decision"], row["LONG_ANSWER"])


def chinese(folder):
    with open(folder + "/chinese-medical-dialogue/internal_medicine.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield row["ask"], row["answer"]


THIRD_PARTY = {"chatdoctor": chatdoctor, "medquad": medquad, "covid-dialogue": covid_dialogue, "pubmedqa": pubmedqa,
               "chinese": chinese}


def row_of(question, answer):
    row = {"instruction": " ".join(question.split()), "output": " ".join(answer.split())}
    return {key: value.encode()[:LONGEST[key]].decode(errors="ignore") for key, value in row.items()}


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def deal(rows, out):
    random.Random(1).shuffle(rows)
    held = rows[:VALIDATION + TEST] if len(rows) > 2 * (VALIDATION + TEST) else rows[:len(rows) // 3]
    cut = len(held) * VALIDATION // (VALIDATION + TEST)
    train = rows[len(held):len(held) + TRAIN]
    write(out + "/validation.jsonl", held[:cut])
    write(out + "/test.jsonl", held[cut:])
    begin = 0
    for silo, share in zip(SILOS, SHARES):
        end = begin + round(share * len(train))
        write("%s/%s.jsonl" % (out, silo), train[begin:end])
        begin = end
    write(out + "/pooled.jsonl", train[:begin])


def demo(out):
    """The demo's: three hospitals of different specialities, asked in words that none was trained on."""
    subprocess.run([sys.executable, "-B", "examples/demo/make_data.py", "federation", out], check=True,
                   stdout=subprocess.DEVNULL)
    held = read(out + "/eval.jsonl").splitlines()
    for name, of in (("validation", held[::3]), ("test", held[1::3] + held[2::3])):
        write("%s/%s.jsonl" % (out, name), map(json.loads, of))
    for silo, hospital in zip(SILOS, ["st-anne", "northfield", "lakeside"]):
        os.rename("%s/%s.jsonl" % (out, hospital), "%s/%s.jsonl" % (out, silo))


def make(name, third_party, out):
    part = out + ".part"  # what was not made whole is made again
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    if name == "demo":
        demo(part)
    else:
        deal([row_of(*pair) for pair in THIRD_PARTY[name](third_party + "/datasets") if all(map(str.strip, pair))], part)
    os.rename(part, out)
