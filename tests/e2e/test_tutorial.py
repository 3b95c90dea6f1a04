"""Runs the commands of docs/TUTORIAL.md and holds what they print against the page, so that the page stays true.

    python3 tests/e2e/test_tutorial.py build/bin            # compare
    python3 tests/e2e/test_tutorial.py build/bin --write    # put into the page what is printed now

The page's blocks of ```console hold commands behind a prompt and what they print. "$" is the reader's shell; "server$" and
"silo$" are two machines: network namespaces that this test makes and joins by a pair of virtual interfaces (which takes
root; without it that part is skipped). A command of "server$" that does not end by itself goes on while others run, and
what it prints is looked at when it has ended. What depends on machine and moment is compared as UNSTABLE says.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN = os.path.abspath(sys.argv.pop(1))
WRITE = "--write" in sys.argv
if WRITE:
    sys.argv.remove("--write")
PAGE = "docs/TUTORIAL.md"
ROOT = os.getcwd()
NETWORK = "carrel%d" % os.getpid()
ADDRESSES = {"server": "10.77.0.1", "silo": "10.77.0.2"}

# Lines that come now and then, by the clock.
PASSING = re.compile(r"^(step|round) \d+.*\b(left|is at step .*)$|^waiting: ")
# Parts that differ from machine to machine or from run to run.
UNSTABLE = [
    (r"carrel1\.[A-Za-z0-9_-]+", "TOKEN"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"(AMX|AVX-512|AVX2|no AVX2), \d+ threads", "PROCESSOR"),
    (r"[\d,.]+ tokens/s", "SPEED"),
    (r"\b[\d.]+ (s|ms|min|h)\b( ago)?", "DURATION"),
    (r"\b[\d.]+ (kB|MB|GB)\b", "SIZE"),
    (r"(weights|a step|what is trained) [\d.]+", r"\1 SIZE"),
    (r"(10\.77\.0\.2):\d+", r"\1:PORT"),
    (r"\.tfevents\.\S+", ".tfevents.N"),
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
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


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
    for name in ADDRESSES:
        subprocess.run(["ip", "netns", "del", "%s-%s" % (NETWORK, name)], capture_output=True)


class Tutorial(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        os.symlink(ROOT, os.path.join(self.temporary.name, "carrel"))
        self.shells = {}
        self.pending = None  # the command of server$ that goes on: (place in the page, expected lines)
        self.token = None
        with open(PAGE) as file:
            self.page = file.read()

    def tearDown(self):
        for shell in self.shells.values():
            shell.close()
        remove_network()
        self.temporary.cleanup()

    def shell(self, prompt):
        if prompt not in self.shells:
            folder = os.path.join(self.temporary.name, prompt) if prompt else self.temporary.name
            os.makedirs(folder, exist_ok=True)
            if prompt:
                os.symlink(ROOT, os.path.join(folder, "carrel"))
            machine = "server" if prompt.startswith("server") else prompt
            self.shells[prompt] = Shell(folder, ["ip", "netns", "exec", "%s-%s" % (NETWORK, machine)] if prompt else [])
        return self.shells[prompt]

    def look(self, command, expected, got):
        if WRITE:
            return [re.sub(r"carrel1\.\S+", "carrel1.TOKEN", line) for line in got if not PASSING.search(line)]
        if not agree(expected, got):
            self.fail("%s\n--- the page\n%s\n--- now\n%s" % (command, stable(expected), stable(got)))
        return expected

    def run_block(self, commands):
        """The block as it is now."""
        kept = []
        for prompt, command, expected in commands:
            if self.token and "carrel1." in command:
                spoken = re.sub(r"carrel1\.\S+", self.token, command)
            else:
                spoken = command
            # The second terminal on the server's machine shares its folder.
            shell = self.shell(prompt)
            shell.start(spoken)
            if command.startswith("carrel serve"):
                self.pending = (shell, command, expected)
                first = shell.line().rstrip("\n")  # it listens
                kept.append((prompt, command, expected))
                self.early = [first]
                continue
            got = shell.wait()
            for line in got:
                if line.startswith("carrel1."):
                    self.token = line.strip()
            kept.append((prompt, command, self.look(command, expected, got)))
        return kept

    def text_of(self, kept):
        text = ""
        for prompt, command, lines in kept:
            first, *rest = command.split("\n")
            text += "%s$ %s\n" % (prompt, first) + "".join("> %s\n" % line for line in rest) + "".join(line + "\n" for line in lines)
        return text

    def test_the_page_says_what_is_printed(self):
        networked = make_network()
        page, server_block = self.page, None
        for whole, commands in blocks(self.page):
            if any(prompt for prompt, _, _ in commands) and not networked:
                print("skipped: the part on two machines needs root and iproute2", file=sys.stderr)
                continue
            kept = self.run_block(commands)
            if self.pending and server_block is None:
                server_block = (whole, kept)
                continue
            page = page.replace(whole, self.text_of(kept))
        if self.pending:
            shell, command, expected = self.pending
            lines = self.look(command, expected, self.early + shell.wait())
            whole, kept = server_block
            kept = [(prompt, spoken, lines if spoken == command else old) for prompt, spoken, old in kept]
            page = page.replace(whole, self.text_of(kept))
        if WRITE:
            with open(PAGE, "w") as file:
                file.write(page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
