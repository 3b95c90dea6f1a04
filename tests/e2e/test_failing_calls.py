"""Calls of the system that fail, or take a single byte (fail_call.c): a command ends with its result all the same, or
with one clear error, and then the same command comes to the same.

    test_failing_calls.py BIN FAIL_CALL.so           a few of the calls
    test_failing_calls.py BIN FAIL_CALL.so --every   every one
"""
import errno
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest

from preloaded import EVERY, LIBRARY
from federation_support import make_base  # which takes the programs' folder from sys.argv
from support import CARREL, ENVIRONMENT, files_in

SAMPLE = 2
DATA = os.path.join(os.environ.get("CARREL_DATA", "../shared/data"), "attestation")
KINDS = {"open": [errno.EMFILE, errno.EIO], "read": [errno.EIO, errno.EINTR, 0], "write": [errno.ENOSPC, errno.EINTR, 0],
         "list": [errno.EIO], "sync": [errno.EIO], "name": [errno.EIO], "map": [errno.ENOMEM], "thread": [errno.EAGAIN]}
TUNE = ("model_name_or_path: {base}/model\noutput_dir: out\ndtype: float32\nthreads: 2\nlora: {{target_modules: all-linear}}\n"
        "data: {{max_length: 64, train: {base}/anne.jsonl}}\n"
        "training: {{per_device_train_batch_size: 4, learning_rate: 0.01, max_steps: 2, save_steps: 1}}\n")


class FailingCalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="carrel-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.base)
        make_base(cls.base)
        with open(cls.base + "/tune.yaml", "w") as file:
            file.write(TUNE.format(base=cls.base))
        cls.place = cls.base + "/place"
        cls.clear()
        cls.run_with(["tune", cls.base + "/tune.yaml"])
        shutil.copytree(cls.place + "/out", cls.base + "/adapter")

    @classmethod
    def clear(cls):
        shutil.rmtree(cls.place, ignore_errors=True)
        os.mkdir(cls.place)

    @classmethod
    def run_with(cls, command, program="", kind="", at=0, error=0):
        environment = dict(ENVIRONMENT, LD_PRELOAD=LIBRARY, FAIL_PROGRAM=program, FAIL_KIND=kind, FAIL_AT=str(at),
                           FAIL_ERRNO=str(error))
        return subprocess.run([CARREL, *command], env=environment, cwd=cls.place, capture_output=True, text=True, timeout=60)

    def result(self, run, of):
        return run.stdout, files_in(self.place + "/" + of) if of else None

    def break_calls(self, program, command, of=None, kinds=KINDS, sample=SAMPLE):
        """`of` is what it makes; a command that makes nothing is told by what it says."""
        draw = random.Random(1)
        failed = 0
        self.clear()
        expected = self.result(self.run_with(command), of)
        for kind in kinds:
            self.clear()
            counted = self.run_with(command, program, kind)
            self.assertEqual(counted.returncode, 0, counted.stderr)
            calls = range(1, int(re.search(r"^calls (\d+)$", counted.stderr, re.M).group(1)) + 1)
            for error in KINDS[kind]:
                for at in calls if EVERY else sorted(draw.sample(calls, min(sample, len(calls)))):
                    self.clear()
                    run = self.run_with(command, program, kind, at, error)
                    what = "%s: %s %d fails with %d: %d, %s" % (command[0], kind, at, error, run.returncode, run.stderr)
                    if run.returncode != 0:
                        failed += 1
                        self.assertIn(run.returncode, (1, 3), what)
                        self.assertRegex(run.stderr, r"(\A|\n)carrel: [^\n]+\n\Z", what)
                        self.assertNotRegex(run.stderr, "signal|left no word", what)
                        if "cannot be synced" in run.stderr:
                            continue  # what was made may be there, and some commands replace nothing
                        run = self.run_with(command)
                    self.assertEqual((run.returncode, self.result(run, of)), (0, expected), what)
        self.assertGreater(failed, 3)

    def test_tune(self):
        self.break_calls("carrel-enclave", ["tune", self.base + "/tune.yaml"], "out")

    def test_who_shows_it(self):
        self.break_calls("carrel", ["tune", self.base + "/tune.yaml"], "out")

    def test_merge(self):
        self.break_calls("carrel", ["merge", "--model", self.base + "/model", "--adapter", self.base + "/adapter",
                                    "--output", "merged"], "merged")

    def test_eval(self):
        self.break_calls("carrel", ["eval", "--model", self.base + "/model", "--data", self.base + "/ben.jsonl",
                                    "--threads", "2"])

    def test_a_tokenizer(self):
        self.break_calls("carrel", ["tokenizer", "train", "--vocab-size", "290", "--output", "made",
                                    self.base + "/ben.jsonl"], "made")

    @unittest.skipUnless(os.path.isdir(DATA), "third-party data not found at %s: set CARREL_DATA" % DATA)
    def test_no_evidence_is_refused_for_it(self):
        self.break_calls("carrel", ["verify", os.path.abspath(DATA + "/sgx-v3/automata_quotev3.hex"), "--endorsements",
                                    os.path.abspath(DATA), "--time", "2025-08-20T00:00:00Z"], kinds=("map", "list"), sample=16)


if __name__ == "__main__":
    unittest.main()
