"""init and preflight: settings that a run takes at once, and checks that find what would stop it."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import unittest

from support import BIN, CARREL, DEMO, ENVIRONMENT, Folder, program, read_tensors, write_tensors

TEXT = "After lunch, the gardener forgot a photograph at the long corridor. The dog slept through it all."
GPT2 = os.path.abspath("tests/golden/lora-gpt2/model")


class Case(Folder):
    def setUp(self):
        super().setUp()
        self.write("train.jsonl", "".join(json.dumps({"text": TEXT}) + "\n" for _ in range(8)))

    def carrel(self, *arguments, **options):
        return program(*arguments, cwd=self.folder, **options)

    def checks(self, *arguments, code=0, **more):
        """{check: [(status, detail), ...]}"""
        result = self.carrel("preflight", *arguments, "--json", **more)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        found = {}
        for line in result.stdout.splitlines():
            entry = json.loads(line)
            found.setdefault(entry["check"], []).append((entry["status"], entry["detail"]))
        return found


class Init(Case):
    def test_its_settings_are_taken_at_once(self):
        text = self.succeeds("init", DEMO)
        self.assertIn("carrel preflight carrel.yaml", text)
        with open(self.path("carrel.yaml")) as file:
            settings = file.read()
        self.assertIn("  # Rank of the adapters.\n  r: 8\n", settings)
        self.assertLessEqual(max(len(line) for line in settings.splitlines() if "#" in line), 80)
        self.assertNotIn("federation", settings.replace("# Passes over the data. A federation", ""))
        self.succeeds("preflight", "carrel.yaml")
        self.succeeds("tune", "carrel.yaml", "--set", "training.max_steps=1")
        self.assertTrue(os.path.exists(self.path("adapter", "adapter_model.safetensors")))
        self.assertEqual(self.checks("carrel.yaml")["output"][1:],
                         [("warning", "adapter holds an adapter of a finished run, which this one replaces at its end")])

    def test_of_several_at_once_one_writes(self):
        for number in range(5):
            path = self.path("%d.yaml" % number)
            running = [subprocess.Popen([CARREL, "init", DEMO, "--output", path, "--eval", "%d.jsonl" % i], env=ENVIRONMENT,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for i in range(3)]
            ends = [(*process.communicate(), process.returncode) for process in running]
            self.assertEqual(sorted(code for _, _, code in ends), [0, 2, 2])
            with open(path) as file:
                settings = file.read()
            for i, (_, error, code) in enumerate(ends):
                self.assertEqual('"%d.jsonl"' % i in settings or "eval: %d.jsonl" % i in settings, code == 0)
                self.assertIn("stays as it is" if code else "", error)

    def test_it_knows_the_family_and_the_method(self):
        self.succeeds("init", GPT2, "--output", "gpt2.yaml")
        with open(self.path("gpt2.yaml")) as file:
            settings = file.read()
        self.assertIn('target_modules: ["c_attn"]', settings)
        self.assertIn("max_length: 64", settings)
        self.succeeds("init", DEMO, "--method", "full", "--output", "full.yaml", "--data", "odd: 'name' #.jsonl")
        with open(self.path("full.yaml")) as file:
            settings = file.read()
        self.assertNotIn("lora:", settings)
        self.assertIn("learning_rate: 2.0e-05", settings)
        os.rename(self.path("train.jsonl"), self.path("odd: 'name' #.jsonl"))
        self.succeeds("preflight", "full.yaml")
        [(status, detail)] = self.checks("full.yaml", "--set", "random_init=true")["model"]
        self.assertEqual((status, detail), ("ok", DEMO + ": 6 layers of width 128, from random weights"))
        self.succeeds("init", DEMO, "--method", "spf", "--output", "spf.yaml")
        with open(self.path("spf.yaml")) as file:
            settings = file.read()
        self.assertNotIn("lora:", settings)
        for key in ("method: spf\n", "load_in_8bit: false\n", "  criterion: weight_l1\n", "  density: "):
            self.assertIn(key, settings)
        self.succeeds("preflight", "spf.yaml", "--set", "data.train=odd: 'name' #.jsonl")

    def test_labelled_sentences_have_their_words_to_fill_in(self):
        self.write("rows.tsv", "a fine day\t1\na bad day\t0\n")
        self.succeeds("init", DEMO, "--data", "rows.tsv")
        with open(self.path("carrel.yaml")) as file:
            settings = file.read()
        self.write("carrel.yaml", settings.replace("  label_words: []\n", "  label_words: [bad, fine]\n"))
        self.assertEqual(self.checks("carrel.yaml")["data"][0][0], "ok")

    def test_a_prefix_takes_its_part_of_the_context(self):
        self.succeeds("init", GPT2, "--method", "prefix_tuning")
        with open(self.path("carrel.yaml")) as file:
            settings = file.read()
        self.assertIn("max_length: 44", settings)
        self.assertIn("num_virtual_tokens: 20", settings)
        self.assertNotIn("lora:", settings)
        self.succeeds("preflight", "carrel.yaml")
        self.succeeds("tune", "carrel.yaml", "--set", "training.max_steps=1")
        with open(self.path("adapter", "adapter_config.json")) as file:
            self.assertEqual(json.load(file)["peft_type"], "PREFIX_TUNING")
        for setting, check, sentence in (("data.max_length=45", "data", "num_virtual_tokens 20"),
                                         ("prefix_tuning.num_virtual_tokens=64", "settings", "prefix_tuning.num_virtual_tokens: 64")):
            found = self.checks("carrel.yaml", "--set", setting, code=2)
            self.assertEqual(found[check][-1][0], "failed")
            self.assertIn(sentence, found[check][-1][1])

    def test_a_batch_that_fits(self):
        """A checkpoint of half a terabyte, all of it a hole in the file."""
        model, hidden, inner, layers = self.path("model"), 16384, 65536, 80
        shutil.copytree(DEMO, model, ignore=shutil.ignore_patterns("model.safetensors"))
        with open(self.path("model", "config.json")) as file:
            config = json.load(file)
        config.update(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=128,
                      num_key_value_heads=128, head_dim=128)
        self.write("model/config.json", json.dumps(config))
        shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
        for i in range(layers):
            for name, shape in (("self_attn.q_proj", [hidden, hidden]), ("self_attn.k_proj", [hidden, hidden]),
                                ("self_attn.v_proj", [hidden, hidden]), ("self_attn.o_proj", [hidden, hidden]),
                                ("mlp.gate_proj", [inner, hidden]), ("mlp.up_proj", [inner, hidden]),
                                ("mlp.down_proj", [hidden, inner]), ("input_layernorm", [hidden]),
                                ("post_attention_layernorm", [hidden])):
                shapes["model.layers.%d.%s.weight" % (i, name)] = shape
        header, at = {}, 0
        for name, shape in shapes.items():
            size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        with open(self.path("model", "model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + at)
        self.succeeds("init", "model")
        with open(self.path("carrel.yaml")) as file:
            settings = file.read()
        self.assertIn("per_device_train_batch_size: 1\n", settings)
        self.assertIn("gradient_accumulation_steps: 4\n", settings)
        found = self.checks("carrel.yaml", code=2)
        self.assertEqual(found["model"][0][0], "failed")
        self.assertIn("of memory are free", found["model"][0][1])

    def test_what_is_there_stays(self):
        self.write("carrel.yaml", "mine")
        result = self.carrel("init", DEMO)
        self.assertEqual(result.returncode, 2)
        self.assertIn("carrel.yaml: is there already", result.stderr)
        with open(self.path("carrel.yaml")) as file:
            self.assertEqual(file.read(), "mine")
        for arguments, sentence in ((["init", self.folder, "--output", "x"], "config.json"), (["init"], "usage"),
                                    (["init", DEMO, "--method", "qlora", "--output", "x"], "qlora")):
            result = self.carrel(*arguments)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(sentence, result.stderr)
            self.assertFalse(os.path.exists(self.path("x")))


class Preflight(Case):
    def setUp(self):
        super().setUp()
        self.succeeds("init", DEMO)

    def test_all_is_well(self):
        found = self.checks("carrel.yaml")
        self.assertEqual({status for name, lines in found.items() for status, _ in lines if name != "processor"}, {"ok"})
        self.assertEqual(set(found) - {"limits"}, {"settings", "processor", "model", "output", "data", "memory", "forward"})
        self.assertIn("8 examples", found["data"][0][1])
        tokens = int(re.search(r"(\d+) tokens", found["data"][0][1])[1])
        told = json.loads(self.succeeds("inspect", "train.jsonl", "--tokenizer", DEMO, "--json"))
        self.assertEqual((told["tokens"], told["labels"]), (tokens, tokens - 8))  # of each text nothing foretells the first
        self.assertEqual(sorted(os.listdir(self.folder)), ["carrel.yaml", "train.jsonl"])  # nothing was made

    def test_a_warm_up_that_never_ends_is_told(self):
        """By packs, where examples share rows."""
        for steps, told in ((6, "and there are 6 steps in all"), (5, None)):
            found = self.checks("carrel.yaml", "--set", "data.eval=train.jsonl", "--set", "training.warmup_steps=%d" % steps)
            self.assertEqual([told in detail for status, detail in found.get("training", [])], [True] if told else [])
        found = self.checks("carrel.yaml", "--set", "training.warmup_steps=5", "--set", "data.packing=true")
        self.assertRegex(found["training"][0][1], "and there are [1-5] steps in all|there is 1 step in all")

    def test_each_fault_has_its_line(self):
        self.write("bad.jsonl", '{"text": "x"}\n{"tixt": 1}\n')
        self.write("file", "")
        shutil.copytree(DEMO, self.path("model"))
        for setting, check, sentence in (
                ("lora.r=0", "settings", "lora.r"), ("model_name_or_path=nowhere", "model", "nowhere"),
                ("data.train=bad.jsonl", "data", "bad.jsonl:2"), ("data.train=none.jsonl", "data", "none.jsonl"),
                ("data.max_length=4096", "data", "context"), ("data.eval=none.tsv", "data", "none.tsv"), ("data.eval=bad.jsonl", "data", "bad.jsonl:2"),
                ("lora.target_modules=[c_attn]", "settings", "lora.target_modules: \"c_attn\": no such linear module"), ("output_dir=file/x", "output", "file/x"),
                ("output_dir=model", "output", "model: holds a model"),
                ("data.train=" + DEMO + "/config.json", "data", "a row is one line of JSON")):
            with self.subTest(setting):
                found = self.checks("carrel.yaml", "--set", setting, code=2)
                failed = {name: detail for name, lines in found.items() for status, detail in lines if status == "failed"}
                self.assertEqual(list(failed), [check])
                self.assertIn(sentence, failed[check])
        self.fails(2, "--model, --data, --state, --sealing and --tpm are for a join token", "preflight", "carrel.yaml", "--state", "x")

    def test_a_loss_that_is_no_number_is_told(self):
        shutil.copytree(DEMO, self.path("model"))
        weights = self.path("model", "model.safetensors")
        tensors = read_tensors(weights)
        dtype, shape, data = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = dtype, shape, len(data) * b"\xff"  # NaN in every type
        write_tensors(weights, tensors)
        [(status, detail)] = self.checks("carrel.yaml", "--set", "model_name_or_path=model", code=2)["forward"]
        self.assertEqual(status, "failed")
        self.assertIn("the loss is NaN or infinite: the model's model.norm.weight holds such values", detail)

    def test_settings_of_a_simulation_have_no_data_of_their_own(self):
        with open(self.path("carrel.yaml")) as file:
            text = "".join(line for line in file if not line.startswith("  train: "))
        self.write("alone.yaml", text)
        self.assertIn("data.train: not given", self.checks("alone.yaml", code=2)["data"][0][1])
        self.write("simulated.yaml", text + 'silos:\n  - {name: a, data: a.jsonl}\n')
        self.assertEqual(self.checks("simulated.yaml")["data"], [("warning", "the simulated silos' own files are not looked at here")])

    def test_the_place_of_the_run_directory_is_looked_at(self):
        self.write("out.run", "")
        os.mkdir(self.path("out"))
        [(status, _), (failed, detail)] = self.checks("carrel.yaml", "--set", "output_dir=out", code=2)["output"]
        self.assertEqual((status, failed, detail), ("ok", "failed", "run directory: out.run: cannot be written: out.run is a file"))

    def test_a_step_beyond_memory_is_told_before_it_is_tried(self):
        rows = "".join(json.dumps({"text": "word " * 100}) + "\n" for _ in range(60000))
        self.write("long.jsonl", rows)
        for in_8bit, advice in ("false", "max_length, or load_in_8bit)"), ("true", "batch, or max_length)"):  # which it is already
            found = self.checks("carrel.yaml", "--set", "data.train=long.jsonl", "--set", "load_in_8bit=" + in_8bit, "--set",
                                "training.per_device_train_batch_size=60000", code=2)
            [(status, detail)] = found["memory"]
            self.assertEqual(status, "failed")
            self.assertTrue(detail.endswith(advice), detail)

    def test_memory_is_what_the_trainer_counts(self):
        self.write("long.jsonl", "".join(json.dumps({"text": TEXT * 3}) + "\n" for _ in range(4096)))
        for batch, packing in ("64", "false"), ("16", "true"):  # a pack has room for several
            settings = ["carrel.yaml", "--json", "--set", "data.train=long.jsonl", "--set", "training.max_steps=1", "--set",
                        "training.per_device_train_batch_size=" + batch, "--set", "lora.r=64", "--set", "data.packing=" + packing]
            detail = json.loads([line for line in self.succeeds("preflight", *settings).splitlines() if '"memory"' in line][0])["detail"]
            told = {name: float(size) for name, size in re.findall(r"(a step|what is trained) ([\d.]+) MB", detail)}
            begin = json.loads([line for line in self.succeeds("tune", *settings).splitlines() if '"train.begin"' in line][0])
            self.assertAlmostEqual(sum(told.values()) / (begin["memory"] / 1e6), 1, delta=0.1)
        # Of the examples' tokens, which the trainer does not count, four bytes and four for the label.
        tokens = int(re.search(r"4,096 examples, ([\d,]+) tokens", self.succeeds("preflight", *settings))[1].replace(",", ""))
        self.assertGreaterEqual(float(re.search(r"data ([\d.]+) MB", detail)[1]) + 0.05, tokens * 8 / 1e6)

    def test_an_accelerator_is_asked(self):
        address = "unix:" + self.path("socket")
        sliced = ("carrel.yaml", "--set", "slicing.pads=enclave", "--set", "slicing.accelerators=" + address)
        plain = self.checks("carrel.yaml", "--set", "load_in_8bit=true")
        accelerator = subprocess.Popen([BIN + "/carrel-accelerator", "--model", DEMO, "--listen",
                                        address], stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("listening", accelerator.stdout.readline())
            found = self.checks(*sliced)
            self.assertRegex(found["accelerator"][0][1], r"\A%s: engine cpu .*, with the same matrices\Z" % address)
            for line in self.succeeds("preflight", *sliced).splitlines():
                self.assertRegex(line, r"\A[a-z ]{9}[a-z ]{11} \S")  # in columns, however long the name
            self.assertRegex(found["memory"][0][1], r"products of pads [0-9.]+ MB")
            # Its products are as good as those computed here.
            losses = [float(re.search("loss of ([0-9.]+),", of["forward"][0][1])[1]) for of in (found, plain)]
            self.assertAlmostEqual(*losses, delta=0.01)
            front = (*sliced, "--set", "lora.layers_to_transform=[1]", "--set", "slicing.clear_front=local", "--set",
                     "slicing.own_accelerator=" + address)
            asked, kept = self.checks(*front)["clear front"]
            self.assertEqual(asked, ("ok", "%s computes what lies below layer 1 as this process does" % address))
            self.assertRegex(kept[1], r"can be written: about [0-9.]+ [kM]B")
            self.assertNotIn("clear front", self.checks(*front, "--set", "lora.layers_to_transform=[0]"))
            other, wanted = self.path("other"), ["carrel.yaml", "--set", "slicing.pads=peer", "--set"]
            second = subprocess.Popen([BIN + "/carrel-accelerator", "--model", DEMO, "--listen",
                                       "unix:" + other], stdout=subprocess.PIPE, text=True)
            try:
                self.assertIn("listening", second.stdout.readline())
                found = self.checks(*wanted, 'slicing.accelerators=["%s", "unix:%s"]' % (address, other))
                self.assertEqual([check[0] for check in found["accelerator"]], ["warning", "ok"])
                self.assertRegex(found["accelerator"][1][1], r"\A%s, unix:%s: engine cpu .*, cpu .*, with the same matrices\Z" % (address, other))
                self.assertNotIn("products of pads", found["memory"][0][1])
                self.assertIn("forward", found)
            finally:
                second.kill()
                second.communicate()
            found = self.checks(*wanted, 'slicing.accelerators=["%s", "unix:%s"]' % (address, other), code=2)
            self.assertIn(other, found["accelerator"][0][1])
            found = self.checks(*sliced, "--set", "model_name_or_path=" + GPT2, "--set", "lora.target_modules=[c_attn]",
                                "--set", "data.max_length=16", code=2)
            self.assertIn("another model", found["accelerator"][0][1])
            self.assertNotIn("forward", found)
        finally:
            accelerator.kill()
            accelerator.communicate()
        found = self.checks(*sliced, code=2)
        self.assertEqual(found["accelerator"][0][0], "failed")
        self.assertRegex(found["accelerator"][0][1], r"\A%s: cannot be connected to" % address)

    def test_rows_passed_over_are_told(self):
        self.write("bad.jsonl", json.dumps({"text": TEXT}) + '\n{"tixt": 1}\n')
        found = self.checks("carrel.yaml", "--set", "data.eval=bad.jsonl", "--set", "data.max_bad_rows=1")
        self.assertEqual([status for status, _ in found["data"]], ["ok", "ok", "warning"])
        self.assertIn("bad.jsonl:2", found["data"][2][1])
        self.write("empty.jsonl", json.dumps({"text": TEXT}) + '\n{"text": ""}\n')
        found = self.checks("carrel.yaml", "--set", "data.train=empty.jsonl")
        self.assertIn(("warning", "empty.jsonl: 1 row with nothing to learn: left out"), found["data"])

    def test_a_truncated_shard_is_found(self):
        model = self.path("model")
        shutil.copytree(DEMO, model)
        weights = os.path.join(model, "model.safetensors")
        os.truncate(weights, os.path.getsize(weights) - 8)
        found = self.checks("carrel.yaml", "--set", "model_name_or_path=" + model, code=2)
        self.assertEqual(found["model"][0][0], "failed")
        self.assertIn("model.safetensors", found["model"][0][1])

    def test_cut_rows_and_a_foreign_tokenizer_are_warned_of(self):
        found = self.checks("carrel.yaml", "--set", "data.max_length=4")
        self.assertIn("warning", [status for status, _ in found["data"]])
        # Every weight of the head a thousand times as large: a model that is surer than it should be.
        model = self.path("model")
        shutil.copytree(DEMO, model)
        path = os.path.join(model, "model.safetensors")
        tensors = read_tensors(path)
        dtype, shape, _ = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = dtype, shape, (struct.pack("<f", -1000.0) if dtype == "F32" else b"\x7a\xc4") * shape[0]
        write_tensors(path, tensors)
        found = self.checks("carrel.yaml", "--set", "model_name_or_path=" + model)
        self.assertEqual(found["forward"][0][0], "warning")
        told = json.loads(self.succeeds("eval", "--model", model, "--data", "train.jsonl", "--json"))
        self.assertGreater(told["loss"], 710)  # whose exponential no double holds, and JSON has no infinity
        self.assertIsNone(told["perplexity"])


class Network(Case):
    def setUp(self):
        super().setUp()
        self.succeeds("init", DEMO, "--federation", "--output", "fed.yaml")

    def test_a_server_without_a_name_is_told(self):
        self.write("split.yaml", "model_name_or_path: %s\nlora: {target_modules: all-linear}\ndata: {max_length: 64}\n"
                   "split: {activations: int8, storage: 1000000}\nfederation: {address: '127.0.0.1:0', min_clients: 2}\n" % DEMO)
        found = self.checks("fed.yaml", "--serve", code=2)
        self.assertIn(("failed", "federation.advertise: not given, and silos cannot reach 0.0.0.0:7423 (set it to host:port)"),
                      found["address"])
        found = self.checks("fed.yaml", "--serve", "--set", "federation.advertise=no-such-host.invalid:7423", code=2)
        self.assertIn("failed", [status for status, _ in found["address"]])
        found = self.checks("fed.yaml", "--serve", "--set", "federation.advertise=127.0.0.1:7423", "--set",
                            "federation.address=127.0.0.1:0")
        self.assertEqual(found["silos"], [("ok", "each of 10 rounds needs 1 silo")])
        self.assertEqual(len(found["settings"]), 1)
        for setting, told in (("max_steps=5", 1), ("num_train_epochs=3", 1), ("num_train_epochs=10", 0)):
            found = self.checks("fed.yaml", "--serve", "--set", "federation.advertise=127.0.0.1:7423", "--set",
                                "federation.address=127.0.0.1:0", "--set", "training." + setting)
            self.assertEqual([(status, detail.split(":")[0]) for status, detail in found["settings"][1:]],
                             [("warning", "training.%s has no effect in a federation" % setting.split("=")[0])] * told)
        found = self.checks("fed.yaml", "--serve", "--set", "federation.advertise=127.0.0.1:7423", "--set",
                            "federation.address=127.0.0.1:0", "--set", "data.eval=train.jsonl")
        self.assertEqual([detail.split(":")[0] for _, detail in found["settings"][1:]],
                         ["data.eval has no effect at a federation's server, which reads no data"])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            found = self.checks("fed.yaml", "--serve", "--set", "federation.address=" + address, code=2)
            self.assertEqual(found["address"][0], ("failed", "federation.address: %s: cannot be listened at: Address already in use" % address))
        found = self.checks("fed.yaml", "--serve", "--set", "federation.address=nowhere", code=2)
        self.assertEqual(found["settings"], [("failed", '--set: federation.address: "nowhere" is no address: host:port is wanted')])
        for key, value, wanted in (("federation", "address: nowhere", "host:port is wanted"), ("federation", "advertise: a b:1", "host:port is wanted"),
                                   ("slicing", "accelerators: [nowhere]", "unix:PATH, host:port or tls:HOST:PORT#KEY is wanted"),
                                   ("slicing", "accelerators: ['tls:here:1']", "tls:HOST:PORT#KEY is wanted, as")):
            self.write("wrong.yaml", "model_name_or_path: m\n%s:\n  %s\n" % (key, value))
            status, detail = self.checks("wrong.yaml", "--serve", code=2)["settings"][0]
            self.assertRegex(detail, 'wrong.yaml:3: %s.%s: ".*" is no address: %s' % (key, value.split(":")[0], wanted))
        found = self.checks("split.yaml", "--serve")
        self.assertEqual(found["silos"], [
            ("ok", "training begins when all examples of 2 are here; at most 1.0 MB of activations are kept")])
        for setting, sentence in (("split.layers=6", "split.layers: 6: the model has 6"),
                                  ("lora.layers_to_transform=[0]", "lora.layers_to_transform: layer 0 is the silos'")):
            found = self.checks("split.yaml", "--serve", "--set", setting, code=2)
            self.assertEqual(found["settings"][1][0], "failed")
            self.assertIn(sentence, found["settings"][1][1])

        # The server has its own layers alone, of which five less are here.
        def weights(*settings):
            detail, = [text for _, text in self.checks("split.yaml", "--serve", *settings)["memory"]]
            return float(re.search(r"weights ([0-9.]+) MB", detail).group(1))
        for more in ((), ("--set", "load_in_8bit=true")):
            self.assertLess(weights("--set", "split.layers=5", *more), weights(*more) / 2)
        # What silos send is what a split model's server chooses by; another server has nothing to look at.
        choosing = "--set", "method=lora+spf", "--set", "spf.criterion=gradient", "--set", "spf.target_modules=all-linear"
        self.checks("split.yaml", "--serve", *choosing)
        found = self.checks("fed.yaml", "--serve", *choosing, code=2)
        self.assertIn("look at training data", found["settings"][0][1])
        found = self.checks("fed.yaml", "--serve", *choosing, "--set", "data.train=train.jsonl", code=2)
        self.assertIn("look at training data", found["settings"][0][1])

    def test_the_sealing_key_is_looked_for(self):
        def look(*settings, code=0):
            sets = [word for key in ("federation.address=127.0.0.1:0", *settings) for word in ("--set", key)]
            found = self.checks("fed.yaml", "--serve", *sets, code=code)
            self.assertFalse(os.path.exists(self.path("carrel-server")))
            return found["sealing"][0] if "sealing" in found else found["settings"][0]

        self.assertEqual(look()[0], "warning")
        self.assertIn("whoever holds the disk", look("attestation.sealing=development")[1])
        for settings, sentence in ((("attestation.sealing=gramine",), "does not run in Gramine"),
                                   (("attestation.sealing=snp",), "no guest under SEV-SNP"),
                                   (("attestation.sealing=sgx",), "--set: attestation.sealing: \"sgx\" is none of auto,")):
            status, detail = look(*settings, code=2)
            self.assertEqual(status, "failed")
            self.assertIn(sentence, detail)
        status, detail = look("attestation.sealing=tpm", "attestation.tpm=/nowhere", code=2)
        self.assertEqual(status, "failed")
        self.assertRegex(detail, "/nowhere: not there|built without")

    def test_of_a_job_and_what_it_asks_for(self):
        self.write("policy.yaml", "allow_development: true\n")
        self.write("wrong.yaml", "allow_developments: true\n")

        def look(*settings, code=0):
            sets = [word for key in ("federation.address=127.0.0.1:0", *settings) for word in ("--set", key)]
            found = self.checks("fed.yaml", "--serve", *sets, code=code)
            self.assertFalse(os.path.exists(self.path("carrel-server")) and "federation.job=job.cbor" not in settings)
            return {name: lines[0] for name, lines in found.items() if name in ("job", "policy", "evidence")}

        policy, development = "federation.appraisal_policy=policy.yaml", "attestation.attester=development"
        self.assertEqual(look(), {})
        self.assertEqual({name: status for name, (status, _) in look(policy, development).items()},
                         {"policy": "warning", "evidence": "warning"})
        for settings, name, sentence in (
                ((policy, "attestation.attester=tpm", "attestation.tpm=/nowhere"), "evidence", "/nowhere: not there"),
                ((policy, development, "attestation.endorsements=nowhere"), "evidence", "endorsements: nowhere: No such"),
                ((development,), "evidence", "of no use: the job has no appraisal policy"),
                (("federation.appraisal_policy=wrong.yaml",), "policy", "wrong.yaml:1: unknown key"),
                (("federation.appraisal_policy=none.yaml",), "policy", "none.yaml: No such file")):
            status, detail = look(*settings, code=2)[name]
            self.assertEqual(status, "failed")
            self.assertIn(sentence, detail)
        with open(self.path("fed.yaml")) as file:
            text = file.read()
        self.write("job.yaml", text.replace("0.0.0.0:7423", "127.0.0.1:0"))
        job = "federation.job=job.cbor"
        self.assertIn("none.cbor: No such file", look("federation.job=none.cbor", code=2)["job"][1])
        self.assertIn("fed.yaml: that is no job manifest", look("federation.job=fed.yaml", code=2)["job"][1])
        self.succeeds("job", "make", "job.yaml")
        for state in (), ("federation.state_dir=elsewhere",):
            self.assertIn("nobody has signed it", look(job, *state, code=2)["job"][1])
        self.succeeds("key", "owner")
        self.succeeds("job", "sign", "job.cbor", "--key", "owner")
        self.assertEqual(look(job)["job"][0], "ok")
        self.assertIn("not the job's: federation.rounds", look(job, "federation.rounds=3", code=2)["job"][1])
        self.assertIn("another federation than elsewhere", look(job, "federation.state_dir=elsewhere", code=2)["job"][1])
        self.assertFalse(os.path.exists(self.path("elsewhere")))

    def serve(self, state):
        server = subprocess.Popen([CARREL, "serve", "fed.yaml", "--json", "--set",
                                   "federation.address=127.0.0.1:0", "--set", "federation.state_dir=" + state, "--set",
                                   "output_dir=out-" + state], cwd=self.folder, stdout=subprocess.PIPE, text=True)
        for line in server.stdout:
            if json.loads(line)["event"] == "server.listening":
                return server
        self.fail("the server ended")

    def stop(self, server):
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        server.stdout.close()

    def token(self, state):
        with open(self.path("fed.yaml")) as file:
            text = re.sub(r"(?m)^(  address:|  state_dir:) .*$", lambda match: "%s %s" % (
                match[1], state if "state" in match[1] else "127.0.0.1:0"), file.read())
        self.write("invite.yaml", text)
        return self.succeeds("invite", "north", "--config", "invite.yaml").strip()

    def test_a_token_is_looked_at_and_not_spent(self):
        server = self.serve("one")
        try:
            token = self.token("one")
            for _ in range(2):
                found = self.checks("-", "--model", DEMO, "--data", "train.jsonl", input=token + "\n")
                self.assertEqual([status for status, _ in found.pop("sealing")], ["warning"])
                # What the job decides is neither good nor bad before the silo has it.
                unknown = {name: [line for line in lines if line[0] == "unknown"] for name, lines in found.items()}
                self.assertEqual({name for name, lines in unknown.items() if lines}, {"model", "data", "memory", "forward"})
                self.assertEqual(unknown["data"][0][1], "the job decides its chat template, length and label words; known "
                                 "once this silo is enrolled")
                self.assertEqual({status for lines in found.values() for status, _ in lines}, {"ok", "unknown"})
                self.assertIn("is the one that the token names", found["server"][0][1])
                self.assertRegex(found["output"][0][1], r"\Acarrel-silo-north can be written: [0-9.]+ [MG]B are free\Z")
                self.assertEqual(found["data"][0][1], "train.jsonl: 8 rows can be read")
            # What needs no job is judged.
            self.write("chat.jsonl", json.dumps({"messages": [{"role": "user", "content": "?"},
                                                              {"role": "assistant", "content": "!"}]}) + "\nno row\n")
            found = self.checks("-", "--model", DEMO, "--data", "chat.jsonl", input=token + "\n")
            self.assertEqual([status for status, _ in found["data"]], ["ok", "warning", "unknown"])
            self.assertIn("chat.jsonl:2", found["data"][1][1])
            self.write("bad.jsonl", "no row\n")
            for model, data, check, sentence in (("nowhere", "train.jsonl", "model", "nowhere"), (DEMO, "none.jsonl", "data", "none.jsonl"),
                                                 (DEMO, "bad.jsonl", "data", "no row can be read; the first: bad.jsonl:1")):
                found = self.checks("-", "--model", model, "--data", data, input=token + "\n", code=2)
                self.assertEqual(found[check][0][0], "failed")
                self.assertIn(sentence, found[check][0][1])
            self.assertEqual(self.checks("-", input=token + "\n")["model"][0][0], "warning")
            found = self.checks("-", "--sealing", "gramine", "--state", "elsewhere", input=token + "\n", code=2)
            self.assertIn("does not run in Gramine", found["sealing"][0][1])
            self.assertFalse(os.path.exists(self.path("elsewhere")) or os.path.exists(self.path("carrel-silo-north")))
        finally:
            self.stop(server)
        found = self.checks("-", input=token + "\n", code=2)
        self.assertEqual([(status, re.sub(r":\d+:", ":PORT:", detail)) for status, detail in found["server"]],
                         [("failed", "127.0.0.1:PORT: Connection refused")])
        self.assertEqual(self.checks("-", input=token[:-3] + "\n", code=2)["token"][0][0], "failed")

    def join(self, token, model=DEMO, data="train.jsonl", state="carrel-silo-north"):
        return self.carrel("join", token, "--model", model, "--data", data, "--state", state)

    def test_a_silo_that_has_the_job_is_judged_by_it(self):
        chat = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": TEXT}]}]
        self.write("chat.jsonl", "".join(json.dumps(row) + "\n" for row in chat * 8))
        with open(self.path("fed.yaml")) as file:
            text = file.read().replace("chat_template: default", "chat_template: plain")
        self.write("fed.yaml", text.replace("max_length: 256", "max_length: 100").replace("rounds: 10", "rounds: 2")
                   .replace("warmup_steps: 0", "warmup_steps: 4"))
        server = self.serve("one")
        try:
            token = self.token("one")
            # Another model than the job's, which the job's length does not fit: that it is another is what is wrong.
            other = self.join(token, GPT2, "chat.jsonl")
            self.assertEqual((other.returncode, other.stderr.splitlines()[-1]),
                             (2, "carrel: %s is not the job's model (give this silo's with --model DIR)" % GPT2))
            command = "-", "--data", "chat.jsonl"
            found = self.checks(*command, "--model", GPT2, input=token + "\n", code=2)
            self.assertEqual(found["model"], [("failed", "%s is not the job's model (give this silo's with --model DIR)" % GPT2)])
            found = self.checks(*command, "--model", DEMO, input=token + "\n")
            self.assertEqual(found["token"][0][1].split("; this")[0], "for north, whose identity is in carrel-silo-north: it is "
                             "enrolled, and no token is used any more")
            self.assertRegex(found["job"][0][1], r"\Acarrel-silo-north/job.cbor: job [0-9a-f]{64}, ")
            self.assertIn("chat.jsonl: 8 examples", found["data"][0][1])
            self.assertEqual([detail for _, detail in found.pop("training")],
                             ["training.warmup_steps is 4 and there are 4 steps in all: the learning rate only rises, and never "
                              "reaches learning_rate"])
            self.assertEqual({status for name, lines in found.items() for status, _ in lines if name not in ("sealing", "processor")}, {"ok"})
            self.assertIn("forward", found)
            certificate = self.path("carrel-silo-north/certificate.pem")
            with open(certificate) as file:
                good = file.read()
            der = ssl.PEM_cert_to_DER_cert(good)
            until = re.findall(rb"\x17\x0d(\d{12}Z)", der)[1]
            self.write("carrel-silo-north/certificate.pem", ssl.DER_cert_to_PEM_cert(der.replace(until, b"200101000000Z")))
            found = self.checks(*command, "--model", DEMO, input=token + "\n")
            self.assertIn("in carrel-silo-north: its certificate has run out, so it enrols once more", found["token"][0][1])
            self.write("carrel-silo-north/certificate.pem", good)
            # A newer token for a silo that is enrolled is not used, which is said.
            newer = self.join(self.token("one"), data="none.jsonl")
            self.assertEqual(newer.stderr, "carrel: --data: none.jsonl: No such file or directory\n")
            newer = self.join(self.token("one"), GPT2, "chat.jsonl")
            self.assertIn("north is enrolled already: its identity in carrel-silo-north is used, and the token is not\n", newer.stderr)
        finally:
            self.stop(server)
        server = self.serve("two")
        try:
            found = self.checks(*command, "--model", DEMO, input=self.token("two") + "\n", code=2)
            self.assertEqual(found["state"], [("failed", "carrel-silo-north: holds the identity of another federation (choose another --state)")])
            self.assertNotIn("data", found)
        finally:
            self.stop(server)

    def test_the_template_of_a_job_is_not_the_silo_s_to_set(self):
        self.write("chat.jsonl", json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}) + "\n")
        server = self.serve("one")
        try:
            silo = self.join(self.token("one"), data="chat.jsonl")
            self.assertEqual(silo.returncode, 2, silo.stderr)
            self.assertIn("carrel: with the job's settings: chat.jsonl:1: messages need a chat template", silo.stderr)
        finally:
            self.stop(server)

    def test_what_join_is_given_is_looked_at_before_its_token_is_spent(self):
        server = self.serve("one")
        try:
            token = self.token("one")
            for arguments, sentence in ((("nowhere", "train.jsonl"), "--model: nowhere/config.json: not there (a model is a Hugging Face directory on this machine; nothing is fetched)"),
                                        ((DEMO, "none.jsonl"), "--data: none.jsonl: No such file or directory")):
                silo = self.join(token, *arguments)
                self.assertEqual((silo.returncode, silo.stderr), (3, "carrel: %s\n" % sentence))
                self.assertFalse(os.path.exists(self.path("carrel-silo-north")))
        finally:
            self.stop(server)

    def test_another_server_at_the_address_is_found_out(self):
        server = self.serve("one")
        try:
            token = self.token("one")
        finally:
            self.stop(server)
        with open(self.path("one", "port")) as file:
            port = file.read().strip()
        other = subprocess.Popen([CARREL, "serve", "fed.yaml", "--json", "--set",
                                  "federation.address=127.0.0.1:" + port, "--set", "federation.state_dir=two", "--set",
                                  "output_dir=out-two"], cwd=self.folder, stdout=subprocess.PIPE, text=True)
        try:
            for line in other.stdout:
                if json.loads(line)["event"] == "server.listening":
                    break
            found = self.checks("-", input=token + "\n", code=2)
            self.assertEqual(found["server"][0][0], "failed")
            self.assertIn("CA", found["server"][0][1])
        finally:
            self.stop(other)


if __name__ == "__main__":
    unittest.main(verbosity=2)
