"""What the tests of a federation share: the programs, a small model and its data, and a network to disturb."""
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from support import CARREL, ENVIRONMENT, children, gone, program, read_tensors, write_rows

SECRET = bytes(range(32))  # what sealed_seed/ holds (tests/unit/test_federation_state.c)
SILOS = {"anne": 9, "ben": 6, "cleo": 14}  # rows of each
NEEDLE = 8  # values in a row

MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 32,
    "initializer_range": 0.02, "intermediate_size": 64, "max_position_embeddings": 128, "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float32", "vocab_size": 300}


def words(seed, count):
    """Rows of invented words, the same on every machine."""
    state = seed
    for _ in range(count):
        row = []
        for _ in range(12):
            state = (state * 1103515245 + 12345) % 2 ** 31
            row.append("".join("aeioulnrst"[state // 7 ** k % 10] for k in range(2 + state % 4)))
        yield " ".join(row)


def job_seed(seed):
    """What a server makes of the settings' seed with its secret: HKDF-SHA-256 without salt, the first eight bytes."""
    key = hmac.new(bytes(32), SECRET, hashlib.sha256).digest()
    made = hmac.new(key, b"carrel seed %d\1" % seed, hashlib.sha256).digest()
    return int.from_bytes(made[:8], "little")


def place_secret(state):
    """The secret of a server that has not started yet, in its state, so that runs with slicing can be compared."""
    os.mkdir(state, 0o700)
    for file in ("seed.sealed", "sealing.key"):
        shutil.copy("%s/sealed_seed/%s" % (os.path.dirname(os.path.abspath(__file__)), file), state)
        os.chmod(state + "/" + file, 0o600)


class Process:
    """A running role, its events, and how it ended."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.events = []
        self.process = subprocess.Popen([CARREL, *arguments, "--json"], env=ENVIRONMENT,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait_event(self, name, **fields):
        """The first event of that name with at least those numbers (or exactly those texts)."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for event in list(self.events):
                if event["event"] == name and all(
                        event[key] >= value if isinstance(value, (int, float)) else event[key] == value
                        for key, value in fields.items()):
                    return event
            if self.process.poll() is not None and not self.reader.is_alive():
                break
            time.sleep(0.005)
        raise AssertionError("no %s %s in %s: %s" % (name, fields, self.arguments[0], self.end()))

    def enclave(self):
        """The process that carrel started, which does the work; None before and after."""
        try:
            return children(self.process.pid)[0]
        except (OSError, IndexError):
            return None

    def kill(self):
        """Both processes; when it returns, what they locked is free."""
        child = self.enclave()
        self.process.send_signal(signal.SIGKILL)
        self.end()
        while child and not gone(child):
            time.sleep(0.001)

    def end(self, timeout=120):
        """(exit code, what it wrote to stderr)"""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join(10)
        error = self.process.stderr.read() if not self.process.stderr.closed else ""
        self.process.stderr.close()
        self.process.stdout.close()
        return code, error


class Proxy:
    """A TCP forwarder whose connections can be cut, held up, refused and garbled."""

    def __init__(self, port=0):
        self.port_behind = port
        self.pairs = []
        self.passed = {"up": 0, "down": 0}  # bytes, towards the server and back
        self.flowing = threading.Event()
        self.flowing.set()
        self.refusing = self.garbling = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            try:
                there = None if self.refusing else socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:
                there = None
            if there is None:
                here.close()
                continue
            for end in here, there:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((here, there))
            for source, target, way in ((here, there, "up"), (there, here, "down")):
                threading.Thread(target=self.forward, args=(source, target, way), daemon=True).start()

    PIECE = 65536  # bytes that pass at once, at most

    def forward(self, source, target, way):
        passed = 0
        try:
            while data := source.recv(self.PIECE):
                data = self.meet(data, way, passed)
                target.sendall(data)
                passed += len(data)
                self.passed[way] += len(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def meet(self, data, way, passed):
        """What becomes of bytes on their way, behind so many of their connection."""
        self.flowing.wait()
        if self.garbling:
            self.garbling = False
            data = data[:-1] + bytes([data[-1] ^ 1])
        return data

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                # A reset, as of a firewall: nothing is said.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
        return len(pairs)

    def close(self):
        self.listener.close()
        self.flowing.set()
        self.cut()


class Held(Proxy):
    """A network that records what passes, and stops passing on once so many bytes went up a connection."""

    def __init__(self):
        super().__init__()
        self.recorded = {"up": b"", "down": b""}
        self.limit = None

    PIECE = 4096

    def meet(self, data, way, passed):
        if way == "up" and self.limit and passed + len(data) > self.limit:
            self.stopped.set()
            self.go_on.wait()
        self.recorded[way] += data
        return data

    def stop_after(self, limit):
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self.limit = limit


def make_base(directory):
    """Data of each silo, all of it, and a small model."""
    os.mkdir(directory + "/start")
    for number, (name, count) in enumerate(SILOS.items()):
        write_rows("%s/%s.jsonl" % (directory, name), words(number + 1, count))
    with open(directory + "/pooled.jsonl", "w") as pooled:
        for name in SILOS:
            with open("%s/%s.jsonl" % (directory, name)) as file:
                pooled.write(file.read())
    result = program("tokenizer", "train", "--vocab-size", "300", "--special", "<s>", "--special", "</s>", "--bos",
                     "<s>", "--eos", "</s>", "--output", directory + "/start", directory + "/pooled.jsonl")
    assert result.returncode == 0, result.stderr
    with open(directory + "/start/config.json", "w") as file:
        json.dump(MODEL, file)
    make_model(directory, "model", 1)


def make_model(directory, name, seed):
    config = directory + "/%s.yaml" % name
    with open(config, "w") as file:
        file.write("{model_name_or_path: %s/start, output_dir: %s/%s, method: full, random_init: true, seed: %d,"
                   " dtype: float32, threads: 1, data: {train: %s/pooled.jsonl, max_length: 64},"
                   " training: {max_steps: 5, learning_rate: 0.003}}" % (directory, directory, name, seed, directory))
    result = program("tune", config)
    assert result.returncode == 0, result.stderr


def files_below(*folders):
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(path, name), "rb") as file:
                    yield os.path.join(path, name), file.read()


def needles_of(adapter):
    """Stretches of each tensor, as float32 and as bf16, cut off and rounded."""
    for _, _, values in read_tensors(adapter).values():
        for at in range(0, len(values) - 4 * NEEDLE + 1, 4 * NEEDLE):
            single = values[at:at + 4 * NEEDLE]
            words = struct.unpack("<%dI" % NEEDLE, single)
            yield single
            yield struct.pack("<%dH" % NEEDLE, *(word >> 16 for word in words))
            yield struct.pack("<%dH" % NEEDLE, *((word + 0x7fff + (word >> 16 & 1)) >> 16 for word in words))


class Federation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="carrel-e2e-")
        make_base(cls.base)
        make_model(cls.base, "other", 2)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.base)

    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=self.base)
        self.running = []

    def tearDown(self):
        for process in self.running:
            if process.process.poll() is None:
                process.process.kill()
                process.end()

    def config(self, name, text, lora="target_modules: all-linear"):
        """A file of settings; more of them in `text`."""
        path = "%s/%s.yaml" % (self.dir, name)
        with open(path, "w") as file:
            file.write("model_name_or_path: %s/model\noutput_dir: %s/%s\ndtype: float32\nthreads: 1\nlora: {%s}\n%s\n"
                       % (self.base, self.dir, name, lora, text))
        return path

    def start(self, *arguments):
        process = Process(*arguments)
        self.running.append(process)
        return process

    def serve(self, config, proxy=None):
        server = self.start("serve", config)
        address = server.wait_event("server.listening")["address"]
        if proxy:
            proxy.port_behind = int(address.rsplit(":", 1)[1])
        return server

    def proxy(self):
        proxy = Held()
        self.addCleanup(proxy.close)
        return proxy, ", advertise: '127.0.0.1:%d'" % proxy.port

    def invite(self, config, name, *options):
        result = program("invite", name, "--config", config, *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"\Acarrel2\.[A-Za-z0-9_-]+\n\Z")
        return result.stdout.strip()

    def join(self, token, name, *options):
        model = () if "--model" in options else ("--model", self.base + "/model")
        return self.start("join", token, "--state", "%s/silo-%s" % (self.dir, name), "--data",
                          "%s/%s.jsonl" % (self.base, name), "--threads", "1", *model, *options)

    def assert_ends(self, process, code=0, sentence=None):
        found, error = process.end()
        self.assertEqual(found, code, error)
        if sentence:
            self.assertIn(sentence, error)
            self.assertEqual(len(error.strip().split("\n")), 1, error)
            self.assertTrue(error.startswith("carrel: "), error)

    def adapter(self, name):
        with open("%s/%s/adapter_model.safetensors" % (self.dir, name), "rb") as file:
            return file.read()

    def silos_text(self):
        return "silos:\n" + "".join("  - {name: %s, data: %s/%s.jsonl}\n" % (name, self.base, name) for name in SILOS)


