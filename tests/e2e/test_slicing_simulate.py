"""A federation with model slicing on one machine: each silo with its own accelerator, killed one after the other, and
what such a federation does not tell."""
import json
import os
import signal
import stat
import subprocess
import unittest

from federation_support import Federation, SILOS, job_seed, place_secret
from support import BIN, arguments, children, program, wait_for

SLICING = "data: {{max_length: 64}}\ntraining: {{per_device_train_batch_size: 4, learning_rate: {rate}, {more}}}\n" \
          "federation: {{address: '127.0.0.1:0', rounds: {rounds}, local_steps: 2, state_dir: {state}}}\nseed: {seed}\n{extra}\n"
SLICED = "slicing: {pads: enclave}"


class Sliced(Federation):
    ROUNDS = 20
    reference = None

    def settings(self, name, extra=SLICED, rate=0.01, seed=7, more="logging_steps: 1", rounds=ROUNDS, **lora):
        """Settings of three silos; the server's secret is there before it starts, so that runs can be compared."""
        state = "%s/%s-server" % (self.dir, name)
        place_secret(state)
        return self.config(name, SLICING.format(rate=rate, more=more, rounds=rounds, state=state, seed=seed, extra=extra)
                           + self.silos_text(), **lora)

    def undisturbed(self):
        if Sliced.reference is None:
            result = program("simulate", self.settings("undisturbed"))
            self.assertEqual(result.returncode, 0, result.stderr)
            Sliced.reference = self.adapter("undisturbed")
        return Sliced.reference

    def loss(self, name):
        result = program("eval", "--model", self.base + "/model", "--adapter", "%s/%s" % (self.dir, name), "--data",
                         self.base + "/pooled.jsonl", "--max-length", "64", "--load-in-8bit", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["loss"]

    def wait_process(self, run, *words):
        """The process of a simulation whose command line has all these words."""
        def found():
            return [pid for pid in children(run.process.pid) if all(word in " ".join(arguments(pid)) for word in words)]
        return wait_for(found, "a process of %s" % (words,))[0]

    def test_same_bytes_again_and_close_to_the_run_without(self):
        expected = self.undisturbed()
        config = self.settings("again")
        run = self.start("simulate", config)
        self.assert_ends(run)
        self.assertEqual(self.adapter("again"), expected)
        # Its seed is of the server's secret; the same one without slicing.
        plain = self.settings("plain", extra="load_in_8bit: true", seed=job_seed(7))
        self.assertEqual(program("simulate", plain).returncode, 0)
        sliced, local = self.loss("again"), self.loss("plain")
        other = self.settings("other", extra="load_in_8bit: true", seed=7)
        self.assertEqual(program("simulate", other).returncode, 0)
        print("loss with slicing %.6f, without %.6f, with another seed %.6f" % (sliced, local, self.loss("other")))
        self.assertLess(abs(sliced - local) / local, 1e-3)
        self.assertGreater(abs(self.loss("other") - local) / local, 1e-5)
        self.check_told(run)

    def test_peers_make_pads(self):
        run = self.start("simulate", self.settings("peer", extra="slicing: {pads: peer}"))
        self.wait_process(run, "carrel-accelerator", "accelerator-2.sock")
        self.assert_ends(run)
        self.assertEqual(self.adapter("peer"), self.undisturbed())
        self.assertIn("simulate.warning", {event["event"] for event in run.events})
        told = [event for event in run.events if event["event"] == "simulate.slicing"]
        self.assertEqual(len(told), len(SILOS))
        for event in told:
            self.assertEqual(event["pads_used"], event["rows_verified"])
            self.assertEqual(event["offline_seconds"], 0)

    def check_told(self, run):
        """What the run says of slicing, and what it keeps to itself."""
        told = {event["silo"]: event for event in run.events if event["event"] == "simulate.slicing"}
        self.assertEqual(set(told), set(SILOS))
        for event in told.values():
            self.assertGreater(event["rows_verified"], 1000)
            self.assertEqual(event["rows_verified"], event["pads_used"])
            self.assertGreater(event["bytes_blinded"], 32 * 4 * event["rows_verified"] - 1)
            self.assertGreater(event["online_seconds"], 0)
            self.assertGreater(event["offline_seconds"], 0)
            self.assertTrue(150 < event["chi_square"] < 400, event)  # beyond, once in a million runs
        progress = [event for event in run.events if event["event"] == "round.progress"]
        rounds = [event for event in run.events if event["event"] in ("round.trained", "round.done")]
        self.assertTrue(progress)
        self.assertEqual(len(rounds), self.ROUNDS * (len(SILOS) + 1))
        self.assertFalse([event for event in progress if "loss" in event])
        for event in rounds:
            self.assertAlmostEqual(event["loss"], round(event["loss"], 2), delta=1e-9)
        for name in SILOS:
            with open("%s/again-server/silos/%s/accelerator.log" % (self.dir, name)) as file:
                self.assertRegex(file.read(), r"listening on unix:.*/silos/%s/accelerator.sock" % name)

    def test_what_is_killed_is_named_and_nothing_is_lost(self):
        expected = self.undisturbed()
        victims = {
            "accelerator": (("carrel-accelerator", "/silos/ben/"),
                            "silo ben: its accelerator has ended: carrel-accelerator was ended by signal 9 (Killed)"),
            "silo": (("carrel-enclave join", "/silos/cleo"), "silo cleo: carrel-enclave was ended by signal 9 (Killed)"),
            "server": (("carrel-enclave serve",), "the server: carrel-enclave was ended by signal 9 (Killed)"),
        }
        config = self.settings("killed")
        for number, (victim, (words, sentence)) in enumerate(victims.items()):
            with self.subTest(victim):
                run = self.start("simulate", config)
                run.wait_event("round.done", round=3 + 4 * number)
                os.kill(self.wait_process(run, *words), signal.SIGKILL)
                self.assert_ends(run, 1, sentence)
                self.assertFalse(os.path.exists("%s/killed-server/silos/ben/accelerator.sock" % self.dir))
        run = self.start("simulate", config)
        begin = run.wait_event("server.listening")
        self.assertGreaterEqual(begin["round"], 11)
        self.assert_ends(run)
        self.assertEqual(self.adapter("killed"), expected)

    def test_killed_with_all_its_processes(self):
        expected = self.undisturbed()
        config = self.settings("killed")
        run = self.start("simulate", config)
        run.wait_event("round.done", round=2)
        started = children(run.process.pid)
        self.assertEqual(len(started), 1 + 2 * len(SILOS))
        run.process.kill()
        run.end()
        second = self.start("simulate", config)
        self.assert_ends(second)
        self.assertEqual(self.adapter("killed"), expected)
        for pid in started:
            self.assertFalse(os.path.exists("/proc/%d" % pid) and "silos" in " ".join(arguments(pid)))

    def test_a_clear_front(self):
        """The job asks for one, and each silo says that the accelerator beside it is its own."""
        last = "target_modules: all-linear, layers_to_transform: [1]"
        told = {}
        for name, extra in ("masked", SLICED), ("front", "slicing: {pads: enclave, clear_front: local}"):
            run = self.start("simulate", self.settings(name, extra=extra, rounds=4, lora=last))
            self.assert_ends(run)
            told[name] = {event["silo"]: event for event in run.events if event["event"] == "simulate.slicing"}
        self.assertEqual(self.adapter("front"), self.adapter("masked"))
        for silo, rows in SILOS.items():
            masked, front = told["masked"][silo], told["front"][silo]
            self.assertEqual(front["front_layers"], 1)
            self.assertEqual(front["front_examples"], min(rows, 4 * 2 * 4))
            self.assertGreaterEqual(front["front_checked"], 1)
            self.assertNotIn("front_layers", masked)
            self.assertLess(front["pads_used"], 0.75 * masked["pads_used"])
            with open("%s/front-server/silos/%s/log" % (self.dir, silo)) as file:
                self.assertIn("the clear front ends before layer 1 of 2: unix:", file.read())

    def test_accelerator_that_cannot_begin(self):
        config = self.settings("blocked")
        os.makedirs("%s/blocked-server/silos/ben" % self.dir, 0o700)
        open("%s/blocked-server/silos/ben/accelerator.sock" % self.dir, "w").close()
        run = self.start("simulate", config)
        self.assert_ends(run, 3, "silo ben: its accelerator has ended: unix:%s/blocked-server/silos/ben/accelerator.sock: "
                         "a file that is no socket is there" % self.dir)

    def test_learning_rates_that_hardly_move_anything(self):
        for number, (rate, more, sentence) in enumerate((
                (0, "warmup_steps: 0", "training.learning_rate: 0: a federation with slicing takes 1e-06 or more"),
                (9e-7, "warmup_steps: 0", "training.learning_rate: 9e-07: a federation with slicing"),
                (0.001, "warmup_steps: 100000", "the learning rate of round 1 is 1e-08 at most"),
                (0.001, "lr_scheduler_type: cosine, max_grad_norm: 1", None),
                (0.00001, "lr_scheduler_type: cosine, max_grad_norm: 1", "the learning rate of round 17 is 9.5"))):
            run = self.start("simulate", self.settings("rate%d" % number, rate=rate, more=more))
            if sentence is None:
                self.assert_ends(run)
                continue
            code, error = run.end()
            self.assertEqual(code, 2 if "training." in sentence else code, error)
            self.assertNotEqual(code, 0)
            self.assertIn(sentence, error)
        # Where nothing is hidden nothing is refused.
        run = self.start("simulate", self.settings("open", rate=0, extra="", rounds=2))
        self.assert_ends(run)

    def test_what_a_silo_keeps_to_itself(self):
        """The losses of steps, the job's seed, and the server's secret, which it draws once."""
        config = self.config("out", SLICING.format(rate=0.01, more="logging_steps: 1", rounds=2,
                                                   state=self.dir + "/server", seed=7, extra=SLICED))
        server = self.start("serve", config)
        server.wait_event("server.listening")
        with open(self.dir + "/server/seed.sealed", "rb") as file:
            secret = file.read()
        self.assertEqual(secret[:8], b"carrelse")
        self.assertEqual(stat.S_IMODE(os.stat(self.dir + "/server/seed.sealed").st_mode), 0o600)
        # A silo that was given no accelerator is enrolled, and is told which job it was that wants one.
        token = self.invite(config, "anne")
        self.assert_ends(self.join(token, "anne"), 2, "the job's slicing.pads asks for an accelerator: give this silo's with --accelerator")
        looked = program("preflight", token, "--model", self.base + "/model", "--data", self.base + "/anne.jsonl", "--state",
                         self.dir + "/silo-anne", "--json")
        self.assertEqual(looked.returncode, 0, looked.stdout)
        found = {line["check"]: line for line in map(json.loads, looked.stdout.splitlines())}
        self.assertEqual(found["accelerator"]["status"], "warning")
        self.assertIn("the job's slicing.pads asks for one", found["accelerator"]["detail"])
        self.assertEqual(found["data"]["status"], "ok")
        accelerator = subprocess.Popen([BIN + "/carrel-accelerator", "--model", self.base + "/model", "--threads", "1",
                                        "--listen", "unix:%s/socket" % self.dir], stdout=subprocess.DEVNULL)
        try:
            silo = self.join(token, "anne", "--accelerator", "unix:%s/socket" % self.dir)
            self.assert_ends(silo)
        finally:
            accelerator.kill()
            accelerator.wait()
        self.assert_ends(server)
        self.assertRegex(silo.wait_event("client.job")["settings"], r"(?m)^seed: 0$")
        steps = [event for event in silo.events if event["event"] == "train.step"]
        self.assertEqual([event["step"] for event in steps], [1, 2, 3, 4])
        for event in steps:
            self.assertFalse({"loss", "grad_norm"} & set(event), event)
            self.assertTrue({"rows_verified", "pads_ready", "learning_rate"} <= set(event), event)
        slicing = [event for event in silo.events if event["event"] == "train.slicing"]
        self.assertEqual(len(slicing), 2)
        self.assertEqual(slicing[1]["rows_verified"], steps[3]["rows_verified"])
        status = program("status", self.dir + "/silo-anne")
        self.assertIn("slicing: rows verified %s" % format(slicing[1]["rows_verified"], ","), status.stdout)
        # The same server again draws none.
        server = self.start("serve", config)
        self.assert_ends(server)
        with open(self.dir + "/server/seed.sealed", "rb") as file:
            self.assertEqual(file.read(), secret)


if __name__ == "__main__":
    unittest.main()
