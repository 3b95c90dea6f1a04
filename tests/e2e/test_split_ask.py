"""The tuned model of a split job, between real processes: its silos ask it, each with the first layers alone."""
import json
import os
import signal
import struct
import unittest

from federation_support import Federation, program, words

SETTINGS = """method: lora+spf
spf: {criterion: gradient, granularity: element, density: 0.05, calibration_batches: 2}
data: {max_length: 64}
training: {per_device_train_batch_size: 4, learning_rate: 0.02, max_steps: 20}
split: {activations: float32, layers: 1%s}
federation: {address: '127.0.0.1:0', state_dir: %s/server, min_clients: %d, progress_timeout: 20%s}
"""
PROMPT = "the nine"


class SplitAsk(Federation):
    def arguments(self, command, silo, *options):
        return (command, "--model", self.base + "/model", "--split", "%s/silo-%s" % (self.dir, silo), "--threads", "1", *options)

    def generate(self, silo, *options):
        return self.arguments("generate", silo, "--prompt", PROMPT, "--max-new-tokens", "30", *options)

    def refused(self, code, sentence, *arguments):
        result = program(*arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        said = [line for line in result.stderr.splitlines() if not line.startswith("carrel: warning: ")]
        self.assertEqual(len(said), 1, result.stderr)
        self.assertIn(sentence, said[0])

    def own(self, command, *options):
        """What one process says that has the whole model and what was tuned."""
        result = program(command, "--model", self.base + "/model", "--adapter", self.dir + "/out", "--dtype", "float32", "--threads", "1",
                         *options, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.said(result.stdout)

    @staticmethod
    def said(text):
        said = json.loads(text)
        said.pop("tokens_per_second", None)
        return said

    def ended(self, process):
        self.assert_ends(process)
        return {key: value for key, value in process.events[0].items() if key != "tokens_per_second"}

    def test_a_silo_hears_what_one_process_says_whatever_dies(self):
        proxy, advertise = self.proxy()
        with open(self.dir + "/policy.yaml", "w") as file:
            file.write("allow_development: true\n")
        config = self.config("out", SETTINGS % (", inference: true", self.dir, 2, advertise + ", appraisal_policy: %s/policy.yaml" % self.dir)
                             + "attestation: {attester: development}\n")
        server = self.serve(config, proxy)
        self.assert_ends(self.join(self.invite(config, "anne"), "anne"))
        self.refused(4, "the model is not tuned yet", *self.generate("anne"))
        self.assert_ends(self.join(self.invite(config, "ben"), "ben"))
        server.wait_event("split.serving")
        server.wait_event("server.done")
        server.wait_event("attestation.warning")  # of evidence that proves nothing
        before = {way: len(data) for way, data in proxy.recorded.items()}
        labels = self.dir + "/labels.tsv"
        with open(labels, "w") as file:
            file.write("".join("%s\t%d\n" % (row[:20], k % 2) for k, row in enumerate(words(7, 5))))
        answers = self.dir + "/answers.jsonl"
        with open(answers, "w") as file:
            file.write("".join(json.dumps({"question": row[:9], "answer": row[-9:]}) + "\n" for row in words(8, 6)))
        cases = (("generate", "--prompt", PROMPT, "--max-new-tokens", "30"),
                 ("generate", "--prompt", PROMPT, "--max-new-tokens", "30", "--temperature", "0.9", "--seed", "3"),
                 ("eval", "--data", answers, "--max-length", "64", "--chat-template", "plain", "--generate", "--max-new-tokens", "8"),
                 ("eval", "--data", labels, "--max-length", "64", "--label-word", " no", "--label-word", " yes"))
        # Two silos at once.
        for mine, other in zip(cases[::2], cases[1::2]):
            asking = [self.start(*self.arguments(case[0], silo, *case[1:])) for case, silo in ((mine, "anne"), (other, "ben"))]
            self.assertEqual([self.ended(process) for process in asking], [self.own(*mine), self.own(*other)])
        self.assertEqual(server.wait_event("split.asked", silo="anne", examples=6, texts=6)["examples"], 6)
        # Of all that, whoever is on the way has nothing but ciphertext: no row of the embedding, no label.
        passed = b"".join(data[before[way]:] for way, data in proxy.recorded.items())
        with open(self.base + "/model/model.safetensors", "rb") as file:
            weights = file.read()[-300 * 32 * 4:]
        self.assertGreater(len(passed), 40_000)
        for piece in [weights[i:i + 8] for i in range(0, len(weights), 64)] + [struct.pack("<3i", *[-100] * 3)]:
            self.assertNotIn(piece, passed)
        # A silo that dies in the middle of a text costs itself.
        proxy.stop_after(7_000)
        silo = self.start(*self.generate("anne"))
        self.assertTrue(proxy.stopped.wait(60))
        silo.kill()
        proxy.limit = None
        proxy.go_on.set()
        self.assertEqual(self.ended(self.start(*self.generate("ben"))), self.own(*cases[0]))
        # A server that dies ends it with one sentence.
        proxy.stop_after(7_000)
        silo = self.start(*self.generate("anne"))
        self.assertTrue(proxy.stopped.wait(60))
        server.kill()
        proxy.limit = None
        proxy.go_on.set()
        code, error = silo.end()
        self.assertEqual(code, 3, error)
        self.assertEqual(len([line for line in error.splitlines() if "warning" not in line]), 1, error)
        # Started again it serves on; stopped, it ends as one that is done.
        server = self.serve(config, proxy)
        self.assertNotIn("round", server.wait_event("server.listening"))  # there are none
        server.wait_event("split.serving")
        self.assertEqual(self.ended(self.start(*self.generate("anne", "--temperature", "0.9", "--seed", "3"))), self.own(*cases[1]))
        # Who was enrolled anew has an older certificate, and asks no more.
        os.rename(self.dir + "/silo-ben", self.dir + "/silo-older")
        self.assert_ends(self.join(self.invite(config, "ben"), "ben"), 4, "the training is over")
        self.refused(4, "ben was enrolled anew: this certificate is no longer good", *self.generate("older"))
        self.refused(4, "anne has another tokenizer, embedding or layers below split.layers than the server (compare --model)",
                     *[argument.replace("/model", "/other") for argument in self.generate("anne")])
        server.process.send_signal(signal.SIGTERM)
        self.assert_ends(server)
        # A result that was changed is not served.
        with open(self.dir + "/out/adapter_model.safetensors", "r+b") as file:
            file.seek(-3, os.SEEK_END)
            byte = file.read(1)
            file.seek(-3, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        self.assert_ends(self.start("serve", config), 2, "/out: is not what this run has tuned")

    def test_who_may_not_ask_is_told(self):
        config = self.config("out", SETTINGS % ("", self.dir, 1, ""))
        server = self.serve(config)
        self.assert_ends(self.join(self.invite(config, "anne"), "anne"))
        self.refused(4, "nobody may ask the tuned model: the job has no split.inference", *self.generate("anne"))
        self.assert_ends(server)  # which does not go on
        self.refused(3, "silo-cleo/server.token: not there", *self.generate("cleo"))
        self.refused(2, "--adapter, --dtype and --load-in-8bit are not for --split", *self.generate("anne", "--dtype", "float32"))
        self.refused(2, "--endorsements is for --split", "eval", "--model", self.base + "/model", "--data", "x", "--endorsements", "y")


if __name__ == "__main__":
    unittest.main(verbosity=2)
