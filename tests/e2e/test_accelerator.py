"""carrel-accelerator against a trusted side written here from docs/PROTOCOL.md alone: it quantises the checkpoint
by itself, asks products over a unix socket and over TCP, and computes each of them with Python's integers."""
import array
import fcntl
import glob
import json
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

from support import BIN, floats, read_tensors

PROGRAM = os.path.join(BIN, "carrel-accelerator")
GOLDEN = "tests/golden"
PRIME = {4: 2**31 - 1, 3: 2**23 - 15}
HELLO, READY, PRODUCT, RESULT, FAILED = range(1, 6)


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def tensors(directory):
    """Every matrix of a model as a list of rows of floats."""
    found = {}
    for path in glob.glob(os.path.join(directory, "model*.safetensors")):
        for name, tensor in read_tensors(path).items():
            values, shape = floats(tensor), tensor[1]
            if len(shape) == 2:
                found[name] = [values[i:i + shape[1]] for i in range(0, len(values), shape[1])]
    return found


def quantized(rows):
    result = []
    for row in rows:
        scale = f32(max(map(abs, row)) / 127) or 1.0
        result.append([round(max(-127.0, min(127.0, f32(value / scale)))) for value in row])
    return result


def matrices(directory):
    """The integer matrices [out][in] in the order of the wire."""
    found = tensors(directory)
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)
    result = []
    if config["model_type"] == "gpt2":
        for layer in range(config["n_layer"]):
            for name in "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj":
                result.append(list(zip(*found["transformer.h.%d.%s.weight" % (layer, name)])))
        result.append(found["transformer.wte.weight"])
    else:
        for layer in range(config["num_hidden_layers"]):
            for names in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("self_attn.o_proj",), \
                    ("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",):
                result.append([row for name in names for row in found["model.layers.%d.%s.weight" % (layer, name)]])
        tied = config["tie_word_embeddings"]
        result.append(found["model.embed_tokens.weight" if tied else "lm_head.weight"])
    return [quantized(rows) for rows in result]


def checksum(every):
    bits = 2**64 - 1
    factor = 0x9E3779B97F4A7C15
    total = 0
    for rows in every:
        total = (total ^ len(rows)) * factor & bits
        total = (total ^ len(rows[0])) * factor & bits
        for row in rows:
            for i in range(0, len(row), 8):
                word = struct.pack("<%db" % len(row[i:i + 8]), *row[i:i + 8]).ljust(8, b"\0")
                total = (total ^ int.from_bytes(word, "little")) * factor & bits
                total = (total << 29 | total >> 35) & bits
    return total


def product(q, backward, x, prime):
    columns = list(zip(*q)) if backward else q
    return [sum(a * b for a, b in zip(row, column)) % prime for row in x for column in columns]


class Refused(Exception):
    pass


def share(connection, size):
    """Sends a memfd over a unix socket; its memory."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
    memory = mmap.mmap(descriptor, size)
    connection.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    os.close(descriptor)
    return memory


class Client:
    """A trusted side's connection. Over a unix socket memory is shared, and with `pads` bytes of it answers are less
    some rows that it put there."""

    def __init__(self, address, digits, matrices_checksum, shared=1 << 16, pads=0):
        self.digits, self.request, self.memory, self.pads = digits, 0, None, None
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
            shared = pads = 0
        self.socket.settimeout(60)
        self.send(HELLO, struct.pack("<IIQQQ", 3, digits, shared, matrices_checksum, pads))
        if shared:
            self.memory = share(self.socket, shared)
        if pads:
            self.pads = share(self.socket, pads)
        try:
            self.engine = self.receive(READY).rstrip(b"\0").decode()
        except Refused:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def send(self, kind, body):
        self.request += 1
        self.socket.sendall(b"CRAC" + struct.pack("<IQQQ", kind, self.request, len(body), 0) + body)

    def exactly(self, size):
        result = b""
        while len(result) < size:
            part = self.socket.recv(size - len(result))
            if not part:
                raise EOFError
            result += part
        return result

    def receive(self, kind):
        magic, got, request, size, zero = struct.unpack("<4sIQQQ", self.exactly(32))
        body = self.exactly(size)
        if got == FAILED:
            raise Refused(body.decode("ascii"))
        assert (magic, got, request, zero) == (b"CRAC", kind, self.request, 0), (magic, got, request, zero)
        return body

    def ask(self, linear, backward, x, parts, place=0, turn=0, around=0):
        words = struct.pack("<%dI" % (len(x) * len(x[0])), *(word for row in x for word in row))
        head = struct.pack("<IIIIQII", linear, backward, len(x), parts, place, turn, around)
        if self.memory:
            self.memory[:len(words)] = words
            self.answer_at = (len(words) + 63) // 64 * 64
            words = b""
        self.send(PRODUCT, head + words)

    def answer(self, count):
        body = self.receive(RESULT)
        if self.memory:
            assert body == b""
            body = self.memory[self.answer_at:self.answer_at + 4 * count]
        return list(struct.unpack("<%dI" % count, body))


def start(model, address, *more):
    """The program, listening, and its address."""
    running = subprocess.Popen([PROGRAM, "--model", model, "--listen", address, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    line = running.stdout.readline()
    assert line.startswith("carrel-accelerator: engine cpu "), line
    return running, line.rsplit(" ", 1)[1].strip()


def end(running, how=signal.SIGTERM):
    """Stops it; what it has said of its connections."""
    running.send_signal(how)
    return running.communicate()[1]


class Accelerator(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = "unix:" + os.path.join(folder.name, "accelerator.sock")

    def start(self, model, address, *more):
        running, name = start(os.path.join(GOLDEN, model), address, *more)
        self.addCleanup(lambda: running.poll() is None and end(running))
        return running, name

    def rows(self, seed, count, depth, prime):
        draw = random.Random(seed)
        return [[draw.choice((0, 1, prime - 1, prime // 2, draw.randrange(prime))) for _ in range(depth)] for _ in range(count)]

    def check(self, client, every, linear, backward, count, seed, parts=1):
        q, prime = every[linear], PRIME[client.digits]
        depth, width = (len(q), len(q[0])) if backward else (len(q[0]), len(q))
        x = self.rows(seed, count, depth, prime)
        place, around, turn, size = (3, count + 2, count + 1, parts * width) if client.pads else (0, 0, 0, 0)
        less = self.rows(seed + 1, around, size, prime)
        if client.pads:
            client.pads[4 * place:4 * (place + around * size)] = struct.pack("<%dI" % (around * size), *sum(less, []))
        client.ask(linear, backward, x, parts, place, turn, around)
        ends = [depth * i // parts for i in range(parts + 1)]
        sums = []  # of each part by itself, the others left out as zeros
        for row in x:
            for begin, end in zip(ends, ends[1:]):
                sums += product(q, backward, [[0] * begin + row[begin:end] + [0] * (depth - end)], prime)
        if client.pads:
            sums = [(word - less[(turn + i // size) % around][i % size]) % prime for i, word in enumerate(sums)]
        return x, lambda: self.assertEqual(client.answer(count * parts * width), sums)

    def all_products(self, model, address, *more):
        running, name = self.start(model, address, *more)
        every = matrices(os.path.join(GOLDEN, model))
        for digits, pads in (4, 0), (3, 0), (4, 1 << 16), (3, 1 << 16):
            client = Client(name, digits, checksum(every), pads=pads)
            for linear in range(len(every)):
                for backward in 0, 1:
                    for count, parts in (1, 1), (7, 1), (2, 3):
                        self.check(client, every, linear, backward, count, linear * 2 + backward, parts)[1]()
            client.close()
        self.assertEqual(end(running), "")

    def test_products_are_exact(self):
        self.all_products("llama-gqa", self.path, "--threads", "1")
        self.all_products("llama-gqa", "127.0.0.1:0", "--threads", "2")

    def test_a_tied_head_is_quantised(self):
        self.all_products("llama-mha-tied", self.path)

    def test_other_families_and_types(self):
        self.all_products("gpt2", self.path)
        self.all_products("llama-bf16-shards", "127.0.0.1:0")

    def test_two_connections_at_once(self):
        every = matrices(os.path.join(GOLDEN, "llama-gqa"))
        for address in self.path, "127.0.0.1:0":
            running, name = self.start("llama-gqa", address)
            first, second = Client(name, 4, checksum(every)), Client(name, 3, checksum(every))
            for seed in range(20):
                answers = [self.check(client, every, seed % 9, seed % 2, 5, seed + i)[1]
                           for i, client in enumerate((first, second))]
                for answer in reversed(answers):
                    answer()
            # One that breaks the protocol ends itself alone.
            second.send(RESULT, b"")
            with self.assertRaisesRegex(Refused, "a message of type 4"):
                second.receive(RESULT)
            second.close()
            self.assertEqual(running.stderr.readline(),
                             "carrel-accelerator: connection 2: a message of type 4 and 0 bytes where a question was expected\n")
            self.check(first, every, 0, 0, 5, 99)[1]()
            first.close()
            self.assertEqual(end(running), "")

    def test_starts_again_where_it_was_killed(self):
        every = matrices(os.path.join(GOLDEN, "llama-gqa"))
        running, name = self.start("llama-gqa", self.path)
        client = Client(name, 4, checksum(every))
        second = subprocess.run([PROGRAM, "--model", os.path.join(GOLDEN, "llama-gqa"), "--listen", self.path],
                                capture_output=True, text=True)
        self.assertEqual((second.returncode, second.stderr),
                         (3, "carrel-accelerator: %s: somebody listens there already\n" % self.path))
        end(running, signal.SIGKILL)
        with self.assertRaises((EOFError, ConnectionError)):
            self.check(client, every, 0, 0, 1, 0)[1]()
        client.close()
        running, name = self.start("llama-gqa", self.path)
        client = Client(name, 4, checksum(every))
        self.check(client, every, 0, 0, 1, 0)[1]()
        client.close()
        end(running)

    def test_takes_its_socket_along(self):
        for how in signal.SIGTERM, signal.SIGINT:
            running, _ = self.start("llama-gqa", self.path)
            self.assertTrue(os.path.exists(self.path[5:]))
            self.assertEqual((end(running, how), running.returncode), ("", 130))
            self.assertFalse(os.path.exists(self.path[5:]))
        # Not one that is another's by now.
        first, _ = self.start("llama-gqa", self.path)
        os.unlink(self.path[5:])
        second, name = self.start("llama-gqa", self.path)
        end(first)
        every = matrices(os.path.join(GOLDEN, "llama-gqa"))
        client = Client(name, 4, checksum(every))
        self.check(client, every, 0, 0, 1, 0)[1]()
        client.close()
        end(second)

    def test_another_model_is_refused(self):
        every = matrices(os.path.join(GOLDEN, "llama-gqa"))
        running, name = self.start("llama-mha-tied", self.path)
        sentence = "connection 1: the accelerator holds another model, or another quantisation of it"
        with self.assertRaisesRegex(Refused, "^%s$" % sentence):
            Client(name, 4, checksum(every))
        self.assertEqual(running.stderr.readline(), "carrel-accelerator: %s\n" % sentence)
        self.assertEqual(end(running), "")

    def test_says_what_is_wrong(self):
        model = os.path.join(GOLDEN, "llama-gqa")
        for arguments, code, sentence in (
                ([], 2, "--model DIR is missing"),
                (["--model", model], 2, "--listen ADDRESS is missing"),
                (["--model", model, "--listen", "7423"], 2, '"7423" is no address: unix:PATH, host:port or tls:HOST:PORT is wanted'),
                (["--model", "/nowhere", "--listen", self.path], 3, "/nowhere"),
                (["--model", model, "--listen", "tls:127.0.0.1:0"], 2, "--identity DIR is missing, for tls:"),
                (["--model", model, "--listen", self.path, "--identity", "/tmp"], 2, "--identity: only with --listen tls:"),
                (["--model", model, "--listen", "tls:127.0.0.1:0", "--identity", "/proc/1/nowhere"], 3, "/proc/1/nowhere"),
                (["--model", model, "--listen", "unix:/nowhere/a"], 3, "unix:/nowhere/a: cannot be listened at"),
                (["--model", model, "--listen", self.path, "--threads", "-1"], 2, "--threads")):
            ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertRegex(ended.stderr, "^carrel-accelerator: .*\n$")
            self.assertIn(sentence, ended.stderr)
        asked = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True)
        self.assertEqual((asked.returncode, asked.stderr), (0, ""))
        self.assertIn("--listen ADDRESS", asked.stdout)
        asked = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True)
        self.assertEqual((asked.returncode, asked.stderr), (0, ""))
        self.assertRegex(asked.stdout, r"^carrel-accelerator \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
