"""A split model's server that has its frozen products computed by an accelerator: as good as without, whatever lies or dies."""
import json
import re
import subprocess
import threading
import unittest

import hostile_accelerator
from federation_support import Federation, SILOS, job_seed, place_secret
from support import BIN, program

SETTINGS = "data: {max_length: 64}\nseed: %d\ntraining: {per_device_train_batch_size: 8, learning_rate: 0.01, max_steps: 20, " \
           "save_steps: 5, logging_steps: 1}\nsplit: {activations: float32, layers: 1, inference: true}\n" \
           "federation: {address: '127.0.0.1:0', min_clients: 3, state_dir: %s}\n%s\n"


class SplitSliced(Federation):
    reference = None

    def settings(self, name, extra, seed=7):
        state = "%s/%s-server" % (self.dir, name)
        place_secret(state)
        return self.config(name, SETTINGS % (seed, state, extra) + self.silos_text())

    def loss(self, *of, how=("--load-in-8bit", "--dtype", "float32")):
        result = program("eval", "--model", self.base + "/model", *of, *how, "--data", self.base + "/pooled.jsonl",
                         "--max-length", "64", "--threads", "1", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["loss"]

    def undisturbed(self):
        """A simulation, which starts the server's accelerator: its adapter and its events."""
        if not SplitSliced.reference:
            run = self.start("simulate", self.settings("undisturbed", "slicing: {pads: enclave, spill: sealed}"))
            self.assert_ends(run)
            SplitSliced.reference = self.adapter("undisturbed"), run.events
        return SplitSliced.reference

    def test_close_to_the_run_without(self):
        adapter, events = self.undisturbed()
        plain = self.settings("plain", "load_in_8bit: true", job_seed(7))
        self.assertEqual(program("simulate", plain).returncode, 0)
        peer = self.start("simulate", self.settings("peer", "slicing: {pads: peer}"))
        self.assert_ends(peer)
        self.assertEqual(self.adapter("peer"), adapter)
        base, local, sliced = self.loss(), *(self.loss("--adapter", "%s/%s" % (self.dir, name)) for name in ("plain", "peer"))
        print("loss of the base %.6f, tuned without slicing %.8f, with %.8f" % (base, local, sliced))
        self.assertLess(abs(sliced - local) / local, 1e-3)
        self.assertLess(abs(sliced - local), 0.02 * (base - local))  # of what was learned
        for event in events:
            if event["event"] == "train.step":
                self.assertFalse({"loss", "grad_norm"} & set(event), event)
        told = [event for event in events if event["event"] == "train.slicing"][-1]
        self.assertGreater(told["rows_verified"], 1000)
        self.assertEqual(told["rows_verified"], told["pads_used"])
        self.assertGreater(told["bytes_blinded"], 32 * 4 * told["rows_verified"] - 1)
        self.assertGreater(told["bytes_spilled"], 0)
        self.assertTrue(150 < told["chi_square"] < 400, told)  # beyond, once in a million runs
        self.assertIn("simulate.warning", {event["event"] for event in peer.events})

    def test_a_server_that_is_killed_and_lied_to(self):
        expected, _ = self.undisturbed()
        asked, killed = set(), threading.Event()

        def look(question, words):
            asked.add(question.linear)
            if hostile.products == 150:  # some eighteen a step: there are steps left, however late the kill is
                killed.wait()

        self.addCleanup(killed.set)
        accelerator = subprocess.Popen([BIN + "/carrel-accelerator", "--model", self.base + "/model", "--threads", "1",
                                        "--listen", "unix:%s/honest" % self.dir], stdout=subprocess.PIPE)
        self.addCleanup(accelerator.stdout.close)
        self.addCleanup(accelerator.wait)
        self.addCleanup(accelerator.kill)
        accelerator.stdout.readline()
        address = "unix:%s/hostile" % self.dir
        hostile = hostile_accelerator.Hostile(self.base + "/model", address, "unix:%s/honest" % self.dir, look=look)
        self.addCleanup(hostile.close)
        config = self.settings("out", "slicing: {pads: enclave, accelerators: ['%s'], spill: sealed}" % address)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        job = program("job", "show", self.dir + "/out-server/job.cbor")
        self.assertRegex(job.stdout, r'(?m)^ *pads: "?enclave"?$')
        self.assertNotIn(address, job.stdout)
        tokens = {name: self.invite(config, name) for name in SILOS}
        refused = self.join(tokens["anne"], "anne", "--accelerator", address)
        self.assert_ends(refused, 2, "--accelerator: a split model's silos ask none")
        refused = self.join(tokens["anne"], "anne", "--own-accelerator", address)
        self.assert_ends(refused, 2, "--own-accelerator: a split model's silos ask none")
        for name in SILOS:
            self.assert_ends(self.join(tokens[name], name))
        server.wait_event("train.step", step=7)
        server.kill()
        killed.set()
        told = []
        hostile.lie = hostile_accelerator.flip_bit_of(hostile.products + 100, say=told.append)
        server = self.start("serve", config)
        code, error = server.end()
        self.assertEqual(code, 4, error)
        row, linear, direction = map(int, re.search(r"of row (\d+) .*linear (\d+), direction (\d)", told[0]).groups())
        name = "the head" if linear == 8 else "%s of layer 1" % ("qkv", "o", "gate_up", "down")[linear - 4]
        self.assertRegex(error, r"^carrel: .*accelerator %s: %s, %s, row %d of \d+ \(a wrong product; nothing of it was used"
                         % (re.escape(address), name, ("forward", "backward")[direction], row))
        hostile.lie = None
        server = self.start("serve", config)
        self.assertGreaterEqual(server.wait_event("train.resumed")["step"], 5)
        server.wait_event("server.done")
        self.assertEqual(self.adapter("out"), expected)
        self.assertEqual(asked, {4, 5, 6, 7, 8})  # nothing of the silos' layer
        # Who asks the result is answered by the server itself, with the base that was tuned.
        server.wait_event("split.serving")
        products = hostile.products
        self.assertAlmostEqual(self.loss("--split", self.dir + "/silo-ben", how=()), self.loss("--adapter", self.dir + "/out"), places=6)
        self.assertEqual(hostile.products, products)
        server.kill()

    def test_what_cannot_be_is_refused(self):
        for extra, sentence in (
                ("slicing: {pads: enclave}", "slicing.accelerators: 0 where slicing.pads: enclave takes one address"),
                ("slicing: {pads: enclave, accelerators: ['unix:/nowhere'], clear_front: local}",
                 "slicing.clear_front: not with split.activations")):
            bad = self.config("bad", SETTINGS % (7, self.dir + "/bad-server", extra))
            self.assert_ends(self.start("serve", bad), 2, sentence)


if __name__ == "__main__":
    unittest.main()
