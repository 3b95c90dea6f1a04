"""What a split model costs its server, in memory and on the disk; with a model most of which is the front."""
import json
import os
import random
import re
import unittest

from federation_support import Federation, MODEL, words
from support import write_rows, write_tensors

WIDE = dict(MODEL, hidden_size=512, intermediate_size=1536, num_attention_heads=8, num_key_value_heads=8,
            torch_dtype="bfloat16")
LENGTH, BATCH, RANK = 64, 8, 8
MEGABYTE = 1_000_000
PROCESS = 32 * MEGABYTE  # the program, its libraries, TLS, and what the allocator holds


def write_model(folder, source, layers, seed):
    """WIDE with so many layers and random weights of about 0.01 to 0.02 in size, in bfloat16."""
    os.mkdir(folder)
    for name in "tokenizer.json", "tokenizer_config.json":
        os.link("%s/%s" % (source, name), "%s/%s" % (folder, name))
    with open(folder + "/config.json", "w") as file:
        json.dump(dict(WIDE, num_hidden_layers=layers), file)
    d, ff = WIDE["hidden_size"], WIDE["intermediate_size"]
    shapes = {"model.embed_tokens.weight": [WIDE["vocab_size"], d], "model.norm.weight": [d]}
    for layer in range(layers):
        for module, shape in (("self_attn.q_proj", [d, d]), ("self_attn.k_proj", [d, d]), ("self_attn.v_proj", [d, d]),
                              ("self_attn.o_proj", [d, d]), ("mlp.gate_proj", [ff, d]), ("mlp.up_proj", [ff, d]),
                              ("mlp.down_proj", [d, ff]), ("input_layernorm", [d]), ("post_attention_layernorm", [d])):
            shapes["model.layers.%d.%s.weight" % (layer, module)] = shape
    tensors = {}
    numbers = random.Random(seed)
    signs = bytes(0x3c | (byte & 0x80) for byte in range(256))
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = bytearray(2 * count)
        data[0::2] = numbers.randbytes(count)
        data[1::2] = numbers.randbytes(count).translate(signs)
        tensors[name] = "BF16", shape, bytes(data)
    write_tensors(folder + "/model.safetensors", tensors)
    return sum(len(data) for _, _, data in tensors.values())


class Cost(Federation):
    def peak(self, layers, rows):
        """The memory that a server of the last layer has taken at the end of its training, in bytes."""
        name = "%d-%d" % (layers, rows)
        model = "%s/model-%s" % (self.dir, name)
        write_model(model, self.base + "/model", layers, 1)
        write_rows(self.dir + "/rows.jsonl", words(3, rows))
        config = self.config(name, "data: {max_length: %d}\ntraining: {per_device_train_batch_size: %d, max_steps: 8, save_steps: 0, logging_steps: 1}\n"
                             "split: {activations: bfloat16, layers: %d}\nfederation: {address: '127.0.0.1:0', state_dir: %s/server-%s}\n"
                             % (LENGTH, BATCH, layers - 1, self.dir, name), "r: %d, target_modules: all-linear" % RANK)
        settings = "--set", "model_name_or_path=" + model, "--set", "dtype=bfloat16"
        server = self.start("serve", config, *settings)
        server.wait_event("server.listening")
        silo = self.start("join", self.invite(config, "anne", *settings), "--state", "%s/silo-%s" % (self.dir, name), "--data",
                          self.dir + "/rows.jsonl", "--model", model, "--threads", "1")
        server.wait_event("train.step", step=8)
        with open("/proc/%d/status" % server.enclave()) as file:
            peak = int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024
        self.assert_ends(silo)
        self.assert_ends(server)
        held = server.wait_event("split.held")
        self.assertEqual(held["examples"], rows)
        # What lies on the disk: rows and labels, and under a sixteenth for seals and places.
        self.assertLess(held["bytes"], 17 / 16 * held["rows"] * (2 * WIDE["hidden_size"] + 4))
        return peak, held["bytes"]

    def test_a_servers_memory_is_the_tail_what_is_trained_and_a_batch(self):
        d, ff, vocabulary = WIDE["hidden_size"], WIDE["intermediate_size"], WIDE["vocab_size"]
        tail = 2 * (4 * d * d + 3 * d * ff + vocabulary * d)
        trained = 16 * RANK * (4 * (d + d) + 3 * (d + ff))  # values, gradients and two moments, in float32
        # Of a batch's every token the tail's layer keeps some 40 vectors of d or ff, and the head scores.
        batch = 2 * BATCH * LENGTH * (12 * d + 4 * ff + 4 * vocabulary)
        few, few_bytes = self.peak(2, 64)
        many, many_bytes = self.peak(2, 2048)
        deep, _ = self.peak(12, 64)
        front = 10 * 2 * (4 * d * d + 3 * d * ff)
        self.assertLess(few, tail + trained + batch + PROCESS)
        # More examples lie on the disk, and of each there is a place and a token's label in memory.
        self.assertGreater(many_bytes - few_bytes, 70 * MEGABYTE)
        self.assertLess(many - few, 3 * MEGABYTE)
        # More layers below are the silos' alone.
        self.assertGreater(front, 60 * MEGABYTE)
        self.assertLess(deep - few, front / 8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
