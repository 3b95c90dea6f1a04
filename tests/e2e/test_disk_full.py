"""A disk that fills up under tune, a federation's server and a silo, at every page they write and every file they make.

Each run has its files on a small tmpfs with room for so many pages (or names) and no more. It goes on all the same, or
ends with one clear error that names a file there; and once there is room, the same command goes on to the same bytes.

    test_disk_full.py BIN           some of the sizes
    test_disk_full.py BIN --every   every one

It needs a mount: as root, or in a user namespace of its own; where neither can be had, it is skipped.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

INSIDE = "CARREL_TEST_MOUNTS"
if os.geteuid() != 0 and INSIDE not in os.environ:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        print("skipped: neither root nor a user namespace, so nothing can be mounted")
        sys.exit(77)
    os.execvpe("unshare", ["unshare", "-rm", sys.executable, "-B", *sys.argv], dict(os.environ, **{INSIDE: "1"}))
EVERY = "--every" in sys.argv
sys.argv = [argument for argument in sys.argv if argument != "--every"]

from federation_support import Process, SILOS, make_base  # which takes the programs' folder from sys.argv
from support import program, read

PAGE = 4096
SIZE, NAMES = 64 << 20, 1 << 16  # of the disk, and of its files: more than any run needs
STEP = 1 if EVERY else 7
LIMIT = 40  # seconds of a run, most of which none needs
TUNE = ("model_name_or_path: {base}/model\noutput_dir: {out}\ndtype: float32\nthreads: 1\n"
        "lora: {{target_modules: all-linear}}\ndata: {{max_length: 64, train: {base}/anne.jsonl}}\n"
        "training: {{per_device_train_batch_size: 4, learning_rate: 0.01, max_steps: 9, save_steps: 2}}\n")
FEDERATION = ("model_name_or_path: {base}/model\noutput_dir: {out}\ndtype: float32\nthreads: 1\n"
              "lora: {{target_modules: all-linear}}\ndata: {{max_length: 64}}\n"
              "training: {{per_device_train_batch_size: 4, learning_rate: 0.01}}\n"
              "federation: {{rounds: 3, local_steps: 2, min_clients: 3, progress_timeout: 30, "
              "address: '127.0.0.1:0', state_dir: {state}}}\n")


class Failure(Exception):
    pass


class Disk:
    """A tmpfs that has room for so much and no more."""

    def __init__(self, base):
        self.path = base + "/disk"
        os.mkdir(self.path)
        options = "size=%d,nr_inodes=%d" % (SIZE, NAMES)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", self.path], check=True)

    def limit(self, pages=None, names=None):
        """Empties it; then it has room for that many pages, or files and directories."""
        for name in os.listdir(self.path):
            path = os.path.join(self.path, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        # Its root is a name as well; a size of 0 would be no limit.
        self.remount(SIZE if pages is None else max(pages, 1) * PAGE, NAMES if names is None else names + 1)
        if pages == 0:
            with open(self.path + "/fill", "wb") as fill:
                fill.write(bytes(PAGE))

    def remount(self, size, names):
        """A directory that a confined process could reach counts until the kernel has tidied up after that process."""
        command = ["mount", "-o", "remount,size=%d,nr_inodes=%d" % (size, names), self.path]
        deadline = time.monotonic() + 10
        while subprocess.run(command, capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                subprocess.run(command, check=True)
            time.sleep(0.01)

    def free(self):
        self.remount(SIZE, NAMES)

    def close(self):
        subprocess.run(["umount", self.path], check=True)


def check_error(who, code, error, disk):
    """One sentence that names a file on the disk, and the exit code of input and output."""
    if code != 3 or len(error.strip().split("\n")) != 1 or not error.startswith("carrel: ") or disk not in error:
        raise Failure("%s ended with %d: %s" % (who, code, error))
    if not re.search("No space left on device|cannot be", error):
        raise Failure("%s does not say why: %s" % (who, error))


class Tune:
    """One process."""

    def __init__(self, base, disk):
        self.disk, self.out = disk, disk.path + "/out"
        self.config = base + "/tune.yaml"
        with open(self.config, "w") as file:
            file.write(TUNE.format(base=base, out=self.out))

    def begin(self):
        self.waited = False

    def run(self, full):
        """True where it ended well."""
        done = program("tune", self.config)
        if done.returncode == 0:
            return True
        if not full:
            raise Failure("tune ended with %d: %s" % (done.returncode, done.stderr))
        check_error("tune", done.returncode, last(done.stderr), self.disk.path)
        return False

    def result(self):
        return read(self.out + "/adapter_model.safetensors")


def last(text):
    """What a person sees last; before that comes the progress."""
    return text.strip().split("\n")[-1]


class Federation:
    """A server and three silos, of which those named have their files on the disk."""

    def __init__(self, base, disk, on_disk):
        self.base, self.disk, self.on_disk = base, disk, on_disk
        self.elsewhere = base + "/elsewhere"

    def place(self, role):
        return (self.disk.path if role in self.on_disk else self.elsewhere) + "/" + role

    def begin(self):
        shutil.rmtree(self.elsewhere, ignore_errors=True)
        os.mkdir(self.elsewhere)
        self.tokens = {}
        self.config = self.elsewhere + "/run.yaml"
        with open(self.config, "w") as file:
            file.write(FEDERATION.format(base=self.base, out=self.place("server") + "-out", state=self.place("server")))

    def ended(self, role, process, full):
        """True where it ended well."""
        code, error = process.end()
        if code == 0:
            return True
        # Whoever is left without the one that had no room hears of it, and says so.
        if not full or (role not in self.on_disk and code not in (4, 5)):
            raise Failure("%s ended with %d: %s" % (role, code, error))
        if role in self.on_disk:
            check_error(role, code, error, self.disk.path)
        return False

    def run(self, full):
        self.waited = False
        server = Process("serve", self.config)
        while not any(event["event"] == "server.listening" for event in server.events):
            if server.process.poll() is not None:
                return self.ended("server", server, full)
            time.sleep(0.005)
        for name in SILOS:
            if name not in self.tokens:
                invited = program("invite", name, "--config", self.config)
                if invited.returncode != 0:
                    if not full or "server" not in self.on_disk:
                        raise Failure("invite: " + invited.stderr)
                    check_error("invite", invited.returncode, invited.stderr, self.disk.path)
                    server.process.terminate()
                    server.end()
                    return False
                self.tokens[name] = invited.stdout.strip()
        silos = {name: Process("join", self.tokens[name], "--state", self.place(name), "--threads", "1", "--model",
                               self.base + "/model", "--data", "%s/%s.jsonl" % (self.base, name)) for name in SILOS}
        running = dict(silos, server=server)
        good = True
        since = time.monotonic()
        order = [role for role in running if role in self.on_disk] + [r for r in running if r not in self.on_disk]
        while running:
            for role in order:
                if role in running and running[role].process.poll() is not None:
                    good = self.ended(role, running.pop(role), full) and good
            if not good:  # no one waits for what cannot come
                for process in running.values():
                    process.process.terminate()
                for role, process in running.items():
                    process.end()
                return False
            # A server without room for another member lives, and the newcomer asks again.
            said = [event["message"] for silo in silos.values() for event in list(silo.events)
                    if event["event"] == "client.waiting"]
            if full and not self.waited and any("No space left" in message or "the server refused: a file or" in message
                                                for message in said):
                self.waited = True
                self.disk.free()
            if time.monotonic() - since > LIMIT:
                raise Failure("not done after %d seconds: %s" % (LIMIT, {role: process.events[-2:] for role, process
                                                                         in running.items()}))
            time.sleep(0.005)
        return True

    def result(self):
        return read(self.place("server") + "-out/adapter_model.safetensors")


def exhaust(what, subject, disk, kind):
    """One more page (or name) after another, until there are enough; how many runs there were."""
    runs = failures = waits = 0
    room = 0
    expected = subject.expected
    while True:
        disk.limit(**{kind: room})
        subject.begin()
        good = subject.run(full=True)
        runs += 1
        try:
            if not good:
                failures += 1
                disk.free()
                if not subject.run(full=False):
                    raise Failure("it did not go on")
            if subject.result() != expected:
                raise Failure("the adapter is another one")
        except (Failure, OSError) as failure:
            raise Failure("%s with room for %d %s: %s" % (what, room, kind, failure))
        waits += subject.waited
        if good and not subject.waited:
            break
        room += STEP if kind == "pages" else 1
    print("%s: %d sizes in %s, %d ended with an error and went on, %d waited for room" % (
        what, runs, kind, failures, waits), flush=True)
    if failures == 0:
        raise Failure("%s: no run met a full disk" % what)
    return runs


def main():
    base = tempfile.mkdtemp(prefix="carrel-full-")
    disk = Disk(base)
    bad = 0
    try:
        make_base(base)
        subjects = {"tune": Tune(base, disk), "serve": Federation(base, disk, ["server"]),
                    "join": Federation(base, disk, ["ben"])}
        for what, subject in subjects.items():
            try:
                disk.limit()
                subject.begin()
                subject.run(full=False)
                subject.expected = subject.result()
                for kind in ("pages", "names"):
                    exhaust(what, subject, disk, kind)
            except Failure as failure:
                bad += 1
                print("FAILED: %s" % failure, flush=True)
    finally:
        disk.close()
        shutil.rmtree(base)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
