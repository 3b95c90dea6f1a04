"""An accelerator whose owner is curious, or lies: it stands between a trusted process and carrel-accelerator on a unix
socket, sees every word of both, may keep the questions, and may flip bits of answers. As a program:

    python3 -B tests/e2e/hostile_accelerator.py --model DIR --listen unix:PATH --accelerator unix:PATH
        [--keep FILE] [--flip-bit-of PRODUCT]

--keep appends each question to FILE: linear, direction, rows, depth (u32 each), then its words. --flip-bit-of changes
one bit of the answer to the product of that number, counted from 1 over all connections."""
import argparse
import array
import json
import mmap
import os
import random
import socket
import struct
import sys
import threading

HELLO, READY, PRODUCT, RESULT, FAILED, FRONT = range(1, 7)


def shapes(model):
    """(out, in) of each frozen matrix of a llama model, in the order of the wire."""
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    layer = [((heads + 2 * config["num_key_value_heads"]) * size, hidden), (hidden, heads * size), (2 * inner, hidden),
             (hidden, inner)]
    return layer * config["num_hidden_layers"] + [(config["vocab_size"], hidden)]


def connect(address):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address[len("unix:"):])
    return connection


def exactly(connection, size):
    result = b""
    while len(result) < size:
        part = connection.recv(size - len(result))
        if not part:
            raise EOFError
        result += part
    return result


class Question:
    def __init__(self, connection, number, linear, backward, rows, depth, width):
        self.connection, self.number = connection, number  # each counted from 1
        self.linear, self.backward, self.rows, self.depth, self.width = linear, backward, rows, depth, width
        self.answer_at = (4 * rows * depth + 63) // 64 * 64


class Hostile:
    """Listens at `address`; each connection is a thread. look(question, words) sees a question's words, bytes;
    lie(question, words) may change those of an answer: a memoryview of the shared memory, of bytes. Of clear fronts,
    `fronts` has what was asked: (layers, [tokens of each sequence]); lie_front(stream) may change what is answered."""

    def __init__(self, model, address, accelerator, look=None, lie=None, lie_front=None):
        self.shapes, self.accelerator, self.look, self.lie = shapes(model), accelerator, look, lie
        self.fronts, self.lie_front = [], lie_front
        self.connections = self.products = 0
        self.counting = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address[len("unix:"):])
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def serve(self):
        while True:
            try:
                trusted, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.visit, args=(trusted, self.connections), daemon=True).start()

    def visit(self, trusted, number):
        with trusted, connect(self.accelerator) as honest:
            try:
                self.relay(trusted, honest, number)
            except (EOFError, ConnectionError):
                pass  # it has ended

    def relay(self, trusted, honest, number):
        memory, question = None, None
        while True:
            head = exactly(trusted, 32)
            kind, _, size = struct.unpack("<4xIQQ8x", head)
            body = exactly(trusted, size)
            if kind == PRODUCT:
                question = self.question(body, number)
                if self.look:
                    self.look(question, bytes(memory[:4 * question.rows * question.depth]))
            if kind == FRONT:
                question = self.front(body)
            honest.sendall(head + body)
            if kind == HELLO:
                shared, pads = struct.unpack("<8xQ8xQ", body)
                memory = self.share(trusted, honest, shared, mmap.ACCESS_WRITE)
                if pads:
                    self.share(trusted, honest, pads, mmap.ACCESS_READ)
            head = exactly(honest, 32)
            kind, _, size = struct.unpack("<4xIQQ8x", head)
            body = exactly(honest, size)
            if kind == RESULT and isinstance(question, Question) and self.lie:
                self.lie(question, memory[question.answer_at:][:4 * question.rows * question.width])
            if kind == RESULT and not isinstance(question, Question) and self.lie_front:
                self.lie_front(memory[:4 * question * self.shapes[-1][1]])
            trusted.sendall(head + body)

    @staticmethod
    def share(trusted, honest, size, access):
        """Hands the trusted side's memory on, and keeps it in view."""
        byte, [(_, _, descriptors)], _, _ = trusted.recvmsg(1, socket.CMSG_SPACE(4))
        descriptor = array.array("i", descriptors)[0]
        honest.sendmsg([byte], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
        memory = memoryview(mmap.mmap(descriptor, size, access=access))
        os.close(descriptor)
        return memory

    def question(self, body, connection):
        with self.counting:
            self.products += 1
            number = self.products
        linear, backward, rows, parts = struct.unpack("<IIII16x", body)
        depth, columns = self.shapes[linear] if backward else self.shapes[linear][::-1]
        return Question(connection, number, linear, backward, rows, depth, parts * columns)

    def front(self, body):
        """Notes what is asked; the number of its rows."""
        layers, sequences, rows, _ = struct.unpack("<IIII", body[:16])
        numbers = list(struct.unpack("<%dI" % (rows + sequences), body[16:]))
        tokens, lengths = iter(numbers[:rows]), numbers[rows:]
        self.fronts.append((layers, [[next(tokens) for _ in range(length)] for length in lengths]))
        return rows


def keep_in(file):
    def look(question, words):
        file.write(struct.pack("<IIII", question.linear, question.backward, question.rows, question.depth) + words)
    return look


def flip_bit_of(product, seed=1, say=lambda sentence: None):
    draw = random.Random(seed)

    def lie(question, words):
        if question.number != product:
            return
        bit = draw.randrange(8 * len(words))
        words[bit // 8] ^= 1 << bit % 8
        say("flipped bit %d of word %d of row %d of product %d (linear %d, direction %d)"
            % (bit % 32, bit // 32 % question.width, bit // 32 // question.width, product, question.linear, question.backward))
    return lie


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--listen", required=True, metavar="unix:PATH")
    parser.add_argument("--accelerator", required=True, metavar="unix:PATH")
    parser.add_argument("--keep", metavar="FILE")
    parser.add_argument("--flip-bit-of", type=int, metavar="PRODUCT")
    given = parser.parse_args()
    say = lambda sentence: print(sentence, flush=True)
    look = keep_in(open(given.keep, "ab", buffering=0)) if given.keep else None
    lie = flip_bit_of(given.flip_bit_of, say=say) if given.flip_bit_of else None
    hostile = Hostile(given.model, given.listen, given.accelerator, look, lie)
    say("listening at " + given.listen)
    hostile.thread.join()


if __name__ == "__main__":
    sys.exit(main())
