"""carrel tune, serve and join as parents of carrel-enclave: signals, ends, and what other processes may see."""
import base64
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import time
import unittest

from support import CARREL, DEMO, Folder, arguments, children, gone, wait_for

STEPS = 100000  # more than any test waits for
HARDENED = r"\Ahardened: .*\n(warning: this (kernel|build|processor) .*\n)*"


class Run(Folder):
    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.folder, "tune.yaml")
        self.output = os.path.join(self.folder, "out")
        self.state = os.path.join(self.output, "trainer.state")
        with open(os.path.join(self.folder, "rows.jsonl"), "w") as rows:
            rows.write('{"text": "After lunch the doctor wrote"}\n' * 8)
        with open(self.config, "w") as config:
            json.dump({"model_name_or_path": DEMO, "output_dir": self.output, "threads": 1,
                       "data": {"train": rows.name, "max_length": 32},
                       "training": {"max_steps": STEPS, "logging_steps": 1, "per_device_train_batch_size": 2}}, config)

    def start(self, *command, **options):
        process = subprocess.Popen([CARREL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True, **options)
        self.addCleanup(self.end_all, process)
        return process

    @staticmethod
    def end_all(process):
        process.kill()
        process.communicate()

    def training(self, **options):
        """A run in the middle of its steps, and the process that trains."""
        process = self.start("tune", self.config, "--json", **options)
        for line in process.stdout:
            if json.loads(line)["event"] == "train.step":
                break
        [child] = children(process.pid)
        self.assertEqual(arguments(child)[1], "tune")
        return process, child

    def assert_stopped(self, process, child):
        _, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, error)
        self.assertRegex(error, r"\Acarrel: stopped after step [\d,]+ of {:,}: the same command goes on from there \(.*\)\n\Z".format(STEPS))
        self.assertTrue(os.path.exists(self.state))
        self.assertTrue(gone(child))

    def test_a_signal_stops_it_once(self):
        for to in ("parent", "group", "both", "child"):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                with self.subTest(to=to, number=number):
                    process, child = self.training()
                    if to == "group":  # a terminal's Ctrl-C, a shell's kill %1
                        os.killpg(process.pid, number)
                    elif to == "both":  # systemd, or timeout(1), which sends twice
                        os.kill(process.pid, number)
                        os.kill(child, number)
                        os.kill(process.pid, number)
                    else:
                        os.kill(process.pid if to == "parent" else child, number)
                    self.assert_stopped(process, child)

    def test_a_hang_up_that_was_ignored_stays_ignored(self):
        process, child = self.training(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # nohup
        for pid in (process.pid, child):
            with open("/proc/%d/status" % pid) as file:
                [ignored] = re.findall(r"(?m)^SigIgn:\s*(\w+)$", file.read())
            self.assertTrue(int(ignored, 16) >> (signal.SIGHUP - 1) & 1, pid)

    def test_killed_parent_takes_its_child_along(self):
        process, child = self.training()
        process.kill()
        process.wait()
        wait_for(lambda: gone(child), "the end of the child")

    def test_second_signal_ends_it_at_once(self):
        process, child = self.training()
        os.kill(child, signal.SIGSTOP)  # so that it does not obey the first
        process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        wait_for(lambda: gone(child), "the end of the child")

    def test_one_run_into_a_directory_by_whatever_name(self):
        process, child = self.training()
        other = os.path.join(self.folder, "other")
        os.symlink(self.output, other)
        writing = self.state + ".tmp.%d" % child  # as the live run may have it at any time
        open(writing, "w").close()
        refused = subprocess.run([CARREL, "tune", self.config, "--set", "output_dir=" + other], capture_output=True, text=True)
        self.assertEqual((refused.returncode, refused.stderr),
                         (2, "carrel: output_dir: %s: another run writes its result there\n" % other))
        self.assertTrue(os.path.exists(writing))
        process.terminate()
        self.assert_stopped(process, child)
        again = subprocess.run([CARREL, "tune", self.config, "--set", "output_dir=" + other, "--set", "training.max_steps=1",
                                "--restart"], capture_output=True, text=True)
        self.assertEqual(again.returncode, 0, again.stderr)

    def test_killed_child(self):
        process, child = self.training()
        os.kill(child, signal.SIGKILL)
        _, error = process.communicate(timeout=60)
        self.assertEqual((process.returncode, error), (1, "carrel: carrel-enclave was ended by signal 9 (Killed), as Linux does when "
                                                       "memory runs out: carrel preflight says how much a run takes\n"))

    def test_its_end_is_told_whoever_started_it(self):
        os.remove(os.path.join(self.folder, "rows.jsonl"))
        for action in (signal.SIG_DFL, signal.SIG_IGN):  # as a daemon that leaves its children to the kernel
            process = self.start("tune", self.config, preexec_fn=lambda: signal.signal(signal.SIGCHLD, action))
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 3, error)
            with open(os.path.join(self.output + ".run", "events.jsonl")) as events:
                self.assertEqual(json.loads(events.readlines()[-1])["exit_code"], 3)

    def test_nobody_listens_any_more(self):
        process, child = self.training()
        process.stdout.close()
        self.assertEqual(process.wait(60), 3)
        self.assertEqual(process.stderr.read(), "carrel: standard output: Broken pipe\n")
        self.assertTrue(os.path.exists(self.state))  # as after a signal
        self.assertTrue(gone(child))

    def shown_at_a_terminal(self, kind, *lines):
        """What a run shows that is stopped once it has begun three lines in one of these ways."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([CARREL, "tune", self.config], stderr=theirs, start_new_session=True, env=dict(os.environ, TERM=kind))
        self.addCleanup(self.end_all, process)
        os.close(theirs)
        shown = b""
        while sum(map(shown.count, lines)) < 3:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while more := os.read(ours, 4096):
                shown += more
        except OSError:  # what a terminal says whose last user has gone
            pass
        os.close(ours)
        self.assertEqual(process.wait(60), 130)
        return shown.decode()

    def test_a_terminal_shows_the_end_on_a_line_of_its_own(self):
        shown = self.shown_at_a_terminal("xterm", b"\rstep", b"\x1b[Kstep")
        self.assertRegex(shown, r"\r\x1b\[Kcarrel: stopped after step .*\r\n\Z")
        self.assertRegex(shown.replace("\r\n", "\n"), HARDENED + r"training [\d,]+ values .*\nstep ")

    def test_a_terminal_that_overwrites_nothing_gets_lines(self):
        shown = self.shown_at_a_terminal("dumb", b"\nstep")
        self.assertNotIn("\x1b", shown)
        self.assertRegex(shown, r"\r\nstep .*\r\n(step .*\r\n)*carrel: stopped after step .*\r\n\Z")

    def test_sentences_and_json(self):
        few = ("--set", "training.max_steps=2", "--restart")
        plain = subprocess.run([CARREL, "tune", self.config, *few], capture_output=True, text=True)
        self.assertEqual((plain.returncode, plain.stdout), (0, ""), plain.stderr)
        self.assertRegex(plain.stderr, HARDENED + r"training [\d,]+ values on a model of [\d,]+: 8 examples, 2 steps\n"
                         r"step 1 of 2: loss .*\nstep 2 of 2: loss .*\nthe result is in .*\n\Z")  # logging_steps: 1
        command = [CARREL, "tune", self.config, *few, "--json"]
        lines = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((lines.returncode, lines.stderr), (0, ""))
        command[0] += "-enclave"
        direct = subprocess.run(command, capture_output=True, text=True)
        names = [[json.loads(line)["event"] for line in run.stdout.splitlines()] for run in (lines, direct)]
        self.assertEqual(names[0], names[1])
        self.assertEqual(names[0].pop(0), "enclave.hardened")
        self.assertEqual([name for name in names[0] if name not in ("enclave.warning", "train.warning")],
                         ["train.begin", "train.fresh", "tune.replaces", "train.step", "train.step", "tune.done"])

    def test_token_is_on_no_command_line(self):
        # By docs/PROTOCOL.md; nobody listens at the address.
        content = struct.pack("<BBQ32s32s32sB4sH", 2, 1, 1 << 40, b"F" * 32, b"J" * 32, b"S" * 32, 4, b"anne", 11) + b"127.0.0.1:1"
        token = "carrel2." + base64.urlsafe_b64encode(content + hashlib.sha256(content).digest()[:4]).decode().rstrip("=")
        for argument in (token, "-"):
            process = self.start("join", argument, "--state", self.folder + "/silo", "--model", DEMO, "--data",
                                 self.folder + "/rows.jsonl",
                                 "--json", stdin=subprocess.PIPE)
            if argument == "-":
                process.stdin.write(token + "\n")
                process.stdin.flush()
            wait_for(lambda: json.loads(process.stdout.readline())["event"] == "client.waiting", "an attempt")
            [child] = children(process.pid)
            self.assertEqual(arguments(process.pid)[1:3], ["join", "-" * len(argument)])
            self.assertEqual(arguments(child)[1:3], ["join", "-"])
            process.terminate()
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, error)

    def test_missing_program(self):
        shutil.copy(CARREL, self.folder)
        alone = subprocess.run([self.folder + "/carrel", "tune", self.config], capture_output=True, text=True)
        self.assertEqual((alone.returncode, alone.stderr),
                         (3, "carrel: %s/carrel-enclave: cannot be started: No such file or directory\n" % self.folder))


if __name__ == "__main__":
    unittest.main(verbosity=2)
