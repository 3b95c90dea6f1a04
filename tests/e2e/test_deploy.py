"""What lies in deploy/: Gramine's manifest template and systemd's units are held to what the programs are and need."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

sys.path.insert(0, "tests")
import enclave_image  # noqa: E402
import kernel_support  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.join(BIN, "carrel-enclave")
MEASURED = os.path.join(BIN, "tee", "carrel-enclave")
TEMPLATE = "deploy/gramine/carrel-enclave.manifest.template"
UNITS = "deploy/systemd"


def read(path):
    with open(path) as file:
        return file.read()


def ldd(program):
    """As Gramine's: the files of what the program is linked to."""
    return sorted(re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout))


def render(text, **values):
    """What gramine-manifest makes of a template that has no more than values, one kind of choice and lists of libraries."""
    def choose(match):
        first, _, second = match[2].partition("{% else %}\n")
        return first if values["role"] == match[1] else second

    def repeat(match):
        paths = eval("[path for path in %s]" % match[1], {"ldd": ldd, **values})  # Jinja's words for this are Python's
        return "".join(match[2].replace("{{ path }}", path) for path in paths)

    text = re.sub(r'{% if role == "(\w+)" %}\n(.*?){% endif %}\n', choose, text, flags=re.S)
    text = re.sub(r"{% for path in (.*?) %}\n(.*?){% endfor %}\n", repeat, text, flags=re.S)
    values.update({"gramine.libos": "/gramine/libsysdb.so", "gramine.runtimedir()": "/gramine/runtime/glibc"})
    return re.sub(r"{{ (.*?) }}", lambda match: values[match[1]], text)


class Manifest(unittest.TestCase):
    def setUp(self):
        values = {"program": MEASURED, "model": "/srv/model", "place": "/srv/place", "settings": "/srv/federation.yaml",
                  "enclave_size": "4G"}
        self.roles = {role: tomllib.loads(render(read(TEMPLATE), role=role, **values)) for role in ("serve", "join")}

    def test_trusts_the_libraries_that_the_program_has(self):
        of_gramine = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
        needed = {os.path.basename(path) for path in ldd(MEASURED)} - of_gramine
        self.assertLessEqual(enclave_image.libraries(MEASURED) - of_gramine, needed)
        for manifest in self.roles.values():
            trusted = [uri.removeprefix("file:") for uri in manifest["sgx"]["trusted_files"]]
            libraries = {path for path in trusted if ".so" in path and not path.startswith("/gramine/")}
            self.assertEqual({os.path.basename(path) for path in libraries}, needed)
            self.assertTrue(all(os.path.exists(path) for path in libraries), libraries)
            self.assertIn(MEASURED, trusted)
            self.assertIn("/srv/model/", trusted)

    def test_lets_the_host_decide_nothing(self):
        for role, manifest in self.roles.items():
            sgx, system = manifest["sgx"], manifest["sys"]
            self.assertEqual((sgx["debug"], sgx["remote_attestation"]), (False, "dcap"))
            self.assertEqual(manifest["loader"]["log_level"], "error")
            # Whatever Gramine calls insecure has its reason in the template.
            insecure = {key for table in (manifest["loader"], sgx, system, manifest["fs"]) for key in table if "insecure" in key}
            self.assertEqual(insecure, {"insecure__allow_eventfd"})
            self.assertEqual(sgx["allowed_files"], ["file:/srv/place/", "dev:/dev/shm/"])
            self.assertEqual("file:/srv/federation.yaml" in sgx["trusted_files"], role == "serve")
            self.assertNotIn("file_check_policy", sgx)

    def test_starts_the_program_with_options_that_it_has(self):
        for manifest in self.roles.values():
            self.assertEqual(manifest["libos"]["entrypoint"], "/carrel/carrel-enclave")
            argv = manifest["loader"]["argv"]
            mounts = {mount["path"]: mount["uri"] for mount in manifest["fs"]["mounts"]}
            for path in (word for word in argv if word.startswith("/")):
                self.assertTrue(any(path == mount or path.startswith(mount + "/") for mount in mounts), path)
            self.assertIn("/dev/shm", mounts)
            result = subprocess.run([MEASURED, *argv[1:-1], "/nonexistent"], input="nonsense\n", capture_output=True, text=True)
            self.assertRegex(result.stderr, r"^carrel: (that is no join token|/nonexistent: No such file)")


class Units(unittest.TestCase):
    NAMES = sorted(os.listdir(UNITS))

    def keys(self, name, key):
        return re.findall(r"^%s=(.*)$" % key, read(os.path.join(UNITS, name)), re.M)

    def test_start_the_programs_with_options_that_they_have(self):
        values = {"${MODEL}": "/nonexistent", "${DATA}": "/nonexistent", "${LISTEN}": "127.0.0.1:0", "$OPTIONS": "--threads 1",
                  "/etc/carrel/federation.yaml": "/nonexistent"}
        for name in self.NAMES:
            command, = self.keys(name, "ExecStart")
            for key, value in values.items():
                command = command.replace(key, value)
            program, *arguments = shlex.split(command)
            with tempfile.TemporaryDirectory() as folder:
                arguments = [word.replace("/var/lib/carrel-silo", folder) for word in arguments]
                result = subprocess.run([os.path.join(BIN, os.path.basename(program)), *arguments], input="nonsense\n",
                                        capture_output=True, text=True, timeout=60)
            self.assertRegex(result.stderr, r"that is no join token|/nonexistent.*: (No such file|not there)", name)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_are_read_by_systemd_and_leave_little_open(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name in self.NAMES:
                paths.append(os.path.join(folder, name))
                with open(paths[-1], "w") as file:
                    file.write(read(os.path.join(UNITS, name)).replace("/usr/local/bin", BIN))
            result = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            # systemd's own scale: 10 is no protection at all, "OK" is below 5.
            for path in paths:
                result = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", path],
                                        capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stdout[-2000:] + result.stderr)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_leave_the_trusted_program_its_own_protection(self):
        """It says the same of itself under the unit's system calls as without a unit, and trains to the same bytes."""
        for name in "carrel-server.service", "carrel-silo.service":
            calls = set()
            for line in self.keys(name, "SystemCallFilter"):
                found = set(kernel_support.expand(line.removeprefix("~")))
                calls = calls - found if line.startswith("~") else calls | found
            with tempfile.TemporaryDirectory() as folder:
                free = kernel_support.tune(self, PROGRAM, folder + "/free")
                held = kernel_support.tune(self, PROGRAM, folder + "/held", calls, kernel_support.EPERM)
            self.assertEqual({key: value for key, value in held[0][0].items() if key != "time"},
                             {key: value for key, value in free[0][0].items() if key != "time"})
            self.assertEqual(held[1], free[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
