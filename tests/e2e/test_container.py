"""What a container leaves of the machine, processors' time and memory, as control groups of version 2 say it, and its first process.
The groups are laid out in a folder that is mounted in the place of the machine's own. Where no namespace can be had, this is skipped."""
import json
import os
import re
import signal
import subprocess
import time
import unittest

from support import BIN, CARREL, DEMO, ENVIRONMENT, Folder, arguments as arguments_of, children, gone, read, wait_for

TEXT = "After lunch, the gardener forgot a photograph at the long corridor. The dog slept through it all."
PROCESSORS = len(os.sched_getaffinity(0))
NAMESPACE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


@unittest.skipIf(subprocess.run([*NAMESPACE, "test", "-d", "/sys/fs/cgroup"], capture_output=True).returncode != 0,
                 "neither root nor a user namespace, or no control groups")
class Container(Folder):
    def setUp(self):
        super().setUp()
        self.write("train.jsonl", "".join(json.dumps({"text": TEXT}) + "\n" for _ in range(512)))
        os.mkdir(self.path("groups"))
        subprocess.run([CARREL, "init", DEMO], cwd=self.folder, env=ENVIRONMENT, capture_output=True, check=True)

    def limit(self, **files):
        for name, text in files.items():
            self.write(os.path.join("groups", name.replace("_", ".")), text + "\n")

    def inside(self, program, *arguments):
        script = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
        return subprocess.Popen([*NAMESPACE, "sh", "-c", script, self.path("groups"), os.path.join(BIN, program), *arguments],
                                cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def preflight(self, code=0):
        process = self.inside("carrel", "preflight", "carrel.yaml")
        text, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, text)
        return {check: detail for check, detail in re.findall(r"^\w+ +(\w+) +(.*)$", text, re.M)}

    def most_threads(self):
        """That carrel-enclave has, once it has given up the files that say how many it may."""
        process, most = self.inside("carrel-enclave", "tune", "carrel.yaml", "--restart", "--set", "training.max_steps=50"), 0
        while not gone(process.pid):
            try:
                most = max(most, len(os.listdir("/proc/%d/task" % process.pid)))
            except FileNotFoundError:
                pass
            time.sleep(0.005)
        self.assertEqual(process.wait(), 0, process.stdout.read())
        process.stdout.close()
        return most

    def test_preflight_counts_with_what_is_left(self):
        self.assertNotIn("limits", self.preflight())
        self.limit(cpu_max="50000 100000", memory_max="1000000000", memory_current="600000000")
        with open(self.path("groups", "memory.stat"), "w") as file:
            file.write("anon 500000000\ninactive_file 100000000\n")
        found = self.preflight()
        self.assertEqual(found["limits"], "this process's control group leaves it 1 processor and 500.0 MB of memory")
        self.assertIn(", 1 thread", found["processor"])
        self.assertIn("; 500.0 MB are free", found["memory"])
        self.limit(cpu_max="max 100000", memory_current="1000001000", memory_stat="anon 1000000000")
        found = self.preflight(code=2)
        self.assertEqual(found["limits"], "this process's control group leaves it 0.0 MB of memory")
        self.assertIn(", %d threads" % PROCESSORS, found["processor"])

    @unittest.skipIf(PROCESSORS < 2, "one processor has one thread")
    def test_as_many_threads_as_the_time_is_for(self):
        all_threads = self.most_threads()
        self.limit(cpu_max="90000 100000")
        self.assertEqual(self.most_threads(), all_threads - (PROCESSORS - 1))


@unittest.skipIf(subprocess.run([*NAMESPACE, "-pf", "--mount-proc", "true"], capture_output=True).returncode != 0,
                 "neither root nor a user namespace")
class FirstProcess(Folder):
    """Linux keeps signals that a container's process 1 does not catch from it."""

    def start(self, *arguments):
        """The program, which is process 1 of its namespace, and unshare, which waits for it."""
        waiting = subprocess.Popen([*NAMESPACE, "-pf", "--mount-proc", CARREL, *arguments], cwd=self.folder, env=ENVIRONMENT,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(waiting.communicate)
        first = wait_for(lambda: [pid for pid in children(waiting.pid) if arguments_of(pid)[:1] == [CARREL]], "process 1")[0]
        self.addCleanup(lambda: gone(first) or os.kill(first, signal.SIGKILL))
        return waiting, first

    def test_a_signal_ends_what_waits(self):
        for number in signal.SIGTERM, signal.SIGINT:
            waiting, first = self.start("preflight", "-")  # for a token
            wait_for(lambda: read("/proc/%d/stat" % first).rsplit(b")", 1)[1].split()[0] == b"S", "its sleep")
            os.kill(first, number)
            self.assertEqual(waiting.wait(30), 128 + number)

    def test_a_second_signal_ends_a_run_that_hangs(self):
        self.write("train.jsonl", json.dumps({"text": TEXT}) + "\n")
        subprocess.run([CARREL, "init", DEMO], cwd=self.folder, env=ENVIRONMENT, capture_output=True, check=True)
        waiting, first = self.start("tune", "carrel.yaml", "--set", "training.max_steps=1000000")
        child = wait_for(lambda: children(first), "carrel-enclave")[0]
        wait_for(lambda: os.path.exists(self.path("adapter")), "the run")
        os.kill(child, signal.SIGSTOP)
        os.kill(first, signal.SIGTERM)
        time.sleep(1.2)
        self.assertIsNone(waiting.poll())
        os.kill(first, signal.SIGTERM)
        self.assertEqual(waiting.wait(30), 128 + signal.SIGTERM)
        wait_for(lambda: gone(child), "the end of the child")


if __name__ == "__main__":
    unittest.main(verbosity=2)
