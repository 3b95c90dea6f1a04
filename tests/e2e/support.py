"""What tests of the programs share: how one is run, what a process is doing, files of texts and of tensors,
and a folder for each test."""
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.path.abspath(sys.argv.pop(1))
CARREL = os.path.join(BIN, "carrel")
DEMO = os.path.abspath("examples/demo/model")  # six layers
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")


def program(*arguments, text=True, **options):
    return subprocess.run([CARREL, *arguments], env=ENVIRONMENT, capture_output=True, text=text, timeout=300, **options)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def files_in(folder):
    """What the files of a folder hold."""
    return {name: read(os.path.join(folder, name)) for name in os.listdir(folder)}


def sentence(number, length):
    """So many words, in another order for each number."""
    words = "after lunch the doctor wrote to her sister about rain".split()
    return " ".join(words[(number * k + k) % 10] for k in range(length))


def write_rows(path, rows):
    with open(path, "w") as file:
        for row in rows:
            file.write(json.dumps({"text": row}) + "\n")


def read_tensors(path):
    """A file of safetensors as {name: (dtype, shape, bytes)}."""
    data = read(path)
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_tensors(path, tensors):
    header, size = {}, 0
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [size, size + len(values)]}
        size += len(values)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(values for _, _, values in tensors.values())


def floats(tensor):
    """The values of a tensor as read_tensors gives it."""
    dtype, _, data = tensor
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
    return struct.unpack("<%d%s" % ((len(data) // 2, "e") if dtype == "F16" else (len(data) // 4, "f")), data)


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def arguments(pid):
    return read("/proc/%d/cmdline" % pid).decode().split("\0")[:-1]


def gone(pid):
    """Ended, with all threads, even if nobody has asked how."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] in "ZX" and len(os.listdir("/proc/%d/task" % pid)) < 2
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition, what, seconds=60):
    """What the condition comes to once it is true of something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.005)
    return found


def memory_of(pid):
    """What a dump of a process would hold; a sanitizer's own memory, terabytes of nothing, aside."""
    parts = []
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for line in maps:
            begin, end, flags = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
            begin, end = int(begin, 16), int(end, 16)
            if flags[0] != "r" or "[v" in line or "/secretmem" in line:  # which nobody else can read
                continue
            at = begin if end - begin < 1 << 32 else end
            while at < end:
                memory.seek(at)
                try:
                    parts.append(memory.read(end - at))
                except OSError:
                    parts.append(bytes(mmap.PAGESIZE))  # below a stack glibc 2.42 has pages that nobody can read
                at += len(parts[-1])
    return b"".join(parts)


class Folder(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="carrel-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def carrel(self, *arguments, **options):
        return program(*arguments, **options)

    def succeeds(self, *arguments, **options):
        result = self.carrel(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def fails(self, code, sentence, *arguments):
        result = self.carrel(*arguments)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertIn(sentence, result.stderr)
        self.assertRegex(result.stderr, r"\A[^\n]+\n\Z")
