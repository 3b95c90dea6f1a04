"""merge and inspect: a merged model is base and adapter, and every file that carrel reads or writes is told for what it is."""
import filecmp
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import unittest

from support import CARREL, Folder, floats, program, read, read_tensors, wait_for, write_tensors

GOLDEN = "tests/golden"
DEMO = "examples/demo/model"
PREFIX = os.path.join(GOLDEN, "prefix-gqa", "adapter")
VARIANTS = ["lora-gqa-tied", "lora-mha-untied", "lora-gpt2"]


def make_adapter(folder, model, size):
    """Rank 2 on the first layer's q_proj, with values of about `size`; returns (name of the weight, A, B, scale)."""
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    d = config["hidden_size"]
    out = config["num_attention_heads"] * (config.get("head_dim") or d // config["num_attention_heads"])
    a = [size * ((i * 37) % 19 - 9) / 9 for i in range(2 * d)]
    b = [size * ((i * 53) % 23 - 11) / 11 for i in range(2 * out)]
    module = "model.layers.0.self_attn.q_proj"
    write_tensors(os.path.join(folder, "adapter_model.safetensors"), {
        "base_model.model.%s.lora_A.weight" % module: ("F32", [2, d], struct.pack("<%df" % len(a), *a)),
        "base_model.model.%s.lora_B.weight" % module: ("F32", [out, 2], struct.pack("<%df" % len(b), *b))})
    with open(os.path.join(folder, "adapter_config.json"), "w") as file:
        json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 3, "lora_dropout": 0.0, "bias": "none",
                   "target_modules": ["q_proj"], "layers_to_transform": [0]}, file)
    return module + ".weight", a, b, 1.5


class Merge(Folder):
    def test_stopped_leaves_nothing(self):
        os.mkdir(self.path("adapter"))
        make_adapter(self.path("adapter"), DEMO, 0.1)
        stopped = 0
        for i in range(8):
            output = self.path("merged%d" % i)
            merging = subprocess.Popen([CARREL, "merge", "--model", DEMO, "--adapter", self.path("adapter"),
                                        "--output", output], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while merging.poll() is None and not any(".merging-" in name for name in os.listdir(self.folder)):
                pass
            merging.send_signal((signal.SIGINT, signal.SIGTERM)[i % 2])
            _, error = merging.communicate(timeout=60)
            self.assertEqual([name for name in os.listdir(self.folder) if ".merging-" in name], [])
            if merging.returncode == 0:  # the signal came too late
                continue
            stopped += 1
            self.assertEqual((merging.returncode, error), (130, "carrel: stopped; nothing is written\n"))
            self.assertFalse(os.path.exists(output))
        self.assertGreater(stopped, 0)

    def test_no_room_leaves_nothing(self):
        os.mkdir(self.path("adapter"))
        make_adapter(self.path("adapter"), DEMO, 0.1)
        shutil.copytree(DEMO, self.path("model"))
        self.write("model/chat_template.jinja", " " * 3_000_000)  # larger than the weights, and written after them
        for blocks in (1000, 2700):  # of 1024 bytes, that a file may have
            failed = subprocess.run(["bash", "-c", 'ulimit -f %d; exec "$@"' % blocks, "-", CARREL, "merge", "--model",
                                     self.path("model"), "--adapter", self.path("adapter"), "--output", self.path("merged")],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual(failed.returncode, 3, failed.stderr)
            self.assertRegex(failed.stderr, r"\Acarrel: [^\n]+: cannot be written: File too large\n\Z")
            self.assertEqual(sorted(os.listdir(self.folder)), ["adapter", "model"])

    @unittest.skipIf(b"__asan_init" in read(CARREL), "a sanitizer has more memory of its own")
    def test_a_model_beyond_memory(self):
        """In float32 its weights would be 180 MB, where a process may have 100 of its own."""
        layers = 220
        os.mkdir(self.path("adapter"))
        make_adapter(self.path("adapter"), DEMO, 0.1)
        shutil.copytree(DEMO, self.path("model"))
        tensors = read_tensors(os.path.join(DEMO, "model.safetensors"))
        with open(os.path.join(DEMO, "config.json")) as file:
            config = json.load(file)
        with open(self.path("model/config.json"), "w") as file:
            json.dump(dict(config, num_hidden_layers=layers, torch_dtype="float16"), file)
        made = {}
        for name, (_, shape, values) in tensors.items():
            few = b"".join(struct.pack("<e", (i * 37 % 19 - 9) / 300) for i in range(1021))
            values = (few * (len(values) // len(few) + 1))[:len(values)]
            for layer in range(layers) if ".layers.0." in name else (None,):
                if ".layers." not in name or layer is not None:
                    made[name if layer is None else name.replace(".layers.0.", ".layers.%d." % layer)] = ("F16", shape, values)
        write_tensors(self.path("model/model.safetensors"), made)
        done = subprocess.run(["bash", "-c", 'ulimit -d 100000; exec "$@"', "-", CARREL, "merge", "--model", self.path("model"),
                               "--adapter", self.path("adapter"), "--output", self.path("merged"), "--threads", "1", "--json"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["modules"], 1)
        merged = read_tensors(self.path("merged/model.safetensors"))
        self.assertEqual([name for name in made if merged[name] != made[name]], ["model.layers.0.self_attn.q_proj.weight"])

    def test_merged_writes_what_base_and_adapter_write(self):
        for variant in VARIANTS:
            model, adapter = os.path.join(GOLDEN, variant, "model"), os.path.join(GOLDEN, variant, "final")
            output = self.path(variant)
            report = json.loads(self.succeeds("merge", "--model", model, "--adapter", adapter, "--output", output, "--json"))
            self.assertLess(report["difference"], 1e-5)
            self.assertLess(report["difference_before_rounding"], 1e-5)
            command = ["generate", "--dtype", "float32", "--prompt", "the ward", "--max-new-tokens", "40", "--model"]
            both = self.succeeds(*command, model, "--adapter", adapter)
            self.assertEqual(self.succeeds(*command, output), both)
            self.assertNotEqual(self.succeeds(*command, model), both)  # the adapter does something
            before, after = (read_tensors(os.path.join(path, "model.safetensors")) for path in (model, output))
            self.assertEqual(list(sorted(before)), list(sorted(after)))
            self.assertEqual(sum(before[name] != after[name] for name in before), report["modules"])
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
                self.assertTrue(filecmp.cmp(os.path.join(model, name), os.path.join(output, name), shallow=False))
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(VARIANTS))  # nothing else is left

    def check_rounding(self, model, originals, units):
        name, a, b, scale = make_adapter(self.folder, model, 0.5)
        output = self.path("new", "merged")
        self.succeeds("merge", "--model", model, "--adapter", self.folder, "--output", output)
        merged = read_tensors(os.path.join(output, "model.safetensors"))
        self.assertEqual(sorted(merged), sorted(originals))
        for other in originals:
            if other != name:
                self.assertEqual(merged[other], originals[other])
        self.assertEqual(merged[name][:2], originals[name][:2])
        old, new = floats(originals[name]), floats(merged[name])
        columns = originals[name][1][1]
        for i in range(len(old)):
            row, column = divmod(i, columns)
            exact = old[i] + scale * (b[2 * row] * a[column] + b[2 * row + 1] * a[columns + column])
            self.assertLessEqual(abs(new[i] - exact), units * abs(exact) + 2e-7)

    def test_bfloat16_is_rounded_once(self):
        self.check_rounding(DEMO, read_tensors(os.path.join(DEMO, "model.safetensors")), 2.0 ** -8)

    def test_float16_shards_become_one_file(self):
        model = os.path.join(GOLDEN, "llama-f16-shards")
        originals = {}
        for name in os.listdir(model):
            if name.startswith("model-") and name.endswith(".safetensors"):
                originals.update(read_tensors(os.path.join(model, name)))
        self.check_rounding(model, originals, 2.0 ** -11)

    def test_buffers_of_any_type_are_copied(self):
        original = os.path.join(GOLDEN, "lora-gpt2", "model")
        model, output = self.path("model"), self.path("merged")
        shutil.copytree(original, model)
        tensors = read_tensors(os.path.join(original, "model.safetensors"))
        buffers = {"transformer.h.0.attn.bias": ("U8", [1, 1, 3, 3], bytes([1, 0, 0, 1, 1, 0, 1, 1, 1])),
                   "transformer.h.1.attn.bias": ("BOOL", [1, 1, 2, 2], bytes([1, 0, 1, 1])),
                   "transformer.h.0.attn.masked_bias": ("F64", [], struct.pack("<d", -1e4)),
                   "transformer.h.0.attn.rotary_emb.inv_freq": ("I64", [1], struct.pack("<q", 7))}
        write_tensors(os.path.join(model, "model.safetensors"), {**tensors, **buffers})
        self.succeeds("merge", "--model", model, "--adapter", os.path.join(GOLDEN, "lora-gpt2", "final"), "--output", output)
        merged = read_tensors(os.path.join(output, "model.safetensors"))
        self.assertEqual({name: merged.get(name) for name in buffers}, buffers)
        found = json.loads(self.succeeds("inspect", "--json", output))
        self.assertEqual(found["dtype"], "F32, I64, BOOL, U8, F64")
        self.assertEqual(found["values"], sum(len(data) // 4 for _, _, data in tensors.values()) + 9 + 4 + 1 + 1)
        name = "transformer.h.1.mlp.c_fc.weight"
        dtype, shape, data = tensors[name]
        write_tensors(os.path.join(model, "model.safetensors"), {**tensors, name: ("F64", shape, data * 2)})
        self.fails(2, "model: tensor %s: only F32, F16 and BF16 weights are supported, not F64" % name, "generate", "--model", model,
                   "--prompt", "a")

    def test_a_base_that_makes_much_of_small_differences(self):
        draw, d, layers = random.Random(1), 8, 128
        one = ("F32", [d], struct.pack("<%df" % d, *[1.0] * d))

        def normal(rows, columns, deviation):
            values = [draw.gauss(0, deviation) for _ in range(rows * columns)]
            return ("F32", [rows, columns], struct.pack("<%df" % len(values), *values))

        tensors = {"model.embed_tokens.weight": normal(64, d, 1), "model.norm.weight": one}
        for layer in range(layers):
            for name, rows, columns, deviation in (("self_attn.q_proj", d, d, 2), ("self_attn.k_proj", d, d, 2),
                                                   ("self_attn.v_proj", d, d, 0.4), ("self_attn.o_proj", d, d, 0.4),
                                                   ("mlp.gate_proj", 16, d, 0.4), ("mlp.up_proj", 16, d, 0.4),
                                                   ("mlp.down_proj", d, 16, 0.4)):
                tensors["model.layers.%d.%s.weight" % (layer, name)] = normal(rows, columns, deviation)
            for name in ("input_layernorm", "post_attention_layernorm"):
                tensors["model.layers.%d.%s.weight" % (layer, name)] = one
        for name in ("model", "adapter"):
            os.mkdir(self.path(name))
        write_tensors(self.path("model", "model.safetensors"), tensors)
        with open(self.path("model", "config.json"), "w") as file:
            json.dump({"model_type": "llama", "hidden_size": d, "intermediate_size": 16, "num_hidden_layers": layers,
                       "num_attention_heads": 2, "vocab_size": 64, "tie_word_embeddings": True}, file)
        make_adapter(self.path("adapter"), self.path("model"), 0.5)
        result = program("merge", "--model", self.path("model"), "--adapter", self.path("adapter"), "--output", self.path("merged"),
                         "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        difference = json.loads(result.stdout)["difference_before_rounding"]
        self.assertGreater(difference, 5e-4)
        self.assertIn("carrel: warning: the logits before rounding differ by %.3g of" % difference, result.stderr)
        self.assertTrue(os.path.exists(self.path("merged", "model.safetensors")))

    def test_a_weight_beyond_the_type_is_refused(self):
        make_adapter(self.folder, os.path.join(GOLDEN, "llama-f16-shards"), 3000)
        self.fails(2, "which rounding to F16 does not explain", "merge", "--model", os.path.join(GOLDEN, "llama-f16-shards"),
                   "--adapter", self.folder, "--output", self.path("merged"))
        self.assertFalse(os.path.exists(self.path("merged")))
        left = [name for name in os.listdir(self.folder) if name.startswith("merged.merging-")]
        self.assertEqual(len(left), 1)
        self.assertTrue(os.path.exists(self.path(left[0], "model.safetensors")))

    def test_what_is_refused(self):
        model, adapter = (os.path.join(GOLDEN, VARIANTS[0], name) for name in ("model", "final"))
        command = ["merge", "--model", model, "--adapter", adapter, "--output"]
        listing = {name: os.stat(os.path.join(model, name)).st_mtime_ns for name in os.listdir(model)}
        self.fails(2, "is the base model itself", *command, model)
        self.fails(2, "is the base model itself", *command, model + "/../model/")
        self.assertEqual(listing, {name: os.stat(os.path.join(model, name)).st_mtime_ns for name in os.listdir(model)})
        self.fails(2, "holds files already", *command, DEMO)
        os.mkdir(self.path("one"))
        self.write("one/file", "")
        self.fails(2, "one: holds files already", *command, self.path("one"))
        os.remove(self.path("one/file"))
        os.rmdir(self.path("one"))
        self.fails(2, "there is a file of that name", *command, self.write("file", ""))
        self.fails(2, "--output DIR is missing", *command[:-1])
        self.fails(2, "--output: empty", *command, "")
        os.mkdir(self.path("place"))
        for target in ("place", "nowhere"):  # before the work, which could not be given that name
            os.symlink(target, self.path("link"))
            for end in ("", "/"):
                self.fails(2, "link: a link; name what it leads to", *command, self.path("link") + end)
            os.unlink(self.path("link"))
        os.rmdir(self.path("place"))
        for start in (["merge", "--output", self.path("m")], ["generate", "--prompt", "a"]):  # before a model is read
            self.fails(3, "none/adapter_config.json: not there (an adapter is", *start, "--model", "nowhere",
                       "--adapter", self.path("none"))
        both = shutil.copytree(model, self.path("both"))
        shutil.copy(os.path.join(adapter, "adapter_config.json"), both)
        for start in (["merge", "--adapter", adapter, "--output", self.path("m")], ["generate", "--prompt", "a"]):
            self.fails(2, "both: adapter_config.json: an adapter beside the model", *start, "--model", both)
        shutil.rmtree(both)
        self.fails(2, "adapter_model.safetensors", "merge", "--model", DEMO, "--adapter", adapter, "--output", self.path("m"))
        self.fails(2, "prefix tuning cannot be merged", "merge", "--model", model, "--adapter", PREFIX, "--output", self.path("m"))
        os.mkdir(self.path("empty"))
        self.succeeds(*command, self.path("empty") + "/")
        self.assertIn("model.safetensors", os.listdir(self.path("empty")))
        self.assertEqual(sorted(os.listdir(self.folder)), ["empty", "file"])

    def test_full_disk_leaves_no_model(self):
        model, adapter = (os.path.join(GOLDEN, VARIANTS[0], name) for name in ("model", "final"))
        result = subprocess.run(["bash", "-c", "ulimit -f 1; exec \"$@\"", "-", CARREL, "merge", "--model",
                                 model, "--adapter", adapter, "--output", self.path("merged")], capture_output=True, text=True)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("model.safetensors: cannot be written: File too large", result.stderr)
        self.assertEqual(os.listdir(self.folder), [])


class Inspect(Folder):
    def inspect(self, *arguments):
        found = json.loads(self.succeeds("inspect", "--json", *arguments))
        text = self.succeeds("inspect", *arguments)
        self.assertTrue(text.startswith("kind            %s\n" % found["kind"]), text)
        return found

    def test_model(self):
        found = self.inspect(DEMO)
        tensors = read_tensors(os.path.join(DEMO, "model.safetensors"))
        self.assertEqual((found["kind"], found["family"], found["dtype"], found["shards"]), ("model", "llama", "BF16", 1))
        self.assertEqual(found["values"], sum(len(data) // 2 for _, _, data in tensors.values()))
        self.assertEqual(self.inspect(os.path.join(GOLDEN, "llama-f16-shards"))["dtype"], "F16")
        self.assertGreater(self.inspect(os.path.join(GOLDEN, "llama-f16-shards"))["shards"], 1)
        self.assertEqual(self.inspect(os.path.join(DEMO, "config.json"))["kind"], "model_config")

    def test_adapter(self):
        adapter = os.path.join(GOLDEN, "lora-gqa-tied", "final")
        with open(os.path.join(adapter, "adapter_config.json")) as file:
            config = json.load(file)
        found = self.inspect(adapter)
        self.assertEqual((found["kind"], found["r"], found["lora_alpha"]), ("adapter", config["r"], config["lora_alpha"]))
        self.assertEqual(sorted(found["target_modules"]), ["q_proj", "v_proj"])
        self.assertEqual(self.inspect(os.path.join(adapter, "adapter_config.json"))["r"], config["r"])

        self.assertNotIn("layers_to_transform", found)
        config["layers_to_transform"] = [0, 1]
        path = self.write("adapter_config.json", json.dumps(config))
        self.assertEqual(self.inspect(path)["layers_to_transform"], [0, 1])
        self.assertIn("layers to transform 0, 1\n", self.succeeds("inspect", path))

    def test_adapter_of_pickled_tensors(self):
        os.mkdir(self.path("pickled"))
        shutil.copy(os.path.join(GOLDEN, "lora-gqa-tied", "final", "adapter_config.json"), self.path("pickled"))
        self.write("pickled/adapter_model.bin", "")
        sentence = "pickled/adapter_model.bin: only safetensors are read (in Python, load it with PEFT and call save_pretrained(..., safe"
        self.fails(2, sentence, "inspect", self.path("pickled"))
        self.fails(2, sentence, "generate", "--model", os.path.join(GOLDEN, "lora-gqa-tied", "model"), "--adapter",
                   self.path("pickled"), "--prompt", "a")

    def test_byte_order_marks(self):
        adapter = os.path.join(GOLDEN, "lora-gqa-tied", "final")
        for directory, name in ((DEMO, "config.json"), (adapter, "adapter_config.json")):
            copy = shutil.copytree(directory, self.path(name + ".marked"))
            with open(os.path.join(copy, name), "w") as file:
                file.write("\ufeff" + read(os.path.join(directory, name)).decode())
            self.assertEqual(self.inspect(copy), self.inspect(directory))
            self.assertEqual(self.inspect(os.path.join(copy, name)), self.inspect(os.path.join(directory, name)))

    def test_index(self):
        index = os.path.join(GOLDEN, "llama-f16-shards", "model.safetensors.index.json")
        with open(index) as file:
            listed = json.load(file)
        self.assertEqual(self.inspect(index), {"kind": "safetensors index", "shards": len(set(listed["weight_map"].values())),
                                               "tensors": len(listed["weight_map"]), "bytes": listed["metadata"]["total_size"]})
        self.fails(2, "bare.json: \"weight_map\" names no tensors", "inspect", self.write("bare.json", '{"weight_map": {}}'))

    def test_prefix(self):
        found = self.inspect(PREFIX)
        self.assertEqual((found["kind"], found["peft_type"], found["num_virtual_tokens"]), ("adapter", "PREFIX_TUNING", 5))
        self.assertFalse(found["prefix_projection"])
        self.assertEqual((found["tensors"], found["values"]), (1, 5 * 2 * 2 * 8))
        settings = {"model_name_or_path": DEMO, "method": "prefix_tuning", "prefix_tuning": {"num_virtual_tokens": 7}}
        found = self.inspect(self.write("tune.yaml", json.dumps(settings)))
        self.assertEqual((found["method"], found["num_virtual_tokens"]), ("prefix_tuning", 7))

    def test_safetensors(self):
        path = os.path.join(DEMO, "model.safetensors")
        tensors = read_tensors(path)
        found = self.inspect(path)
        self.assertEqual(found["kind"], "safetensors")
        self.assertEqual({entry["name"]: (entry["dtype"], entry["shape"]) for entry in found["entries"]},
                         {name: (dtype, shape) for name, (dtype, shape, _) in tensors.items()})

    def test_the_state_of_an_unfinished_run(self):
        config = self.write("unfinished.yaml", json.dumps({
            "model_name_or_path": DEMO, "output_dir": self.path("out"), "threads": 1,
            "data": {"train": self.write("one.jsonl", '{"text": "After lunch"}\n'), "max_length": 32},
            "training": {"max_steps": 10 ** 6, "save_steps": 3}}))
        state = self.path("out", "trainer.state")
        process = subprocess.Popen([CARREL, "tune", config], stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(state), state)
        process.kill()
        process.wait()
        for path in (state, self.path("out")):
            found = self.inspect(path)
            self.assertEqual((found["kind"], found["step"] % 3, found["step"] > 0), ("trainer state", 0, True))
        os.truncate(state, 100)
        self.fails(2, "trainer.state: cut off", "inspect", state)

    def test_tokenizer(self):
        found = self.inspect(os.path.join(DEMO, "tokenizer.json"))
        with open(os.path.join(DEMO, "tokenizer.json")) as file:
            tokenizer = json.load(file)
        ids = list(tokenizer["model"]["vocab"].values()) + [token["id"] for token in tokenizer["added_tokens"]]
        self.assertEqual((found["kind"], found["model"], found["vocabulary"]), ("tokenizer", "BPE", max(ids) + 1))

    def test_data(self):
        rows = [{"text": "After lunch"}, {"text": "rest"}, {"text": "then walk"}]
        lines = self.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        found = self.inspect(lines)
        self.assertEqual((found["kind"], found["format"], found["rows_are"], found["rows"]), ("data", "jsonl", "text", 3))
        array = self.inspect(self.write("rows.json", json.dumps([{"instruction": "say", "output": "yes"}])))
        self.assertEqual((array["format"], array["rows_are"], array["rows"]), ("json", "alpaca", 1))
        one = self.inspect(self.write("one", json.dumps(rows[0])))
        self.assertEqual((one["kind"], one["rows"]), ("data", 1))
        counted = self.inspect(lines, "--tokenizer", DEMO)
        self.assertGreaterEqual(counted["tokens"], counted["labels"])
        self.assertGreater(counted["labels"], 3)
        marked = self.write("marked", "\ufeff \n" + json.dumps(rows))  # a byte order mark
        self.assertEqual([self.inspect(marked)[key] for key in ("kind", "format", "rows")], ["data", "json", 3])
        self.fails(2, "rows.jsonl:2", "inspect", self.write("rows.jsonl", '{"text": "a"}\n{"text": 1}\n'))

    def test_run_directory(self):
        config = self.write("tune.yaml", json.dumps({
            "model_name_or_path": DEMO, "output_dir": self.path("tuned"), "training": {"max_steps": 1},
            "data": {"train": self.write("one.jsonl", '{"text": "After lunch"}\n'), "max_length": 32}}))
        self.succeeds("tune", config)
        found = self.inspect(self.path("tuned.run"))
        self.assertEqual(found, {"kind": "run", "told_by": "carrel status " + self.path("tuned.run")})
        self.succeeds(*found["told_by"].split()[1:])
        for name in ("events.jsonl", "metrics.jsonl"):
            self.assertEqual(self.inspect(self.path("tuned.run", name)), found)

    def test_settings_of_tune_say_nothing_of_a_federation(self):
        path = self.write("tune.yaml", json.dumps({"model_name_or_path": DEMO, "data": {"train": "rows.jsonl"}}))
        self.assertEqual(self.inspect(path), {"kind": "settings", "model": DEMO, "output": "output", "data": "rows.jsonl",
                                              "method": "lora", "r": 8, "target_modules": []})
        self.assertIn("target modules  as PEFT chooses for the family\n", self.succeeds("inspect", path))

    def test_conversations_are_counted_by_a_template(self):
        rows = self.write("chat.jsonl", json.dumps({"messages": [{"role": "user", "content": "?"},
                                                                 {"role": "assistant", "content": "!"}]}) + "\n")
        self.assertGreater(self.inspect(rows, "--tokenizer", DEMO, "--chat-template", "plain")["labels"], 0)
        self.fails(2, "no row is of use: 1 are empty or have no answer\n", "inspect", self.write("none.jsonl", '{"text": ""}\n'), "--tokenizer", DEMO)
        result = program("inspect", rows, "--tokenizer", DEMO)
        self.assertEqual(result.returncode, 2)
        self.assertIn("(--chat-template: chatml, ", result.stderr)

    def test_settings_and_token(self):
        config = self.write("server.yaml", json.dumps({
            "model_name_or_path": DEMO, "output_dir": self.path("out"), "data": {"train": "x.jsonl"}, "lora": {"r": 4},
            "federation": {"rounds": 2, "min_clients": 3, "address": "127.0.0.1:7423", "state_dir": self.path("state")}}))
        found = self.inspect(config)
        self.assertEqual((found["kind"], found["r"], found["rounds"], found["min_clients"]), ("settings", 4, 2, 3))
        token = self.succeeds("invite", "st-anne", "--config", config).strip()
        for given in (token, self.write("token", token + "\n")):
            found = self.inspect(given)
            self.assertEqual(sorted(found), ["address", "expired", "expires", "job", "kind", "name", "role"])  # and no secret
            self.assertEqual((found["name"], found["role"], found["address"]), ("st-anne", "silo", "127.0.0.1:7423"))
            self.assertFalse(found["expired"])
        self.fails(2, "token", "inspect", token[:-1])

    def test_nonsense(self):
        self.fails(2, "no model, adapter", "inspect", self.write("nonsense", "hello\n"))
        self.fails(2, "empty: the file is empty", "inspect", self.write("empty", ""))
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 9\n" % 0
        for name in ("pointer", "pointer.safetensors", "pointer.jsonl"):
            self.fails(2, name + ": a Git LFS pointer, not the file itself", "inspect", self.write(name, pointer))
        self.fails(2, "neither a model", "inspect", self.folder)
        os.mkfifo(self.path("pipe"))
        self.fails(2, "neither a file nor a directory", "inspect", self.path("pipe"))
        self.fails(3, "/nonexistent", "inspect", "/nonexistent")
        for text in ("{}", '{"eos_token_id": 1}', '{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 3}'):
            self.fails(2, "other.json: a JSON object of no kind that carrel inspects", "inspect", self.write("other.json", text))
        self.fails(2, "a row needs", "inspect", self.write("rows.jsonl", '{"eos_token_id": 1}'))
        self.fails(2, "nonsense.json", "inspect", self.write("nonsense.json", "{\"a\": "))
        self.fails(2, "nonsense.safetensors", "inspect", self.write("nonsense.safetensors", "abc"))
        self.fails(2, "nonsense.yaml", "inspect", self.write("nonsense.yaml", "a: [\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
