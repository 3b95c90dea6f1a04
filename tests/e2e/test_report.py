"""What a run leaves behind, and what carrel says of it: run directories of tune, serve, join and simulate."""
import json
import os
import re
import shutil
import stat
import subprocess
import time
import unittest

from support import CARREL, DEMO, ENVIRONMENT, Folder, arguments, children, gone, program


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def text(path):
    with open(path) as file:
        return file.read()


class Report(Folder):
    def setUp(self):
        super().setUp()
        self.output = os.path.join(self.folder, "adapter")
        self.run_dir = self.output + ".run"
        self.rows = os.path.join(self.folder, "rows.jsonl")
        with open(self.rows, "w") as rows:
            rows.write('{"text": "After lunch the doctor wrote"}\n' * 8)

    def write_config(self, name="run", **settings):
        path = os.path.join(self.folder, name + ".yaml")
        with open(path, "w") as config:
            json.dump({"model_name_or_path": DEMO, "output_dir": self.output, "threads": 1,
                       "data": {"train": self.rows, "eval": self.rows, "max_length": 32},
                       "training": {"max_steps": 6, "logging_steps": 2, "per_device_train_batch_size": 2}, **settings},
                      config)
        return path

    def endless(self):
        return self.write_config(training={"max_steps": 10 ** 6, "logging_steps": 1, "per_device_train_batch_size": 2,
                                           "save_steps": 5})

    def start(self, *command, **options):
        process = subprocess.Popen([CARREL, *command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, **options)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_event(self, process, name, **fields):
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == name and all(event[key] >= value for key, value in fields.items()):
                return event
        raise AssertionError("no %s: %s" % (name, process.stderr.read()))

    def names(self, run_dir=None):
        return [event["event"] for event in lines((run_dir or self.run_dir) + "/events.jsonl")]

    def test_tune(self):
        shown = program("tune", self.write_config(), "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        events = lines(self.run_dir + "/events.jsonl")
        self.assertEqual(events[0]["event"], "run.begin")
        self.assertEqual((events[-1]["event"], events[-1]["exit_code"]), ("run.end", 0))
        times = [event.pop("time") for event in events]
        self.assertEqual(times, sorted(times))
        self.assertEqual(events[1:-1], [json.loads(line) for line in shown.stdout.splitlines()])
        self.assertEqual([event["eta"] for event in events if event["event"] == "train.step"][-1], 0)
        metrics = lines(self.run_dir + "/metrics.jsonl")
        self.assertEqual([sorted(line) for line in metrics], [
            ["epoch", "grad_norm", "learning_rate", "loss", "step", "time", "tokens_per_second"]] * 3 + [
            ["eval_accuracy", "eval_loss", "step", "time"], ["time", "train_loss", "train_runtime"]])
        self.assertEqual([line.get("step") for line in metrics], [2, 4, 6, 6, None])
        self.assertEqual([line.get("epoch") for line in metrics], [0.5, 1, 1.5, None, None])
        page = text(self.run_dir + "/summary.html")
        self.assertIn(">finished<", page)
        self.assertIn("<svg ", page)
        self.assertIn("max_steps: 6", page)
        # config.yaml is all settings, and may be used as such.
        self.assertIn("lora_alpha: 16", text(self.run_dir + "/config.yaml"))
        again = program("tune", self.run_dir + "/config.yaml")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertRegex(text(self.run_dir + "/metrics.prom"), r"(?m)^carrel_step 6$")
        self.assertEqual(stat.S_IMODE(os.stat(self.run_dir).st_mode), 0o700)
        self.assertEqual(len([name for name in os.listdir(self.run_dir) if ".tfevents." in name]), 2)

    def test_killed_and_resumed(self):
        config = self.endless()
        for start in range(2):
            process = self.start("tune", config, "--json")
            self.wait_event(process, "train.step", step=30 * (start + 1))
            second = program("tune", config)
            self.assertEqual((second.returncode, second.stderr), (2, "carrel: run directory: %s: another run is going on "
                             "there (process %d)\n" % (self.run_dir, process.pid)))
            process.kill()
            process.wait()
            self.assertIn(">running<", text(self.run_dir + "/summary.html"))  # as it was last written
            self.assertEqual(self.status(config)["state"], "killed")
            self.assertIn("its end is not on record", program("status", config).stdout)
        process = self.start("tune", config, "--json")  # at once: it waits for the end of what was killed
        self.assertGreaterEqual(self.wait_event(process, "train.resumed")["step"], 55)
        process.terminate()
        process.communicate()
        self.assertEqual(process.returncode, 130)
        names = self.names()
        self.assertEqual((names.count("run.begin"), names.count("train.resumed"), names.count("run.end")), (3, 2, 1))
        self.assertIn(">stopped<", text(self.run_dir + "/summary.html"))
        steps = [line["step"] for line in lines(self.run_dir + "/metrics.jsonl")]
        # A kill takes with it what was still on its way to the run directory: steps right up to the one gone on from.
        missing = set(range(1, max(steps) + 1)) - set(steps)
        for event in lines(self.run_dir + "/events.jsonl"):
            step = event["step"] if event["event"] == "train.resumed" else 0
            while step in missing:
                missing.remove(step)
                step -= 1
        self.assertEqual(missing, set())

    def status(self, argument, **options):
        found = program("status", argument, "--json", **options)
        self.assertEqual(found.returncode, 0, found.stderr)
        return json.loads(found.stdout)

    def test_status_and_logs_of_a_running_tune(self):
        config = self.endless()
        process = self.start("tune", config, "--json")
        event = self.wait_event(process, "train.step", step=20)
        follower = self.start("logs", config, "--follow")
        for argument in (config, self.output, self.output + "/", self.run_dir):
            found = self.status(argument)
            self.assertEqual((found["command"], found["state"], found["steps"]), ("tune", "running", 10 ** 6))
            self.assertGreaterEqual(found["step"], event["step"])
            self.assertGreater(found["eta"], 0)
            self.assertNotIn("exit_code", found)
        shown = program("status", config).stdout
        self.assertRegex(shown, r"\A%s: carrel tune, running for [\d.]+ s \(started at 20.*Z\)\nstep [\d,]+ of 1,000,000, "
                         r"loss [\d.]+, [\d,]+ tokens/s\nabout .* left\n\Z" % re.escape(self.run_dir))
        process.terminate()
        _, error = process.communicate()
        followed, _ = follower.communicate(timeout=30)  # it ends with the run
        self.assertEqual(follower.returncode, 0)
        self.assertRegex(followed, r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ  carrel tune begins")
        self.assertTrue(followed.endswith("Z  the end (exit code 130): %s" % error[len("carrel: "):]), followed[-300:])
        self.assertEqual(program("logs", config).stdout, followed)
        self.assertEqual(text(self.run_dir + "/events.jsonl"), program("logs", config, "--json").stdout)
        found = self.status(config)
        self.assertEqual((found["state"], found["exit_code"]), ("stopped", 130))
        self.assertNotIn("eta", found)

    def test_status_of_what_ended(self):
        config = self.write_config()
        missing = program("status", config)
        self.assertEqual((missing.returncode, missing.stderr), (3, "carrel: %s: no run of it is known here (%s is no run "
                         "directory)\n" % (config, self.run_dir)))
        self.assertEqual(program("tune", config, "--set", "data.train=/none.jsonl").returncode, 3)
        self.assertEqual(self.status(config)["state"], "failed")
        self.assertIn("/none.jsonl", self.status(config)["message"])
        self.assertIn("/none.jsonl", program("status", config).stdout)
        self.assertEqual(program("tune", config).returncode, 0)
        found = self.status(self.run_dir)
        self.assertEqual((found["state"], found["step"], found["output"]), ("finished", 6, self.output))
        self.assertGreater(found["eval_accuracy"], 0)
        self.assertIn("evaluation after step 6: loss %.4f, accuracy %.1f %%\n" % (found["eval_loss"], 100 * found["eval_accuracy"]),
                      program("status", config).stdout)
        self.assertEqual(program("status", cwd=self.folder).stdout, program("status", "adapter.run", cwd=self.folder).stdout)
        with open(self.run_dir + "/events.jsonl", "a") as events:
            events.write("nonsense\n")
        size = os.path.getsize(self.run_dir + "/events.jsonl") - len("nonsense\n")
        for command in ("status", "logs"):
            bad = program(command, config)
            self.assertEqual(bad.returncode, 2)
            self.assertIn("carrel: %s/events.jsonl: at byte %d: event:1:" % (self.run_dir, size), bad.stderr)
        for name in ("lock", "events.jsonl"):  # neither waits for who might write into it
            os.rename(self.run_dir + "/" + name, self.folder + "/aside")
            os.mkfifo(self.run_dir + "/" + name)
            self.assertEqual(subprocess.run([CARREL, "status", config], capture_output=True, timeout=20).returncode, 2, name)
            os.rename(self.folder + "/aside", self.run_dir + "/" + name)
        os.mkdir(self.folder + "/other.run")
        shutil.copy(self.run_dir + "/events.jsonl", self.folder + "/other.run")
        several = program("logs", cwd=self.folder)
        self.assertEqual(several.returncode, 2)
        self.assertIn("carrel: 2 run directories are here, ", several.stderr)
        nothing = program("status", cwd=self.output)
        self.assertEqual(nothing.returncode, 3)
        self.assertIn("no run directory is here", nothing.stderr)

    def test_failure_is_kept(self):
        failed = program("tune", self.write_config(), "--set", "data.train=" + self.folder + "/none.jsonl")
        self.assertEqual(failed.returncode, 3)
        last = lines(self.run_dir + "/events.jsonl")[-1]
        self.assertEqual("carrel: %s" % last["message"], failed.stderr.splitlines()[-1])
        self.assertEqual(last["exit_code"], 3)

    def test_a_refused_start_leaves_the_record_of_the_run(self):
        config = self.endless()
        process = self.start("tune", config, "--json")
        self.wait_event(process, "train.saved")
        process.terminate()
        process.communicate()
        kept, before = text(self.run_dir + "/config.yaml"), self.status(config)
        for setting, why in (("training.learning_rate=0.5", "the state of another run"), ("data.train=/none.jsonl", "/none.jsonl")):
            refused = program("tune", config, "--set", setting)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(why, refused.stderr)
            self.assertEqual(text(self.run_dir + "/config.yaml"), kept)
            self.assertNotIn("learning_rate: 0.5\n", text(self.run_dir + "/summary.html"))
            found = self.status(config)
            self.assertEqual((found["state"], found["step"], found["steps"]), ("failed", before["step"], 10 ** 6))
            self.assertIn(why, found["message"])
            self.assertRegex(program("status", config).stdout, r"\nbefore this start: step [\d,]+ of 1,000,000, loss ")
        process = self.start("tune", self.run_dir + "/config.yaml", "--json")  # which is what goes on
        self.assertGreaterEqual(self.wait_event(process, "train.resumed")["step"], 5)

    def test_full_disk_does_not_stop_the_work(self):
        """A limit on the size of files stands for a full disk: the adapter fits, the events do not."""
        config = self.write_config(training={"max_steps": 3000, "logging_steps": 1, "per_device_train_batch_size": 1,
                                             "save_steps": 0})
        for json_flag in ([], ["--json"]):
            done = subprocess.run(["bash", "-c", 'ulimit -f 110; exec "$@"', "-", CARREL, "tune", config, *json_flag],
                                  env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            if json_flag:
                warnings = [event["message"] for event in map(json.loads, done.stdout.splitlines())
                            if event["event"] == "run.warning"]
            else:
                warnings = re.findall(r"(?m)^warning: (?!this (?:kernel|build|processor) )(.*)$", done.stderr)
            self.assertEqual(warnings, ["%s/events.jsonl: cannot be written: File too large (the run goes on)" % self.run_dir])
            self.assertTrue(os.path.exists(self.output + "/adapter_model.safetensors"))
        self.assertGreater(len(self.names()), 100)  # whole lines, all of them events

    def test_no_place_for_it(self):
        with open(self.run_dir, "w"):
            pass
        failed = program("tune", self.write_config())
        self.assertEqual((failed.returncode, failed.stderr),
                         (3, "carrel: run directory: %s: there is a file of that name\n" % self.run_dir))

    def federation(self, **more):
        return self.write_config("federation", federation={"rounds": 2, "local_steps": 3, "address": "127.0.0.1:0",
                                                           "state_dir": self.folder + "/server", "min_clients": 2},
                                 training={"logging_steps": 2, "per_device_train_batch_size": 2}, **more)

    def test_serve_and_join(self):
        config = self.federation()
        server = self.start("serve", config, "--json")
        self.wait_event(server, "server.listening")
        silos = {}
        for name in ("anne", "ben"):
            token = program("invite", name, "--config", config).stdout.strip()
            silos[name] = self.start("join", token, "--state", "%s/%s" % (self.folder, name), "--model", DEMO,
                                     "--data", self.rows)
            if name == "anne":  # who waits for the other one
                self.wait_event(server, "server.joined")
                deadline = time.monotonic() + 10  # what it has said may still be on its way to its run directory
                while self.status(self.folder + "/anne").get("message") != "for the server to begin":
                    self.assertLess(time.monotonic(), deadline)
                self.assertEqual(self.status(self.folder + "/anne")["silos"][0]["state"], "connected")
                self.assertIn("\nwaiting: for the server to begin\n", program("status", self.folder + "/anne").stdout)
                said = program("status", config).stdout
                self.assertRegex(said, r"\nanne +connected +connected\n")
                table = said[said.index("\nsilo "):].splitlines()
                self.assertLessEqual(max(map(len, table)), 80)
                silos[name].terminate()
                silos[name].communicate(timeout=60)
                self.wait_event(server, "server.left")
                deadline = time.monotonic() + 10
                while not re.search(r"\nanne +away +[0-9.]+ s ago\n", program("status", config).stdout):
                    self.assertLess(time.monotonic(), deadline, program("status", config).stdout)
                silos[name] = self.start(*silos[name].args[1:])
        self.wait_event(server, "round.begin")
        found = self.status(config)
        self.assertEqual((found["command"], found["state"], found["rounds"], found["min_clients"]), ("serve", "running", 2, 2))
        self.assertEqual([silo["silo"] for silo in found["silos"]], ["anne", "ben"])
        self.assertEqual(self.status(self.folder + "/anne")["command"], "join")
        for process in (server, *silos.values()):
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, error)
        progress = [event for event in lines(self.run_dir + "/events.jsonl") if event["event"] == "round.progress"]
        self.assertIn(0, [event["step"] for event in progress])
        for event in progress:
            for known_from_the_first_step in ("loss", "tokens_per_second"):
                self.assertEqual(known_from_the_first_step in event, event["step"] > 0, event)
        done = [line for line in lines(self.run_dir + "/metrics.jsonl") if "federation_loss" in line]
        self.assertEqual([(line["round"], line["silos"]) for line in done], [(1, 2), (2, 2)])
        for name in silos:
            self.assertIn('carrel_silo_trained_round{silo="%s"} 2\n' % name, text(self.run_dir + "/metrics.prom"))
            run_dir = "%s/%s.run" % (self.folder, name)
            settings = text(run_dir + "/config.yaml")
            self.assertIn('train: "%s"' % self.rows, settings)
            self.assertIn("max_steps: 6", settings)
            losses = [line for line in lines(run_dir + "/metrics.jsonl") if "round_loss" in line]
            self.assertEqual([line["round"] for line in losses], [1, 2])
            self.assertIn(">finished<", text(run_dir + "/summary.html"))
            self.assertEqual(self.status(run_dir)["round"], 2)
            self.assertNotIn("carrel2.", text(run_dir + "/events.jsonl"))

    def simulation(self):
        return self.federation(silos=[{"name": "anne", "data": self.rows, "eval": self.rows},
                                      {"name": "ben", "data": self.rows}])

    def test_simulate(self):
        done = program("simulate", self.simulation())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([(line["silo"], "eval_accuracy" in line) for line in lines(self.run_dir + "/metrics.jsonl")
                          if "eval_loss" in line], [("anne", True)])
        self.assertIn("<td>ben</td>", text(self.run_dir + "/summary.html"))

    def test_killed_simulation_leaves_no_process(self):
        command = ("simulate", self.simulation(), "--json", "--set", "federation.local_steps=100000", "--set", "threads=0")
        process = self.start(*command)
        self.wait_event(process, "round.progress")
        roles = children(process.pid)
        self.assertEqual(len(roles), 3)
        # Each of the two silos takes its part of the processors.
        threads = [int(words[words.index("--threads") + 1]) for words in map(arguments, roles) if "--threads" in words]
        self.assertEqual(len(threads), 2)
        self.assertLessEqual(sum(threads), max(2, len(os.sched_getaffinity(0))))
        self.assertGreaterEqual(min(threads), 1)
        process.kill()
        process.wait()
        # The next run begins when the last of them is gone.
        process = self.start(*command)
        self.wait_event(process, "server.listening")
        for pid in roles:
            self.assertTrue(gone(pid), pid)


if __name__ == "__main__":
    unittest.main(verbosity=2)
