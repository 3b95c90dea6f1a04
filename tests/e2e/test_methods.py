"""The comparison of methods (examples/methods): its data, a run of it, and that what was run is not run again."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN = sys.argv.pop(1)
sys.path.insert(0, "examples/methods")
import compare  # noqa: E402
import data  # noqa: E402


class Methods(unittest.TestCase):
    def test_a_run_of_it(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-B", "examples/methods/compare.py", "--carrel", BIN + "/carrel", "--out", folder,
                       "--sets", "demo", "--methods", "base"]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"\| demo \| base, not tuned \|  \| 1\.\d{4} \|")
            with open(folder + "/results.jsonl") as results:
                found = [json.loads(line) for line in results]
            self.assertEqual([row["run"] for row in found], ["demo | base, not tuned | 0 | 1"])
            again = subprocess.run(command, capture_output=True, text=True, check=True)
            self.assertEqual(again.stdout, done.stdout[done.stdout.index("\n| data"):])
            rows = {name: data.read("%s/data/demo/%s.jsonl" % (folder, name)).splitlines() for name in (*data.SILOS, "pooled", "validation", "test")}
            self.assertEqual(sorted(rows["pooled"]), sorted(row for silo in data.SILOS for row in rows[silo]))
            self.assertFalse(set(rows["validation"]) & set(rows["test"]))
            self.assertFalse(set(rows["pooled"]) & set(rows["validation"] + rows["test"]))

    def test_every_method_has_settings_that_carrel_takes(self):
        model = compare.Model("examples/demo/model", 128)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-B", "examples/demo/make_data.py", "federation", folder], check=True)
            for silo, hospital in zip(data.SILOS, ["st-anne", "northfield", "lakeside"]):
                os.rename("%s/%s.jsonl" % (folder, hospital), "%s/%s.jsonl" % (folder, silo))
            for name, kind, own, rates in compare.methods(model):
                if kind == "eval":
                    continue
                path = folder + "/run.yaml"
                with open(path, "w") as file:
                    json.dump(compare.settings(model, folder, folder + "/run", kind, own, rates[0], 1), file)
                serve = ["--serve"] if kind == "split" or kind in compare.ROUNDS else []
                done = subprocess.run([BIN + "/carrel", "preflight", path, *serve], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, (name, done.stdout, done.stderr))


if __name__ == "__main__":
    unittest.main(verbosity=2)
