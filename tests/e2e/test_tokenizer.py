"""carrel tokenizer: what is trained, encoded and decoded goes around, and errors are one sentence."""
import json
import os
import unittest

from support import Folder, program

TEXT = "the other then, the others there; don't they?\n\n caf\u00e9 \u4f60\u597d \U0001f999 1234 \n"


def tokenizer(*arguments, given=b""):
    return program("tokenizer", *arguments, text=False, input=given)


class Tokenizer(Folder):
    def setUp(self):
        super().setUp()
        self.text = self.path("corpus.txt")
        with open(self.text, "w", encoding="utf-8") as file:
            file.write(TEXT)

    def good(self, *arguments, given=b""):
        result = tokenizer(*arguments, given=given)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def fails(self, code, sentence, *arguments, given=b""):
        result = tokenizer(*arguments, given=given)
        error = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (code, b""), error)
        self.assertIn(sentence, error)
        self.assertEqual(len(error.strip().split("\n")), 1, error)

    def train(self, *more):
        out = self.path("trained")
        self.good("train", "--output", out, "--vocab-size", "270", "--bos", "<s>", "--eos", "</s>", *more, self.text)
        return out

    def test_round_trip(self):
        out = self.train()
        ids = self.good("encode", "--tokenizer", out, self.text)
        self.assertEqual(ids.split()[0], b"0")  # BOS
        self.assertLess(len(ids.split()), len(TEXT.encode()))
        self.assertEqual(ids, self.good("encode", "--tokenizer", out, given=TEXT.encode()))
        self.assertEqual(self.good("decode", "--tokenizer", out, given=ids).decode(), "<s>" + TEXT)
        self.assertEqual(self.good("decode", "--tokenizer", out, "--skip-special", *ids.decode().split()).decode(), TEXT)

    def test_json_and_lines(self):
        out = self.train()
        answer = json.loads(self.good("encode", "--tokenizer", out, "--json", "--no-special", given=b"a</s>"))
        self.assertEqual(answer["tokens"], ["a", "</s>"])
        self.assertEqual(answer["ids"][1], 1)
        lines = self.good("encode", "--tokenizer", out, "--lines", given=b"a\n\na\n").decode().split("\n")
        self.assertEqual(lines[0], lines[2])
        self.assertEqual(lines[1:2] + lines[3:], ["0", ""])

    def vocabulary(self, *sources):
        self.good("train", "--output", self.path("out.json"), "--vocab-size", "280", *sources)
        with open(self.path("out.json"), "rb") as file:
            return file.read()

    def rows(self, name, *rows):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        return self.path(name)

    def test_datasets_train_as_their_text(self):
        wanted = self.vocabulary(self.text)
        for row in ({"text": TEXT}, {"messages": [{"role": "user", "content": TEXT}]},
                    {"conversations": [{"from": "human", "value": TEXT}], "system": ""},
                    {"instruction": "", "output": "", "system": TEXT},
                    {"instruction": "", "output": "", "history": [["", TEXT]]},
                    {"instruction": "", "input": TEXT, "output": ""}):
            self.assertEqual(self.vocabulary(self.rows("rows.jsonl", row)), wanted, row)

    def test_errors(self):
        out = self.train()
        self.fails(2, "did you mean encode", "encod")
        self.fails(2, "--tokenizer PATH is missing", "encode")
        self.fails(2, "--vocab-size N is missing", "train", "--output", "x", "y")
        self.fails(2, "standard input: text is not UTF-8 at byte 1", "encode", "--tokenizer", out, given=b"a\xff")
        folder = os.open(self.folder, os.O_RDONLY)
        result = program("tokenizer", "encode", "--tokenizer", out, stdin=folder)
        os.close(folder)
        self.assertEqual((result.returncode, result.stderr), (3, "carrel: standard input: Is a directory\n"))
        broken = self.path("broken.txt")
        with open(broken, "wb") as file:
            file.write(b"abc\xff")
        self.fails(2, "broken.txt: not UTF-8 at byte 3", "train", "--output", out, "--vocab-size", "270", broken)
        self.fails(2, "\"x\" is no token id", "decode", "--tokenizer", out, "x")
        self.fails(2, "outside the vocabulary", "decode", "--tokenizer", out, "99999")
        self.fails(2, "none.jsonl: there is no text in it", "train", "--output", out, "--vocab-size", "270", self.text,
                   self.rows("none.jsonl", {"messages": [{"role": "user", "content": ""}]}))
        model = os.path.dirname(self.write("model.safetensors", ""))
        for place in (model, model + "/tokenizer.json"):
            self.fails(2, model + ": holds a model, whose tokenizer stays as it is", "train", "--output", place, "--vocab-size",
                       "270", self.text)
        os.unlink(model + "/model.safetensors")
        self.fails(2, "--output: empty", "train", "--output", "", "--vocab-size", "270", self.text)
        self.fails(2, "an argument is empty", "train", "--output", out, "--vocab-size", "270", "")
        self.fails(2, "must be in 256", "train", "--output", out, "--vocab-size", "10", self.text)


if __name__ == "__main__":
    unittest.main()
