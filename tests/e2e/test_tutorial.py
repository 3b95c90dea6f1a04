"""Runs the commands of docs/TUTORIAL.md and holds what they print against the page, so that the page stays true.

    python3 tests/e2e/test_tutorial.py build/bin            # compare
    python3 tests/e2e/test_tutorial.py build/bin --write    # put into the page what is printed now

The page's blocks of ```console hold commands behind a prompt and what they print. "$" is the reader's shell; "server$" and
"silo$" are two machines: network namespaces that this test makes and joins by a pair of virtual interfaces. That takes root
and iproute2; without them both run on loopback, with another address and port, and the part counts as skipped. A command of "server$" that does not end by itself goes on while others run, and
what it prints is looked at when it has ended. What depends on machine and moment is compared as UNSTABLE says.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

BIN = os.path.abspath(sys.argv.pop(1))
WRITE = "--write" in sys.argv
if WRITE:
    sys.argv.remove("--write")
PAGE = "docs/TUTORIAL.md"
ROOT = os.getcwd()
NETWORK = "carrel%d" % os.getpid()
MACHINES = ("server", "silo")
PATIENCE = 300  # seconds, after which what still runs is ended and the test fails

# Lines that come now and then, by the clock, on some machines, or in containers.
PASSING = re.compile(r"^(step|round) \d+.*\b(left|is at step .*)$|^waiting: |^warning: this (kernel|build|processor) |^ok +limits ")
# Parts that differ from machine to machine or from run to run.
UNSTABLE = [
    (r"carrel2\.[A-Za-z0-9_-]+", "TOKEN"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"(ok     |warning)  processor .*", "PROCESSOR"),
    (r"of \d+ checks failed", "of CHECKS failed"),
    (r"[\d,.]+ tokens/s", "SPEED"),
    (r"\b[\d.]+ (s|ms|min|h)( [\d.]+ (s|min))?\b( ago)?", "DURATION"),
    (r"\b[\d.]+ (kB|MB|GB)\b", "SIZE"),
    (r"(weights|a step|what is trained|data) [\d.]+", r"\1 SIZE"),
    (r"from [\d.]+:\d+", "from SILO"),
    (r"\.tfevents\.\S+", ".tfevents.N"),
    (r"hardened: .*", "HARDENED"),
    (r"\(?[\d.]+e-\d+ before rounding\)?", "ROUNDING"),
]
NUMBER = re.compile(r"\d+\.\d+")


def blocks(text):
    """[(whole block, [(prompt, command, output), ...]), ...]; a command goes on in lines that begin with '> '."""
    found = []
    for match in re.finditer(r"^```console\n(.*?)^```$", text, re.S | re.M):
        commands = []
        for line in match[1].splitlines():
            start = re.match(r"(\w*)\$ (.*)", line)
            if start:
                commands.append([start[1], start[2], []])
            elif line.startswith("> ") and not commands[-1][2]:
                commands[-1][1] += "\n" + line[2:]
            else:
                commands[-1][2].append(line)
        found.append((match[1], commands))
    return found


def text_of(prompt, command, lines):
    return "%s$ %s\n" % (prompt, command.replace("\n", "\n> ")) + "".join(line + "\n" for line in lines)


def stable(lines):
    lines = [line.rstrip() for line in lines if not PASSING.search(line)]
    text = "\n".join(lines).strip()
    for pattern, replacement in UNSTABLE:
        text = re.sub(pattern, replacement, text)
    return text


def agree(expected, got):
    """Equal words; numbers with a fraction within a tenth, since instruction sets sum in different orders."""
    expected, got = stable(expected), stable(got)
    if NUMBER.sub("#", expected) != NUMBER.sub("#", got):
        return False
    return all(abs(float(a) - float(b)) <= max(0.1 * abs(float(a)), 0.02)
               for a, b in zip(NUMBER.findall(expected), NUMBER.findall(got)))


class Shell:
    """A bash that keeps its directory and variables from command to command."""

    def __init__(self, folder, prefix=()):
        environment = dict(os.environ, HOME=folder, PATH=BIN + ":" + os.environ["PATH"], LC_ALL="C.UTF-8", COLUMNS="120")
        self.process = subprocess.Popen([*prefix, "bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True)
        self.marks = 0

    def start(self, command):
        self.marks += 1
        self.process.stdin.write(command + "\necho; echo carrel-tutorial-mark-%d\n" % self.marks)
        self.process.stdin.flush()

    def wait(self):
        lines = []
        for line in self.process.stdout:
            if line == "carrel-tutorial-mark-%d\n" % self.marks:
                if lines and not lines[-1].strip():
                    lines.pop()
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError("the shell ended: " + "\n".join(lines[-5:]))

    def line(self):
        return self.process.stdout.readline()

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # with all that it started
        except ProcessLookupError:
            pass
        self.process.wait()


def make_network():
    """Two namespaces and a wire between them; False where this machine or user cannot."""
    commands = ["ip netns add {n}-server", "ip netns add {n}-silo",
                "ip -n {n}-server link add wire type veth peer name wire netns {n}-silo",
                "ip -n {n}-server addr add 10.77.0.1/24 dev wire", "ip -n {n}-silo addr add 10.77.0.2/24 dev wire",
                "ip -n {n}-server link set wire up", "ip -n {n}-silo link set wire up",
                "ip -n {n}-server link set lo up", "ip -n {n}-silo link set lo up"]
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    return all(subprocess.run(command.format(n=NETWORK).split(), capture_output=True).returncode == 0 for command in commands)


def remove_network():
    if not shutil.which("ip"):
        return
    for name in MACHINES:
        subprocess.run(["ip", "netns", "del", "%s-%s" % (NETWORK, name)], capture_output=True)


def loopback():
    """The page's words as they are on this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [("s/advertise", "s/address: .*/address: 0.0.0.0:%d/; s/advertise" % port),
            ("10.77.0.1:7423", "127.0.0.1:%d" % port), ("0.0.0.0:7423", "0.0.0.0:%d" % port)]


class Tutorial(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.shells = {}
        self.networked = False
        self.elsewhere = []  # (the page's words, what they are here)
        self.token = None
        self.server = None  # the command that goes on: (its block, its place in it, its first lines)
        self.watch = threading.Timer(PATIENCE, self.close)
        self.watch.start()
        with open(PAGE) as file:
            self.page = file.read()

    def close(self):
        for shell in self.shells.values():
            shell.close()

    def tearDown(self):
        self.watch.cancel()
        self.close()
        for shell in self.shells.values():
            shell.process.stdin.close()
            shell.process.stdout.close()
        self.temporary.cleanup()

    def shell(self, prompt):
        if prompt not in self.shells:
            folder = os.path.join(self.temporary.name, prompt or "alone")
            os.makedirs(folder)
            os.symlink(ROOT, os.path.join(folder, "carrel"))
            inside = ["ip", "netns", "exec", "%s-%s" % (NETWORK, prompt)] if prompt and self.networked else []
            self.shells[prompt] = Shell(folder, inside)
        return self.shells[prompt]

    def spoken(self, text):
        for page, here in self.elsewhere:
            text = text.replace(page, here)
        return re.sub(r"carrel2\.\S+", self.token, text) if self.token else text

    def look(self, command, expected, got):
        """The lines that the page is to have."""
        for page, here in self.elsewhere:
            got = [line.replace(here, page) for line in got]
        if WRITE:
            return [re.sub(r"carrel2\.\S+", "carrel2.TOKEN", line) for line in got if not PASSING.search(line)]
        if not agree(expected, got):
            self.fail("%s\n--- the page\n%s\n--- now\n%s" % (command, stable(expected), stable(got)))
        return expected

    def run_command(self, block, place):
        prompt, command, expected = block[place]
        shell = self.shell(prompt)
        shell.start(self.spoken(command))
        if command.startswith("carrel serve"):
            lines = [shell.line().rstrip("\n")]
            while lines[-1] and not lines[-1].startswith("listening"):
                lines.append(shell.line().rstrip("\n"))
            self.server = (block, place, lines)
            return
        got = shell.wait()
        self.token = next((line.strip() for line in got if line.startswith("carrel2.")), self.token)
        block[place][2] = self.look(command, expected, got)

    def run_blocks(self, wanted):
        found = [(whole, block) for whole, block in blocks(self.page) if bool(block[0][0]) == wanted]
        for _, block in found:
            for place in range(len(block)):
                self.run_command(block, place)
        if self.server:
            block, place, lines = self.server
            prompt, command, expected = block[place]
            block[place][2] = self.look(command, expected, lines + self.shell(prompt).wait())
        for whole, block in found:
            self.page = self.page.replace(whole, "".join(text_of(*command) for command in block))
        if WRITE:
            with open(PAGE, "w") as file:
                file.write(self.page)

    def test_alone(self):
        self.run_blocks(False)

    def test_with_others(self):
        self.networked = make_network()
        self.addCleanup(remove_network)
        if not self.networked:
            self.elsewhere = loopback()
        self.run_blocks(True)
        if not self.networked:
            self.skipTest("no network namespaces here: server and silo ran on loopback")


if __name__ == "__main__":
    unittest.main(verbosity=2)
