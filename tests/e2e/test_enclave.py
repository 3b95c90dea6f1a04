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

BIN = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.join(BIN, "carrel-enclave")

# A library is one more thing to trust: adding one is a decision, made here.
LIBRARIES = {
    "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1", "libgomp.so.1",  # the platform
    "libcrypto.so.3", "libssl.so.3",  # crypto/, channel/
    "libevent_core-2.1.so.7", "libprotobuf-c.so.1",  # channel/
    "libjansson.so.4", "libyaml-0.so.2",  # format/
    "libpcre2-8.so.0", "libutf8proc.so.2",  # text/
    "libdnnl.so.2",  # tensor/
}

# What starts programs, loads code, or resolves names behind our back has no place in it.
FORBIDDEN = {"system", "popen", "execv", "execve", "execvp", "execl", "fork", "vfork", "posix_spawn", "posix_spawnp", "dlopen",
             "dlsym", "getenv", "secure_getenv", "gets", "tmpnam", "mktemp", "rand", "srand", "random"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Enclave(unittest.TestCase):
    def test_libraries_are_those_of_the_list(self):
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", PROGRAM)))
        self.assertEqual(needed - LIBRARIES, set())

    def test_calls_nothing_forbidden(self):
        names = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--undefined-only", PROGRAM).splitlines()}
        self.assertIn("SSL_read", names)
        self.assertEqual(names & FORBIDDEN, set())

    def test_forbids_core_dumps(self):
        waiting = subprocess.Popen([PROGRAM, "join", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        limits = ""
        while not re.search(r"Max core file size +0 +0 ", limits):
            self.assertLess(time.monotonic(), deadline, limits)
            with open("/proc/%d/limits" % waiting.pid) as file:
                limits = file.read()
        _, error = waiting.communicate("nonsense\n")
        self.assertEqual(waiting.returncode, 2)
        self.assertEqual(error, 'carrel: that is no join token: one begins with "carrel1."\n')

    def test_is_hardened_before_it_reads_anything(self):
        ours, theirs = os.pipe()
        environment = dict(os.environ, CARREL_SECRET="a secret of the host's")
        waiting = subprocess.Popen([PROGRAM, "join", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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
        content = struct.pack("<BBQ32s32sB4sH", 1, 1, 1 << 40, b"F" * 32, b"S" * 32, 4, b"anne", len(address)) + address
        token = base64.urlsafe_b64encode(content + hashlib.sha256(content).digest()[:4]).decode().rstrip("=")
        with tempfile.TemporaryDirectory() as folder:
            hostile = os.path.join(folder, "openssl.cnf")
            with open(hostile, "w") as file:
                # A program that reads this has no algorithms.
                file.write("openssl_conf = start\n[start]\nproviders = p\n[p]\nbase = b\n[b]\nactivate = 1\n")
            environment = {"OMP_NUM_THREADS": "1", "OPENSSL_CONF": hostile}
            silo = subprocess.Popen([PROGRAM, "join", "carrel1." + token, "--state", folder + "/state", "--json"],
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

    def test_has_no_other_role(self):
        for arguments in ([], ["generate"], ["--help"]):
            result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
            self.assertEqual(result.returncode, 2)
            self.assertIn("usage: carrel-enclave tune|serve|join", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
