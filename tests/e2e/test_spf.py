"""Sparse fine-tuning in real processes: killed it goes on to the same bytes, silos train the same places, and every
command takes the result."""
import json
import os
import signal
import subprocess
import unittest

from support import CARREL, DEMO, ENVIRONMENT, Folder, program, read, read_tensors, sentence, write_rows

RESULT = ["adapter_model.safetensors", "spf_model.safetensors", "spf_config.json"]


def places(directory):
    """The indices of a change, by name."""
    tensors = read_tensors(os.path.join(directory, "spf_model.safetensors"))
    return {name: data for name, (_, _, data) in tensors.items() if not name.endswith(".values")}


class Spf(Folder):
    def setUp(self):
        super().setUp()
        for name, rows in (("rows", 23), ("anne", 9), ("ben", 12)):
            write_rows(self.path(name + ".jsonl"), [sentence(i, 12) for i in range(rows)])

    def write(self, name, settings):
        with open(self.path(name), "w") as file:
            json.dump(dict({"model_name_or_path": DEMO, "method": "lora+spf", "threads": 1,
                            "spf": {"criterion": "fisher", "granularity": "element", "density": 0.02}}, **settings), file)
        return self.path(name)

    def test_killed_and_used(self):
        config = self.write("tune.yaml", {
            "data": {"train": self.path("rows.jsonl"), "eval": self.path("rows.jsonl"), "max_length": 64},
            "training": {"max_steps": 40, "per_device_train_batch_size": 8, "save_steps": 5, "logging_steps": 1}})
        self.succeeds("tune", config, "--json", "--set", "output_dir=" + self.path("whole"))
        killed = ["tune", config, "--json", "--set", "output_dir=" + self.path("killed")]
        with subprocess.Popen([CARREL, *killed], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "train.step" and event["step"] >= 12:
                    process.send_signal(signal.SIGKILL)
                    break
        events = [json.loads(line) for line in self.succeeds(*killed).splitlines()]
        self.assertIn("train.resumed", [event["event"] for event in events])
        for name in RESULT:
            self.assertEqual(read(self.path("whole", name)), read(self.path("killed", name)), name)

        told = json.loads(self.succeeds("inspect", self.path("whole"), "--json"))
        begun = next(event for event in events if event["event"] == "train.begin")
        self.assertEqual((told["kind"], told["granularity"], told["criterion"]), ("adapter", "element", "fisher"))
        self.assertEqual(told["changed_weights"] + told["values"], begun["trainable"])
        evaluated = next(event["loss"] for event in events if event["event"] == "train.eval")
        self.succeeds("merge", "--model", DEMO, "--adapter", self.path("whole"), "--output", self.path("merged"))
        for model in ((DEMO, "--adapter", self.path("whole")), (self.path("merged"),)):
            said = json.loads(self.succeeds("eval", "--model", *model, "--data", self.path("rows.jsonl"), "--json"))
            self.assertAlmostEqual(said["loss"], evaluated, delta=0.02)
        generate = ("generate", "--prompt", "after lunch", "--max-new-tokens", "8", "--dtype", "float32")
        self.assertEqual(self.succeeds(*generate, "--model", DEMO, "--adapter", self.path("whole")),
                         self.succeeds(*generate, "--model", self.path("merged")))
        self.assertIn("memory", self.succeeds("preflight", config, "--set", "output_dir=" + self.path("other")))

    def test_federation(self):
        settings = {"spf": {"criterion": "weight_l1", "granularity": "row", "density": 0.05}, "method": "spf",
                    "output_dir": self.path("together"),
                    "training": {"per_device_train_batch_size": 4, "learning_rate": 0.01},
                    "data": {"max_length": 64},
                    "federation": {"rounds": 2, "address": "127.0.0.1:0", "state_dir": self.path("server")},
                    "silos": [{"name": name, "data": self.path(name + ".jsonl"), "eval": self.path(name + ".jsonl")}
                              for name in ("anne", "ben")]}
        self.succeeds("simulate", self.write("together.yaml", settings))
        told = json.loads(self.succeeds("inspect", self.path("together"), "--json"))
        self.assertEqual((told["kind"], told["criterion"]), ("sparse change", "weight_l1"))
        told = json.loads(self.succeeds("inspect", self.path("together", "spf_config.json"), "--json"))
        self.assertEqual((told["kind"], told["criterion"], told["granularity"], told["density"]), ("spf_config", "weight_l1", "row", 0.05))
        # One silo alone would train the same places: the checkpoint decides.
        alone = {key: settings[key] for key in ("spf", "method", "training")}
        self.succeeds("tune", self.write("alone.yaml", dict(
            alone, output_dir=self.path("alone"), data={"train": self.path("ben.jsonl"), "max_length": 64})))
        self.assertEqual(places(self.path("together")), places(self.path("alone")))
        self.assertNotEqual(read(self.path("together", "spf_model.safetensors")), read(self.path("alone", "spf_model.safetensors")))
        # Of a split model the server's layers alone.
        self.succeeds("simulate", self.write("split.yaml", dict(settings, output_dir=self.path("split"), split={
            "activations": "float32", "layers": 4}, federation={"address": "127.0.0.1:0", "state_dir": self.path("split-server")})))
        self.assertEqual({name.split(".")[2] for name in places(self.path("split"))}, {"4", "5"})
        # A server has no data to calibrate on.
        settings["spf"]["criterion"] = "gradient"
        settings["output_dir"] = self.path("refused")
        refused = program("simulate", self.write("refused.yaml", settings))
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("which a federation's server has not when it begins (weight_l1 and random do without)", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
