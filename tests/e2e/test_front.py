"""The clear front between real processes: what is asked of whom, how often, and who is refused."""
import json
import os
import re
import shutil
import struct
import subprocess
import unittest

from accelerator_support import Accelerated
from support import CARREL, DEMO, sentence, write_rows

LAYERS, FIRST, EXAMPLES, BATCH, EPOCHS = 6, 5, 20, 4, 3
STEPS = EPOCHS * EXAMPLES // BATCH


class Front(Accelerated):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, cls.other = cls.hire("unix:" + os.path.join(cls.folder, "other.sock"))
        cls.rows = {}
        for name, first in ("train", 0), ("eval", 3):
            cls.rows[name] = os.path.join(cls.folder, name + ".jsonl")
            write_rows(cls.rows[name], [sentence(i, 5 + i % 4) for i in range(first, first + EXAMPLES)])
        cls.config = os.path.join(cls.folder, "tune.yaml")
        with open(cls.config, "w") as config:
            json.dump({"model_name_or_path": DEMO, "dtype": "float32", "threads": 1,
                       "data": {"train": cls.rows["train"], "eval": cls.rows["eval"], "max_length": 32},
                       "lora": {"target_modules": ["all-linear"], "layers_to_transform": [FIRST]},
                       "slicing": {"pads": "enclave", "accelerators": [cls.honest]},
                       "training": {"num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH,
                                    "learning_rate": 0.01, "logging_steps": 1}}, config)

    def tune(self, own, *more, code=0, front="local"):
        settings = ["output_dir=" + self.output, "slicing.clear_front=" + front, *more]
        if own:
            settings.append("slicing.own_accelerator=" + own)
        done = subprocess.run([CARREL, "tune", self.config, "--json", *(part for setting in settings for part in ("--set", setting))],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        if code == 0:
            with open(os.path.join(self.output, "adapter_model.safetensors"), "rb") as file:
                self.adapter = file.read()
        shutil.rmtree(self.output, ignore_errors=True)
        return done.stderr, [json.loads(line) for line in done.stdout.splitlines()]

    @staticmethod
    def named(events, name):
        return [event for event in events if event["event"] == name]

    def test_what_lies_below_is_asked_for_once_and_the_rest_is_less(self):
        _, without = self.tune(None, front="none")
        expected = self.adapter
        address = self.hostile()
        _, events = self.tune(address)
        self.assertEqual(self.adapter, expected)
        for name, count in ("train.step", STEPS), ("train.eval", 1):
            pairs = list(zip(self.named(events, name), self.named(without, name), strict=True))
            self.assertEqual(len(pairs), count)
            for with_front, masked in pairs:
                self.assertEqual(with_front["loss"], masked["loss"])
        # Each example once, over three epochs, and each of the evaluation; nothing of them is a product.
        sequences = [tuple(tokens) for layers, asked in self.proxy.fronts for tokens in asked if layers == FIRST]
        self.assertEqual(len(sequences), 2 * EXAMPLES)
        self.assertEqual(self.proxy.products, 0)
        told, masked = self.named(events, "train.slicing")[0], self.named(without, "train.slicing")[0]
        self.assertEqual((told["front_layers"], told["front_examples"]), (FIRST, EXAMPLES))
        self.assertGreaterEqual(told["front_checked"], 1)
        self.assertNotIn("front_layers", masked)
        # Of a micro-batch's products there and back: six layers and the head there, the head and all but the first
        # product of the last layer back.
        whole, part = 4 * LAYERS + 1 + 1 + 3, 4 * (LAYERS - FIRST) + 1 + 1 + 3
        self.assertEqual((masked["products"], told["products"]), (2 * STEPS * whole, 2 * STEPS * part))
        self.assertLess(told["pads_used"], masked["pads_used"] * (part + 1) / whole)
        self.assertEqual(told["pads_used"], told["rows_verified"])
        told = self.named(events, "train.front")[0]
        self.assertEqual(told["message"], "the clear front ends before layer 5 of 6: %s, this silo's own, computes what lies below "
                         "it once for each example, unmasked" % address)
        print("%d products and %d pads with the front, %d and %d without" % (
            self.named(events, "train.slicing")[0]["products"], self.named(events, "train.slicing")[0]["pads_used"],
            masked["products"], masked["pads_used"]))

    def test_below_pads_that_peers_make(self):
        """One of the peers is the silo's own, and computes the front as well."""
        peers = ("slicing.pads=peer", 'slicing.accelerators=["%s", "%s"]' % (self.other, self.honest))
        _, without = self.tune(None, *peers, front="none")
        expected = self.adapter
        _, events = self.tune(self.honest, *peers)
        self.assertEqual(self.adapter, expected)
        told, masked = (self.named(of, "train.slicing")[0] for of in (events, without))
        self.assertEqual((told["front_layers"], told["front_examples"]), (FIRST, EXAMPLES))
        self.assertLess(told["pads_used"], masked["pads_used"] / 3)

    def test_for_a_person_the_last_line_says_where_it_ends(self):
        done = subprocess.run([CARREL, "tune", self.config, "--set", "output_dir=" + self.output, "--set", "slicing.clear_front=local",
                               "--set", "slicing.own_accelerator=" + self.honest], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"(?m)^slicing: .*; the clear front ends before layer 5: 20 examples asked for once, "
                         r"\d+ of them computed again$")

    def test_a_front_that_lies_is_found(self):
        def lie(stream):
            values = stream.cast("f")
            for i in range(0, len(values), 128):
                values[i] += 0.05 * abs(values[i]) + 0.05

        address = self.hostile(lie_front=lie)
        error, events = self.tune(address, code=4)
        self.assertRegex(error, r"^carrel: training step 1: accelerator %s: a clear front of 5 layers is not what this process "
                         r"computes of the same tokens \(row \d+ of \d+; the run ends here\)\n$" % re.escape(address))
        self.assertFalse(self.named(events, "train.step"))

        def spoil(stream):
            stream[:4] = struct.pack("<f", float("nan"))

        error, _ = self.tune(self.hostile(lie_front=spoil), code=4)
        self.assertIn("row 0 of a clear front holds NaN or infinity", error)

    def test_texts_go_to_nobody_whose_accelerator_it_is_not(self):
        for own, sentence in (
                (None, "slicing.clear_front: local sends texts to an accelerator in the clear: name one that is your own"),
                ("127.0.0.1:7424", "slicing.own_accelerator: 127.0.0.1:7424: texts go in the clear to a unix socket of this machine alone")):
            error, events = self.tune(own, code=2)
            self.assertIn(sentence, error)
            self.assertFalse(events and self.named(events, "train.begin"))
        error, _ = self.tune(self.honest, code=2, front="none")
        self.assertIn("slicing.own_accelerator: only with slicing.clear_front: local", error)

    def test_where_the_first_layer_is_adapted_nothing_is_asked(self):
        address = self.hostile()
        _, events = self.tune(address, "lora.layers_to_transform=[0,5]", "training.max_steps=2")
        self.assertIn("the clear front is empty", self.named(events, "train.front")[0]["message"])
        self.assertEqual((self.proxy.connections, self.proxy.fronts), (0, []))
        self.assertNotIn("front_layers", self.named(events, "train.slicing")[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
