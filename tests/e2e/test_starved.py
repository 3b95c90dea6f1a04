"""Memory that runs out, at allocation after allocation (starve.c): a run goes on all the same, or ends with one clear
error, and then the same command goes on to the same bytes.

    test_starved.py BIN STARVE.so           some of the allocations
    test_starved.py BIN STARVE.so --every   every one
"""
import base64
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

from preloaded import EVERY, LIBRARY
from federation_support import make_base  # which takes the programs' folder from sys.argv
from support import CARREL, ENVIRONMENT, read

# A row that is taken for a bad one would be passed over, and the result another.
TUNE = ("model_name_or_path: {base}/model\noutput_dir: {out}\ndtype: float32\nthreads: 1\n"
        "lora: {{target_modules: all-linear}}\ndata: {{max_length: 64, train: {base}/anne.jsonl, max_bad_rows: 2}}\n"
        "training: {{per_device_train_batch_size: 4, learning_rate: 0.01, max_steps: 4, save_steps: 1}}\n")


class Starved(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="carrel-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.base)
        make_base(cls.base)
        cls.out = cls.base + "/out"
        cls.config = cls.base + "/tune.yaml"
        with open(cls.config, "w") as file:
            file.write(TUNE.format(base=cls.base, out=cls.out))

    def run_with(self, command, program, at, on=False):
        environment = dict(ENVIRONMENT, LD_PRELOAD=LIBRARY, STARVE_PROGRAM=program, STARVE_AT=str(at))
        if on:
            environment["STARVE_ON"] = "1"
        return subprocess.run([CARREL, *command], env=environment, capture_output=True, text=True, timeout=60)

    def starve(self, command, program, step, result):
        """At one allocation of every `step`, until there are no more; `result` is what a run comes to."""
        expected = result(self.run_with(command, program, 0))
        ended = at = 0
        while True:
            at += 1 if EVERY else step
            for name in "out", "out.run":
                shutil.rmtree(os.path.join(self.base, name), ignore_errors=True)
            # At every other one all after it are refused as well: telling of an error is to take no memory.
            run = self.run_with(command, program, at, on=ended % 2 == 1)
            what = "allocation %d of %s: %d, %s" % (at, program, run.returncode, run.stderr)
            if run.returncode == 0:
                self.assertEqual(result(run), expected, what)
                if "starved\n" not in run.stderr:
                    break
                continue
            ended += 1
            self.assertEqual(run.returncode, 1, what)
            self.assertRegex(run.stderr, r"(\A|\n)carrel: [^\n]+\n\Z", what)
            self.assertNotRegex(run.stderr, "signal|left no word", what)
            self.assertEqual(result(self.run_with(command, program, 0)), expected, what)
        print("%s %s: %d ended with an error, of %d allocations" % (program, command[0], ended, at), flush=True)
        self.assertGreater(ended, 3)

    def adapter(self, run):
        return read(self.out + "/adapter_model.safetensors")

    def test_a_tune_that_no_memory_is_left_for_goes_on(self):
        self.starve(["tune", self.config], "carrel-enclave", 311, self.adapter)

    def test_who_shows_it_neither(self):
        self.starve(["tune", self.config], "carrel", 61, self.adapter)

    def test_an_evaluation_is_right_or_fails(self):
        self.starve(["eval", "--model", self.base + "/model", "--data", self.base + "/ben.jsonl", "--threads", "1",
                     "--max-bad-rows", "2"], "carrel", 201, lambda run: run.stdout)

    def test_a_status_leaves_nothing_out(self):
        self.starve(["status", self.base + "/model"], "carrel", 3, lambda run: run.stdout)

    def test_a_token_is_not_damaged_for_it(self):
        content = struct.pack("<BBQ32s32s32sB4sH11s", 2, 1, 1 << 40, b"F" * 32, b"J" * 32, b"S" * 32, 4, b"anne", 11,
                              b"127.0.0.1:1")
        whole = base64.urlsafe_b64encode(content + hashlib.sha256(content).digest()[:4]).decode()
        token = "carrel2." + whole.rstrip("=")
        self.starve(["inspect", token], "carrel", 1, lambda run: run.stdout)

    def test_rows_are_not_wrong_for_it(self):
        self.starve(["inspect", self.base + "/ben.jsonl"], "carrel", 13, lambda run: run.stdout)


if __name__ == "__main__":
    unittest.main()
