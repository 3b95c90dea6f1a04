"""A split model between real processes: what the tail learns, what either side survives, and what others see of it."""
import json
import os
import shutil
import signal
import struct
import threading
import unittest

from federation_support import Federation, MODEL, SILOS, make_model, program, words
from support import read_tensors, write_rows

ROWS = 400  # of the silo that is disturbed
DATA = "data: {max_length: 64%s}\ntraining: {per_device_train_batch_size: 8, learning_rate: 0.01, max_steps: %d, save_steps: 5, logging_steps: 1}\n"


class Model:
    """The embedding of the small model, and the attack that reads tokens out of what it made: the nearest row."""

    def __init__(self, directory):
        self.directory = directory
        dtype, (self.vocabulary, self.width), table = read_tensors(directory + "/model.safetensors")["model.embed_tokens.weight"]
        assert dtype == "F32", dtype
        self.bytes = [table[i * 4 * self.width:(i + 1) * 4 * self.width] for i in range(self.vocabulary)]
        self.rows = [struct.unpack("<%df" % self.width, row) for row in self.bytes]
        self.squares = [sum(x * x for x in row) for row in self.rows]

    def tokens(self, texts):
        said = program("tokenizer", "encode", "--tokenizer", self.directory, "--lines", "--json", input="".join(text + "\n" for text in texts))
        return [token for line in said.stdout.splitlines() for token in json.loads(line)["ids"]]

    def read(self, data):
        """The token whose row is nearest to each row of the data."""
        guesses = []
        for at in range(0, len(data) - 4 * self.width + 1, 4 * self.width):
            row = [x if abs(x) < 1e15 else 0 for x in struct.unpack_from("<%df" % self.width, data, at)]
            scores = [square - 2 * sum(a * b for a, b in zip(row, other)) for square, other in zip(self.squares, self.rows)]
            guesses.append(scores.index(min(scores)))
        return guesses

    def accuracy(self, data, tokens):
        """The best that comes of any shift of the tokens."""
        guesses = self.read(data)
        return max(sum(a == b for a, b in zip(guesses[shift:], tokens)) / min(len(tokens), len(guesses) - shift)
                   for shift in range(max(1, len(guesses) // 2)))


class Split(Federation):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows = {name: list(words(number + 1, count)) for number, (name, count) in enumerate(SILOS.items())}
        cls.rows["anne"] = list(words(9, ROWS))
        for name in SILOS:
            write_rows("%s/%s.jsonl" % (cls.base, name), cls.rows[name])
        write_rows(cls.base + "/pooled.jsonl", [row for name in sorted(SILOS) for row in cls.rows[name]])

    def split(self, name, more="", steps=40, layers=1, activations="float32", state="server", lora="target_modules: all-linear",
              more_split=""):
        return self.config(name, DATA % ("", steps) + "split: {activations: %s, layers: %d%s}\n" % (activations, layers, more_split)
                           + "federation: {address: '127.0.0.1:0', progress_timeout: 30, state_dir: %s/%s%s}\n" % (self.dir, state, more), lora)

    def pooled(self, steps=40, rows="pooled.jsonl"):
        config = self.config("pooled", DATA % (", train: %s/%s" % (self.base, rows), steps), "target_modules: all-linear, layers_to_transform: [1]")
        result = program("tune", config)
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.adapter("pooled")

    def test_the_tail_learns_what_pooled_data_teach_whatever_dies(self):
        proxy, advertise = self.proxy()
        config = self.split("out", advertise + ", min_clients: 3", steps=400)
        server = self.serve(config, proxy)
        tokens = {name: self.invite(config, name) for name in SILOS}
        for name in ("ben", "cleo"):
            silo = self.join(tokens[name], name)
            self.assert_ends(silo)  # it leaves, long before anything is trained
            sent = silo.wait_event("split.sent")
            self.assertEqual((sent["walked"], sent["walks"]), (SILOS[name], 1))
            silo.wait_event("split.warning")  # of a server that proves nothing
        # The server is killed when it has some of the third silo's examples; the silo stays.
        proxy.stop_after(400_000)
        anne = self.join(tokens["anne"], "anne")
        self.assertTrue(proxy.stopped.wait(60))
        server.wait_event("split.receiving", silo="anne", examples=1)
        server.kill()
        first = proxy.go_on
        proxy.stop_after(600_000)
        server = self.serve(config, proxy)
        first.set()
        # Then the silo, in the middle of the rest.
        self.assertTrue(proxy.stopped.wait(60))
        held = server.wait_event("split.receiving", silo="anne", examples=100)["examples"]
        anne.kill()
        proxy.limit = None
        proxy.go_on.set()
        anne = self.join(tokens["anne"], "anne")
        self.assert_ends(anne)
        sent = anne.wait_event("split.sent")
        self.assertEqual(sent["examples"], ROWS)
        self.assertGreater(sent["walked"], 0)
        self.assertLessEqual(sent["walked"], ROWS - held)  # nothing that was acknowledged
        # Without any silo the server trains, dies, and goes on.
        server.wait_event("train.step", step=12)
        server.kill()
        server = self.serve(config, proxy)
        self.assertGreaterEqual(server.wait_event("train.resumed")["step"], 10)
        self.assert_ends(server)
        self.assertEqual(self.adapter("out"), self.pooled(400))
        self.assertEqual(os.listdir(self.dir + "/server/activations"), [])
        self.assertEqual([name for name in os.listdir(self.dir + "/server") if name.startswith("trainer-")], [])
        with open(self.dir + "/out/adapter_config.json") as file:
            self.assertEqual(json.load(file)["layers_to_transform"], [1])

    def test_what_was_trained_outlives_a_stop(self):
        steps, rare = 3000, ("--set", "training.save_steps=10000")
        config = self.split("out", steps=steps)
        server = self.start("serve", config, *rare)
        server.wait_event("server.listening")
        token = self.invite(config, "cleo")
        self.assert_ends(self.join(token, "cleo"))
        self.look_back(token)
        reached = server.wait_event("train.step", step=3)["step"]
        server.process.send_signal(signal.SIGTERM)
        self.assert_ends(server, 130)
        server = self.start("serve", config, *rare)
        self.assertGreaterEqual(server.wait_event("train.resumed")["step"], reached)
        self.assert_ends(server)
        self.assertEqual(self.adapter("out"), self.pooled(steps, "cleo.jsonl"))

    def look_back(self, token):
        """What is said of a silo that has sent all."""
        self.assertIn("\nexamples with the server: 14 of 14\n", program("status", self.dir + "/silo-cleo").stdout)
        preflight = ["preflight", token, "--model", self.base + "/model", "--state", self.dir + "/silo-cleo", "--json", "--data"]
        for data, code, status, sentence in (("cleo", 0, "ok", ": 14 examples, "), ("none", 2, "failed", "none.jsonl")):
            looked = program(*preflight, "%s/%s.jsonl" % (self.base, data))
            self.assertEqual(looked.returncode, code, looked.stdout)
            found = {line["check"]: line for line in map(json.loads, looked.stdout.splitlines())}
            self.assertEqual(set(found) - {"limits"}, {"token", "server", "sealing", "job", "processor", "output", "data"})
            self.assertEqual(found["data"]["status"], status)
            self.assertIn(sentence, found["data"]["detail"])

    def test_a_long_example_crosses_in_several_frames(self):
        base = self.dir + "/wide"
        shutil.copytree(self.base + "/start", base + "/start")
        with open(base + "/start/config.json", "w") as file:
            json.dump(dict(MODEL, hidden_size=4096, head_dim=16, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32), file)
        write_rows(base + "/pooled.jsonl", [" ".join(words(5, 8))] * 3)
        make_model(base, "model", 1)
        text = "model_name_or_path: %s/model\noutput_dir: %s/%%s\ndtype: float32\nthreads: 1\ndata: {max_length: 128%%s}\n" \
               "lora: {r: 4%%s}\ntraining: {max_steps: 3, per_device_train_batch_size: 1}\n" % (base, base)
        for name, settings in (
                ("whole", ("whole", ", train: %s/pooled.jsonl" % base, ", layers_to_transform: [1]")),
                ("split", ("split", "", ""))):
            with open("%s/%s.yaml" % (base, name), "w") as file:
                file.write(text % settings)
                if name == "split":
                    file.write("split: {activations: float32, layers: 1}\nfederation: {address: '127.0.0.1:0', state_dir: %s/server}\n"
                               "silos: [{name: anne, data: %s/pooled.jsonl}]\n" % (base, base))
        self.assertEqual(program("tune", base + "/whole.yaml").returncode, 0)
        result = program("simulate", base + "/split.yaml", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        held = next(event for event in map(json.loads, result.stdout.splitlines()) if event["event"] == "split.held")
        self.assertGreater(held["rows"] / held["examples"] * 4 * 4096, 1.5 * 2 ** 20)
        adapters = []
        for name in "whole", "split":
            with open("%s/%s/adapter_model.safetensors" % (base, name), "rb") as file:
                adapters.append(file.read())
        self.assertEqual(*adapters)

    def test_a_server_chooses_by_gradients_of_what_it_was_sent(self):
        spf = "method: lora+spf\nspf: {criterion: gradient, granularity: element, density: 0.05, calibration_batches: 3%s}\n"
        config = self.split("out", steps=6, more_split=", inference: true")  # a simulation ends all the same
        with open(config, "a") as file:
            file.write(spf % "" + self.silos_text())
        self.assertEqual(program("simulate", config).returncode, 0)
        pooled = self.config("pooled", DATA % (", train: %s/pooled.jsonl" % self.base, 6) + spf % ", layers_to_transform: [1]",
                             "target_modules: all-linear, layers_to_transform: [1]")
        self.assertEqual(program("tune", pooled).returncode, 0)
        for name in "adapter_model.safetensors", "spf_model.safetensors", "spf_config.json":
            with open("%s/out/%s" % (self.dir, name), "rb") as found, open("%s/pooled/%s" % (self.dir, name), "rb") as expected:
                self.assertEqual(found.read(), expected.read(), name)
        # A server that is started again after all was done has nothing to do.
        server = self.start("serve", config, "--set", "split.inference=false")
        self.assert_ends(server)
        server.wait_event("server.done")

    def test_more_epochs_cost_a_silo_nothing(self):
        sent, passed = [], []
        for epochs in 1, 8:
            shutil.rmtree(self.dir + "/silo-anne", ignore_errors=True)
            proxy, advertise = self.proxy()
            config = self.split("out%d" % epochs, advertise, activations="bfloat16", state="server%d" % epochs)
            with open(config) as file:
                text = file.read().replace("max_steps: 40", "num_train_epochs: %d" % epochs)
            with open(config, "w") as file:
                file.write(text)
            server = self.serve(config, proxy)
            silo = self.join(self.invite(config, "anne"), "anne")
            self.assert_ends(silo)
            self.assert_ends(server)
            sent.append({key: value for key, value in silo.wait_event("split.sent").items() if key not in ("seconds", "time")})
            passed.append(dict(proxy.passed))
            self.assertEqual(server.wait_event("train.begin")["steps"], epochs * ROWS // 8)
        self.assertEqual(*sent)
        self.assertLess(abs(passed[0]["up"] - passed[1]["up"]), 0.05 * passed[0]["up"])
        # A token takes 2·d bytes, and 4 for its label; frames say which rows they are.
        rows, frames = sent[0]["walked_rows"], sent[0]["bytes"] - sent[0]["walked_rows"] * (2 * 32 + 4)
        self.assertEqual(rows, sent[0]["rows"])
        self.assertLess(frames, 32 * ROWS)
        self.assertLess(passed[0]["up"], 1.05 * sent[0]["bytes"] + 20_000)  # TLS, the handshake, the enrolment
        # Nothing comes back but who the server is, the job, and how far things are, which a slow machine says more often.
        for way in passed:
            self.assertLess(way["down"], 20_000)

    def test_nobody_on_the_way_or_at_the_disk_reads_anything(self):
        proxy, advertise = self.proxy()
        config = self.split("out", advertise + ", min_clients: 2", layers=0)
        server = self.serve(config, proxy)
        self.assert_ends(self.join(self.invite(config, "cleo"), "cleo"))
        with open(self.dir + "/server/activations/cleo.0", "rb") as file:
            seen = {"the network": proxy.recorded["up"] + proxy.recorded["down"], "the server's disk": file.read()}
        model = Model(self.base + "/model")
        tokens = model.tokens(self.rows["cleo"])
        # What is hidden is worth hiding: in the clear it is the text.
        clear = b"".join(model.bytes[token] for token in tokens)
        self.assertGreater(model.accuracy(clear[:128 * 100], tokens), 0.99)
        labels = struct.pack("<%di" % len(tokens), *tokens)
        for where, data in seen.items():
            self.assertGreater(len(data), len(clear), where)
            # Whole pieces: a single label's four bytes may be an example's number, which lies open in the file.
            for piece in [clear[i:i + 8] for i in range(0, len(clear), 8)] + [labels[i:i + 12] for i in range(0, len(labels) - 11, 12)]:
                self.assertNotIn(piece, data, where)
            for shift in range(4):
                read = model.accuracy(data[len(data) // 2 + shift:][:128 * 100], tokens)
                self.assertLess(read, 0.15, where)  # of the best shift of 50, each about 1 in 30 by the tokens' frequency
        server.kill()

    def test_what_cannot_be_is_refused(self):
        config = self.split("out", ", min_clients: 2")
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text.replace("layers: 1}", "layers: 1, storage: 200000}"))
        server = self.serve(config)
        self.assert_ends(self.join(self.invite(config, "anne"), "anne"), 4, "which do not fit: the server keeps 200000 (split.storage)")
        self.assertEqual(os.listdir(self.dir + "/server/activations"), [])
        self.assert_ends(self.join(self.invite(config, "ben"), "ben", "--model", self.base + "/other"), 4,
                         "ben has another tokenizer, embedding or layers below split.layers than the server")
        self.assert_ends(self.join(self.invite(config, "ben"), "ben", "--output", self.dir + "/mine"), 2,
                         "--output: the result of a split model stays with its server")
        server.kill()
        for more, code, sentence in (
                ("split: {layers: 2, activations: int8}", 2, "split.layers: 2: the model has 2, and the last is the server's"),
                ("split: {layers: 1}", 2, "split.layers: only with split.activations"),
                ("split: {activations: int8}\nmethod: full", 2, "only with method: lora, spf or lora+spf"),
                ("split: {activations: int8}\nfederation: {rounds: 3}", 2, "federation.rounds: only with split.activations: none (a split model has no rounds)")):
            lora = "r: 4" if "full" not in more else ""
            bad = self.config("bad", more, lora)
            if not lora:
                with open(bad) as file:
                    text = file.read().replace("lora: {}\n", "")
                with open(bad, "w") as file:
                    file.write(text)
            arguments = () if "federation:" in more else ("--set", "federation.state_dir=%s/bad-server" % self.dir)
            result = program("serve", bad, "--set", "federation.address=127.0.0.1:0", *arguments)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(sentence, result.stderr)
        bad = self.split("bad", lora="layers_to_transform: [0, 1]", state="bad-server")
        result = program("serve", bad)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("lora.layers_to_transform: layer 0 is the silos'", result.stderr)
        bad = self.split("bad", lora="target_modules: [up_proj, model.layers.0.mlp.up_proj]", state="bad-server")
        result = program("serve", bad)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("lora.target_modules: model.layers.0.mlp.up_proj lies in a layer of the silos", result.stderr)
        alone = self.config("alone", DATA % (", train: %s/ben.jsonl" % self.base, 2) + "split: {activations: int8}")
        result = program("tune", alone)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("one process alone tunes a whole model", result.stderr)

    def test_who_comes_late_is_told(self):
        config = self.split("out", ", min_clients: 1", steps=2000)
        server = self.serve(config)
        tokens = {name: self.invite(config, name) for name in ("ben", "cleo")}
        self.assert_ends(self.join(tokens["ben"], "ben"))
        server.wait_event("train.step", step=1)
        self.assert_ends(self.join(tokens["cleo"], "cleo"), 4, "the training has begun without these data of cleo")
        # Who sent all of it hears so again.
        silo = self.join(tokens["ben"], "ben")
        self.assert_ends(silo)
        self.assertEqual(silo.wait_event("split.sent")["walked"], 0)
        server.wait_event("train.step", step=12)
        server.kill()
        # An example that someone changed is asked for anew, and the training goes on where it was.
        name = self.dir + "/server/activations/ben.0"
        with open(name, "r+b") as file:
            file.seek(500)
            byte = file.read(1)
            file.seek(500)
            file.write(bytes([byte[0] ^ 1]))
        server = self.serve(config)
        silo = self.join(tokens["ben"], "ben")
        self.assert_ends(silo)
        self.assertGreater(silo.wait_event("split.sent")["walked"], 0)
        self.assertGreaterEqual(server.wait_event("train.resumed")["step"], 10)
        server.kill()

    def test_a_simulation_that_was_stopped_in_its_training_goes_on(self):
        """Its server needs no silo any more, and may be through before one has come back."""
        config = self.split("out", steps=30)
        with open(config, "a") as file:
            file.write(self.silos_text())
        self.assertEqual(program("simulate", config, "--set", "federation.progress_timeout=5").returncode, 0)
        self.assertNotIn("round", program("status", self.dir + "/out").stdout + program("logs", self.dir + "/out").stdout)
        expected = self.adapter("out")
        for i in range(3):
            shutil.rmtree(self.dir + "/server")
            shutil.rmtree(self.dir + "/out")
            first = self.start("simulate", config, "--set", "federation.progress_timeout=5")
            first.wait_event("train.step", step=1 + 12 * i)
            first.process.send_signal(signal.SIGTERM)
            first.end()
            again = program("simulate", config, "--set", "federation.progress_timeout=5")
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(self.adapter("out"), expected)

    def test_a_server_that_is_started_again_when_all_is_over_ends(self):
        """Although it was killed before a silo had heard: it could tell nobody any more."""
        proxy, advertise = self.proxy()
        config = self.split("out", advertise + ", min_clients: 1", steps=2)
        server = self.serve(config, proxy)
        sent, over = threading.Event(), threading.Event()
        self.addCleanup(over.set)

        def meet(data, way, passed):
            if way == "up" and passed + len(data) > 10_000:  # the silo's examples
                sent.set()
            elif way == "down" and sent.is_set():  # that they are there
                over.wait()
            return data
        proxy.meet = meet
        silo = self.join(self.invite(config, "ben"), "ben")
        server.wait_event("server.done")
        self.assertIsNone(server.process.poll())
        server.kill()
        silo.kill()
        server = self.start("serve", config)
        self.assert_ends(server)
        self.assertFalse(any(event["event"] == "server.listening" for event in server.events))


if __name__ == "__main__":
    unittest.main(verbosity=2)
