"""The trusted program as a thing to be measured: what it is made of, and what its host may see of it."""
import base64
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, "tests")
import enclave_image  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.join(BIN, "carrel-enclave")
FILES = ["--model", "none", "--data", "none"]  # of a silo that never comes so far as to open them


class Enclave(unittest.TestCase):
    def test_libraries_are_those_of_the_list(self):
        """What is built for TEEs has fewer, which tests/enclave_image.py sees to."""
        tpm = {"libtss2-esys.so.0", "libtss2-mu.so.0"}
        self.assertEqual(enclave_image.libraries(PROGRAM) - enclave_image.LIBRARIES - tpm, set())

    def test_calls_nothing_forbidden(self):
        names = enclave_image.symbols(PROGRAM)
        self.assertIn("SSL_read", names)
        self.assertEqual(names & enclave_image.FORBIDDEN, set())

    def test_is_no_image_for_a_tee(self):
        """The lists that an image is held against can tell one."""
        self.assertIn("development_make.c: has no place in what a TEE measures", enclave_image.faults(PROGRAM))

    def test_forbids_core_dumps(self):
        waiting = subprocess.Popen([PROGRAM, "join", "-", *FILES], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        limits = ""
        while not re.search(r"Max core file size +0 +0 ", limits):
            self.assertLess(time.monotonic(), deadline, limits)
            with open("/proc/%d/limits" % waiting.pid) as file:
                limits = file.read()
        _, error = waiting.communicate("nonsense\n")
        self.assertEqual(waiting.returncode, 2)
        self.assertEqual(error, 'carrel: that is no join token: one begins with "carrel2." (- reads it from standard input)\n')

    def test_is_hardened_before_it_reads_anything(self):
        ours, theirs = os.pipe()
        environment = dict(os.environ, CARREL_SECRET="a secret of the host's")
        waiting = subprocess.Popen([PROGRAM, "join", "-", *FILES], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=environment, pass_fds=[theirs])
        os.close(theirs)
        # What was handed to it by mistake it closes: we see the end, while it still waits for its token.
        self.assertEqual(os.read(ours, 1), b"")
        os.close(ours)
        self.assertIsNone(waiting.poll())
        with open("/proc/%d/status" % waiting.pid) as file:
            self.assertRegex(file.read(), r"NoNewPrivs:\t1\n")
        self.assertEqual(os.stat("/proc/%d/mem" % waiting.pid).st_uid, 0)  # not dumpable: root's
        waiting.communicate("nonsense\n")

    def test_ignores_the_configuration_of_openssl(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = b"127.0.0.1:%d" % closed.getsockname()[1]
        # By docs/PROTOCOL.md, not by our own writer.
        content = struct.pack("<BBQ32s32s32sB4sH", 2, 1, 1 << 40, b"F" * 32, b"J" * 32, b"S" * 32, 4, b"anne", len(address)) + address
        token = base64.urlsafe_b64encode(content + hashlib.sha256(content).digest()[:4]).decode().rstrip("=")
        with tempfile.TemporaryDirectory() as folder:
            hostile = os.path.join(folder, "openssl.cnf")
            with open(hostile, "w") as file:
                # A program that reads this has no algorithms.
                file.write("openssl_conf = start\n[start]\nproviders = p\n[p]\nbase = b\n[b]\nactivate = 1\n")
            environment = {"OMP_NUM_THREADS": "1", "OPENSSL_CONF": hostile}
            silo = subprocess.Popen([PROGRAM, "join", "carrel2." + token, "--state", folder + "/state", "--json", *FILES],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
            # It made a key, a TLS context and a connection, and waits for somebody to listen.
            event = json.loads(silo.stdout.readline())
            while event["event"].startswith("enclave."):
                event = json.loads(silo.stdout.readline())
            self.assertEqual(event["event"], "client.waiting")
            self.assertIn("Connection refused", event["message"])
            silo.terminate()
            _, error = silo.communicate(timeout=20)
            self.assertEqual(silo.returncode, 130, error)

    def train(self, folder, *settings):
        """A role in the middle of its work, with how it says it is hardened."""
        model = os.path.abspath("examples/demo/model")
        linked = os.path.join(folder, "snapshot")  # as a download lies in a cache
        os.mkdir(linked)
        for name in os.listdir(model):
            os.symlink(os.path.join(model, name), os.path.join(linked, name))
        with open(folder + "/rows.jsonl", "w") as rows:
            rows.write('{"text": "After lunch the doctor wrote"}\n' * 8)
        with open(folder + "/tune.yaml", "w") as config:
            json.dump({"model_name_or_path": linked, "output_dir": folder + "/out", "threads": 2,
                       "data": {"train": rows.name, "max_length": 32},
                       "training": {"max_steps": 1000000, "logging_steps": 1}}, config)
        process = subprocess.Popen([PROGRAM, "tune", config.name, "--json", *settings], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        hardened = json.loads(process.stdout.readline())
        self.assertEqual(hardened["event"], "enclave.hardened")
        for line in process.stdout:
            if json.loads(line)["event"] == "train.step":
                return process, hardened
        self.fail(process.stderr.read())

    def test_says_what_is_in_force(self):
        with tempfile.TemporaryDirectory() as folder:
            process, hardened = self.train(folder)
            for thread in os.listdir("/proc/%d/task" % process.pid):
                with open("/proc/%d/task/%s/status" % (process.pid, thread)) as file:
                    status = file.read()
                self.assertRegex(status, r"NoNewPrivs:\t1\n")
                self.assertRegex(status, r"Seccomp:\t%d\n" % (2 * hardened["seccomp"]))
            self.assertEqual("seccomp" in hardened["message"], bool(hardened["seccomp"]))
            self.assertEqual("Landlock ABI %d" % hardened["landlock"] in hardened["message"], hardened["landlock"] > 0)
            process.terminate()
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, error)

    def test_even_root_reads_no_secret_page(self):
        if os.geteuid() != 0:
            self.skipTest("who is not root reads no page at all")
        with tempfile.TemporaryDirectory() as folder:
            process, hardened = self.train(folder)
            if hardened["secrets"] != "memfd_secret":
                self.skipTest("no memfd_secret here")
            secret = readable = 0
            with open("/proc/%d/maps" % process.pid) as maps, open("/proc/%d/mem" % process.pid, "rb") as memory:
                for line in maps:
                    first, last = (int(at, 16) for at in line.split()[0].split("-"))
                    if first >> 47:  # the kernel's
                        continue
                    try:
                        memory.seek(first)
                        memory.read(1)
                        readable += 1
                        self.assertNotIn("secretmem", line)
                    except OSError:
                        if "secretmem" in line:
                            secret += last - first
            # Values, gradients and two moments of the 21,504 that are trained, at least.
            self.assertGreater(secret, 4 * 4 * 21504)
            self.assertGreater(readable, 10)  # so that this can fail

    def test_a_silo_names_its_files(self):
        """No job does: it could name any file of the silo's user."""
        for given, missing in (([], "--model DIR"), (FILES[:2], "--data FILE"), (FILES[2:], "--model DIR")):
            result = subprocess.run([PROGRAM, "join", "-", *given], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stderr), (2, "carrel: %s is missing\n" % missing))

    def test_has_no_other_role(self):
        usage = "usage: carrel-enclave tune|serve|join ... (each has --help)\n"
        for arguments in ([], ["generate"]):
            result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (2, "", "carrel: " + usage))
        for asked in ("--help", "-h"):
            result = subprocess.run([PROGRAM, asked], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, usage, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
