"""carrel tune in real processes: stopped, killed or out of disk, it goes on to the same bytes."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

from support import CARREL, DEMO, ENVIRONMENT, read, sentence, wait_for, write_rows

STEPS = 150
RESULT, STATE = "adapter_model.safetensors", "trainer.state"


class Tune(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="carrel-tune-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.config = os.path.join(cls.folder, "tune.yaml")
        rows = os.path.join(cls.folder, "rows.jsonl")
        write_rows(rows, [sentence(i, 12) for i in range(23)])
        with open(cls.config, "w") as config:
            json.dump({"model_name_or_path": DEMO, "data": {"train": rows, "max_length": 64},
                       "lora": {"lora_dropout": 0.1},
                       "training": {"max_steps": STEPS, "per_device_train_batch_size": 16, "save_steps": 7,
                                    "logging_steps": 1}}, config)
        whole = os.path.join(cls.folder, "whole")
        done = subprocess.run(cls.command(whole), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        cls.events = [json.loads(line) for line in done.stdout.splitlines()]
        cls.whole = read(os.path.join(whole, RESULT))
        cls.whole_directory = whole

    @classmethod
    def command(cls, output, *more):
        return [CARREL, "tune", cls.config, "--json", "--set", "output_dir=" + output, *more]

    def setUp(self):
        self.output = tempfile.mkdtemp(dir=self.folder)
        self.state = os.path.join(self.output, STATE)

    def run_until(self, event, step, number, *more):
        """Starts a run, signals it at that event of at least that step; its exit code, stderr and events."""
        process = subprocess.Popen(self.command(self.output, *more), env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        with process:
            events, signalled = [], False
            for line in process.stdout:
                events.append(json.loads(line))
                if not signalled and events[-1]["event"] == event and events[-1].get("step", 0) >= step:
                    process.send_signal(number)
                    signalled = True
            error = process.stderr.read()
            return process.wait(60), error, events

    def start(self, *more, code=0):
        done = subprocess.run(self.command(self.output, *more), env=ENVIRONMENT, capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr, [json.loads(line) for line in done.stdout.splitlines()]

    def resumed(self, events):
        """The step that a run went on from; None: it began anew."""
        found = [event for event in events if event["event"] == "train.resumed"]
        return found[0]["step"] if found else None

    def test_a_warm_up_that_never_ends_is_told(self):
        for warmup, schedule, told in ((3, "linear", True), (2, "linear", False), (3, "constant", False)):
            _, events = self.start("--restart", "--set", "training.max_steps=3", "--set", "training.warmup_steps=%d" % warmup,
                                   "--set", "training.lr_scheduler_type=" + schedule)
            warned = [event for event in events if event["event"] == "train.warning" and "warmup_steps" in event]
            self.assertEqual(len(warned), told, (warmup, schedule))
            if told:
                self.assertEqual((warned[0]["warmup_steps"], warned[0]["steps"]), (3, 3))
                self.assertIn("never reaches learning_rate", warned[0]["message"])

    def test_reading_is_told_and_stopped(self):
        long = os.path.join(self.output, "long.jsonl")
        with open(long, "wb") as rows:
            rows.write(read(os.path.join(self.folder, "rows.jsonl")) * 30_000)  # takes seconds to read
        code, error, events = self.run_until("train.reading", 0, signal.SIGTERM, "--set", "data.train=" + long)
        self.assertEqual(code, 130, error)
        self.assertRegex(error, r"\Acarrel: %s: stopped after [\d,]+ rows were read\n\Z" % re.escape(long))
        told = [event for event in events if event["event"] == "train.reading"]
        self.assertTrue(0 < told[0]["part"] < 1 and told[0]["rows"] > 0, told)
        self.assertFalse(os.path.exists(self.state))

    def finished_as_undisturbed(self):
        self.assertEqual(read(os.path.join(self.output, RESULT)), self.whole)
        self.assertEqual(sorted(os.listdir(self.output)), sorted(os.listdir(self.whole_directory)))

    def test_finished_run_leaves_no_state(self):
        self.assertEqual([event["step"] for event in self.events if event["event"] == "train.saved"],
                         list(range(7, STEPS, 7)))
        self.assertEqual([name for name in os.listdir(self.whole_directory) if STATE in name], [])
        self.assertIsNone(self.resumed(self.events))

    def test_a_result_that_will_be_replaced_is_told(self):
        def told(*more):
            return [event["message"] for event in self.start(*few, *more)[1] if event["event"] == "tune.replaces"]
        few = "--set", "training.max_steps=2"
        self.assertEqual(told(), [])
        self.assertEqual(told(), [self.output + " holds an adapter of a finished run, which this one replaces at its end"])
        # A run that was stopped goes on, which it says itself.
        code, error, _ = self.run_until("train.step", 3, signal.SIGTERM)
        self.assertEqual(code, 130, error)
        self.assertNotIn("tune.replaces", [event["event"] for event in self.start()[1]])

    def test_killed(self):
        for step in (15, 33):  # the second time it is a resumed run that is killed
            code, error, _ = self.run_until("train.step", step, signal.SIGKILL)
            self.assertEqual(code, -signal.SIGKILL, error)
            self.assertEqual(stat.S_IMODE(os.stat(self.state).st_mode), 0o600)
        # What a process leaves that is killed while it writes.
        for name in (STATE, RESULT):
            with open(os.path.join(self.output, name + ".tmp.12345"), "wb") as file:
                file.write(b"half")
        _, events = self.start()
        self.assertGreaterEqual(self.resumed(events), 28)
        self.assertEqual(self.resumed(events) % 7, 0)
        self.finished_as_undisturbed()

    def test_evaluations_on_the_way_change_nothing(self):
        rows = os.path.join(self.folder, "held-out.jsonl")
        write_rows(rows, [sentence(i, 9) for i in range(40, 50)])
        often = "--set", "data.eval=" + rows, "--set", "training.eval_steps=40"
        found = []

        def evaluated(events):
            return [(event["step"], event["loss"]) for event in events if event["event"] == "train.eval"]
        for stops in ((), ((80, signal.SIGTERM), (100, signal.SIGKILL))):
            seen = []
            for step, number in stops:
                _, _, events = self.run_until("train.step", step, number, *often)
                seen += evaluated(events)
            _, events = self.start(*often)
            found.append(seen + evaluated(events))
            self.finished_as_undisturbed()
        self.assertEqual([step for step, _ in found[0]], [40, 80, 120, STEPS])
        self.assertEqual(len({loss for _, loss in found[0]}), 4)
        # Those of a run that was stopped and killed are the same; a step that was done again may have one again.
        self.assertEqual(sorted(set(found[1])), found[0])
        # After the last step there is one, whether it is due or not.
        _, events = self.start(*often, "--set", "training.max_steps=80")
        self.assertEqual([step for step, _ in evaluated(events)], [40, 80])

    def test_stopped_while_it_evaluates(self):
        rows = os.path.join(self.folder, "many.jsonl")
        write_rows(rows, [sentence(i, 9) for i in range(5000)])
        often = "--set", "data.eval=" + rows, "--set", "training.eval_steps=5"
        code, error, events = self.run_until("train.step", 5, signal.SIGTERM, *often)
        self.assertEqual(code, 130, error)
        self.assertIn("the same command goes on from", error)
        self.assertNotIn("train.eval", [event["event"] for event in events])
        _, events = self.start()  # without evaluations
        self.assertEqual(self.resumed(events), 5)
        self.finished_as_undisturbed()

    def test_stopped(self):
        for number, step in ((signal.SIGINT, 10), (signal.SIGTERM, 25)):
            code, error, events = self.run_until("train.step", step, number, "--set", "training.save_steps=0")
            self.assertEqual(code, 130, error)
            last = [event["step"] for event in events if event["event"] == "train.step"][-1]
            self.assertEqual(error, "carrel: stopped after step %d of %d: the same command goes on from there (%s)\n"
                             % (last, STEPS, self.state))
            self.assertEqual([event["step"] for event in events if event["event"] == "train.saved"], [last])
        # What does not change the result may change: threads, and how often the state is kept.
        _, events = self.start("--set", "threads=1")
        self.assertEqual(self.resumed(events), last)
        self.finished_as_undisturbed()
        code, error, _ = self.run_until("train.step", 1, signal.SIGTERM, "--set", "training.max_steps=1500")
        self.assertEqual(code, 130, error)
        self.assertRegex(error, r"stopped after step \d+ of 1,500: ")

    def test_base_replaced_meanwhile(self):
        """What a state is known by is read before the first step, and not from what lies there when it is written."""
        base = os.path.join(self.output, "base")
        shutil.copytree(DEMO, base)
        tokenizer = os.path.join(base, "tokenizer.json")
        more = ("--set", "model_name_or_path=" + base, "--set", "training.save_steps=0")
        process = subprocess.Popen(self.command(self.output, *more), env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        with process:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "train.fresh":
                    os.rename(tokenizer, tokenizer + ".old")
                elif event["event"] == "train.step" and event["step"] == 1:
                    process.send_signal(signal.SIGTERM)
            error = process.stderr.read()
            self.assertEqual(process.wait(60), 130, error)
        os.rename(tokenizer + ".old", tokenizer)
        _, events = self.start(*more)
        self.assertGreater(self.resumed(events), 0)
        shutil.rmtree(base)
        self.finished_as_undisturbed()

    def test_ended_again_and_again(self):
        """Stopped or killed as soon as it has made a step, until there is none left."""
        ends, step, begun = 0, 0, set()
        while True:
            number = (signal.SIGTERM, signal.SIGKILL)[ends % 2]
            code, error, events = self.run_until("train.step", step + 1, number, "--set", "training.save_steps=1")
            if code == 0:
                break
            self.assertEqual(code, 130 if number == signal.SIGTERM else -number, error)
            step = max([step] + [event["step"] for event in events if event["event"] == "train.saved"])
            begun.add(self.resumed(events))
            ends += 1
            self.assertLess(ends, 2 * STEPS)
        print("tune: ended %d times, resumed at %d steps" % (ends, len(begun)))
        self.assertGreater(len(begun), 10)
        self.finished_as_undisturbed()

    def test_says_so_to_a_person(self):
        self.run_until("train.saved", 14, signal.SIGINT)
        command = [argument for argument in self.command(self.output) if argument != "--json"]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertRegex(done.stderr, r"(?m)^going on at step \d+ of %d$" % STEPS)

    def test_other_settings_are_refused(self):
        self.run_until("train.saved", 7, signal.SIGINT)
        kept = read(self.state)
        rows = os.path.join(self.output, "other.jsonl")
        with open(rows, "w") as file:
            file.write('{"text": "after lunch"}\n')
        for setting in ("training.learning_rate=0.1", "lora.r=4", "lora.lora_dropout=0.2", "seed=7",
                        "data.train=" + rows):
            error, _ = self.start("--set", setting, code=2)
            self.assertEqual(error, "carrel: %s: the state of another run (model, data or settings differ); remove it or "
                             "give --restart to begin anew, or choose another output_dir\n" % self.state)
            self.assertEqual(read(self.state), kept)
        error, _ = self.start("--set", "method=full", code=2)
        self.assertEqual(error, "carrel: %s:1: lora.lora_dropout: only with method: lora or lora+spf\n" % self.config)
        os.unlink(rows)
        _, events = self.start("--restart", "--set", "training.max_steps=3")
        self.assertIsNone(self.resumed(events))
        self.assertFalse(os.path.exists(self.state))

    def test_damaged_state(self):
        self.run_until("train.saved", 7, signal.SIGINT)
        kept = bytearray(read(self.state))
        kept[len(kept) // 2] ^= 1
        for bad, why in ((kept, "damaged"), (kept[:100], "cut off"), (b"", "not a saved state")):
            with open(self.state, "wb") as file:
                file.write(bad)
            error, _ = self.start(code=2)
            self.assertIn(why, error)
            self.assertIn("remove it or give --restart", error)
            self.assertEqual(error.count("\n"), 1, error)
        self.start("--restart")
        self.finished_as_undisturbed()

    def test_no_room_for_the_state(self):
        """A limit on the size of files stands for a full disk: first nothing is kept, then the state before stays."""
        limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *self.command(self.output)]
        failed = subprocess.run(limited, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertEqual(failed.returncode, 3, failed.stderr)
        self.assertEqual(failed.stderr, "carrel: %s: cannot be written: File too large (at step 7; no step is kept)\n"
                         % self.state)
        self.assertEqual(os.listdir(self.output), [])
        self.run_until("train.saved", 14, signal.SIGKILL)
        kept = read(self.state)
        failed = subprocess.run(limited, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertEqual(failed.returncode, 3, failed.stderr)
        self.assertRegex(failed.stderr, r"^carrel: %s: cannot be written: File too large \(at step \d+; the same command "
                         r"goes on from step \d+\)\n$" % re.escape(self.state))
        self.assertEqual(read(self.state), kept)
        self.assertEqual(os.listdir(self.output), [STATE])
        self.start()
        self.finished_as_undisturbed()

    def test_output_moved_meanwhile(self):
        process = subprocess.Popen(self.command(self.output), env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        with process:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "train.saved" and event["step"] == 7:
                    os.rename(self.output, self.output + ".away")
            self.assertRegex(process.stderr.read(), r"\Acarrel: %s: cannot be written: No such file or directory "
                             r"\(at step \d+; no step is kept\)\n\Z" % self.state)
            self.assertEqual(process.wait(60), 3)

    def test_no_room_for_the_result(self):
        """The last state outlives a result that cannot be written."""
        os.mkdir(os.path.join(self.output, RESULT))
        error, _ = self.start("--set", "training.save_steps=0", code=3)
        self.assertIn(RESULT, error)
        self.assertIn("(the same command goes on from step %d)\n" % STEPS, error)
        self.assertEqual(error.count("\n"), 1, error)
        os.rmdir(os.path.join(self.output, RESULT))
        _, events = self.start()
        self.assertEqual(self.resumed(events), STEPS)
        self.finished_as_undisturbed()

    def test_ended_in_the_evaluation(self):
        """The result is there by then, and the last state still: nothing has to be trained anew but what came after it."""
        held_out = os.path.join(self.folder, "held_out.jsonl")
        write_rows(held_out, ["after lunch the doctor wrote to her sister about rain " * 6] * 5000)
        for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
            process = subprocess.Popen(self.command(self.output, "--set", "data.eval=" + held_out), env=ENVIRONMENT,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            with process:
                wait_for(lambda: os.path.exists(os.path.join(self.output, RESULT)), RESULT)
                process.send_signal(number)
                error = process.stderr.read()
                self.assertEqual(process.wait(60), code, error)
            if number == signal.SIGTERM:
                self.assertRegex(error, r"^carrel: the result is written; data\.eval: %s: evaluation: stopped after [\d,]+ of 5,000 "
                                 r"examples\n$" % re.escape(held_out))
            self.assertEqual(read(os.path.join(self.output, RESULT)), self.whole)
            os.unlink(os.path.join(self.output, RESULT))
        _, events = self.start()
        self.assertEqual(self.resumed(events), (STEPS - 1) // 7 * 7)
        self.finished_as_undisturbed()


if __name__ == "__main__":
    unittest.main(verbosity=2)
