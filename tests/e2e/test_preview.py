"""tune --preview: examples as tokens, those to be learned marked, and nothing that a terminal obeys."""
import json
import os
import unittest

from support import DEMO, Folder, program

TEXT = "After lunch, the gardener forgot a photograph at the long corridor."


class Preview(Folder):
    def setUp(self):
        super().setUp()
        self.write("train.jsonl", "".join(json.dumps({"text": TEXT}) + "\n" for _ in range(8)))
        self.succeeds("init", DEMO)

    def carrel(self, *arguments, **options):
        return program(*arguments, cwd=self.folder, **options)

    def test_what_is_learned_is_marked(self):
        self.write("chat.jsonl", json.dumps({"messages": [{"role": "user", "content": "What?"},
                                                          {"role": "assistant", "content": "A dog\nslept."}]}) + "\n")
        command = ["tune", "carrel.yaml", "--preview", "--set", "data.train=chat.jsonl", "--set", "data.chat_template=plain"]
        text = self.succeeds(*command)
        self.assertIn("to be learned (in brackets)", text)
        learned = "".join(part.split("]")[0] for part in text.splitlines()[1].split("[")[1:])
        self.assertEqual(learned, "A dog\\nslept.</s>")
        tokens = json.loads(self.succeeds(*command, "--json"))["tokens"]
        self.assertEqual([token["label"] for token in tokens].count(True), text.count("["))
        self.assertEqual(sorted(os.listdir(self.folder)), ["carrel.yaml", "chat.jsonl", "train.jsonl"])  # nothing was made

    def test_a_token_of_several_spaces_has_them_all(self):
        os.mkdir(self.path("spaces"))
        self.write("spaces/tokenizer.json", json.dumps({
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            "model": {"vocab": {"\u2581": 0, "\u2581\u2581": 1, "\u2581a": 2, "a": 3, "<0x0A>": 4},
                      "merges": ["\u2581 \u2581", "\u2581 a"], "byte_fallback": True},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}))
        self.write("rows.jsonl", json.dumps({"text": "a  a\n a"}) + "\n")
        text = self.succeeds("tune", "carrel.yaml", "--preview", "--set", "data.train=rows.jsonl", "--set",
                             "model_name_or_path=spaces")
        self.assertEqual(text.splitlines()[1], "|a[  ][a][\\n][ a]")

    def test_rows_that_are_left_out_are_told(self):
        good, empty = json.dumps({"text": TEXT}) + "\n", json.dumps({"text": ""}) + "\n"
        self.write("rows.jsonl", good + 150 * empty + '{"text": 7}\n' + 4 * good + empty)
        result = self.carrel("tune", "carrel.yaml", "--preview", "--set", "data.train=rows.jsonl", "--set",
                             "data.max_bad_rows=1")
        self.assertEqual((result.returncode, result.stdout.count("example ")), (0, 5), result.stderr)
        self.assertIn("150 rows of the training data, as far as it was read, have no labelled token", result.stderr)
        self.assertIn("1 bad row of the training data, as far as it was read, is left out; the first: rows.jsonl:152",
                      result.stderr)

    def test_no_control_character_gets_through(self):
        self.write("odd.jsonl", json.dumps({"text": "a\x1b[31mred\x07 end"}) + "\n")
        text = self.succeeds("tune", "carrel.yaml", "--preview", "--set", "data.train=odd.jsonl")
        self.assertNotIn("\x1b", text)
        self.assertIn("\\x1b", text)

    def test_no_control_character_of_a_token_gets_through(self):
        os.mkdir(self.path("odd"))
        tokenizer = {"model": {"vocab": {"a": 0, "\x9b": 1, "2": 2}, "merges": []},
                     "added_tokens": [{"id": 3, "content": "\x1b[2J\x7f\ufffd"}], "decoder": {"type": "Fuse"}}
        self.write("odd/tokenizer.json", json.dumps(tokenizer))
        self.write("odd.jsonl", json.dumps({"text": "a\x9b2\x1b[2J\x7f\ufffda"}) + "\n")
        text = self.succeeds("tune", "carrel.yaml", "--preview", "--set", "data.train=odd.jsonl", "--set",
                             "model_name_or_path=odd")
        self.assertEqual(text.splitlines()[1], "|a[\\x9b][2][\\x1b[2J\\x7f\ufffd][a]")

    def test_five_examples_at_most(self):
        self.assertEqual(self.succeeds("tune", "carrel.yaml", "--preview").count("example "), 5)
        result = self.carrel("tune", "carrel.yaml", "--preview", "--set", "data.train=none.jsonl")
        self.assertEqual(result.returncode, 3)
        self.assertIn("none.jsonl", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
