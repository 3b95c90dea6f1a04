"""Federations of three silos under faults drawn from a seed: each ends with the adapter of the undisturbed run.

Processes are killed and stopped, connections cut, held up, refused and garbled, at named points of the protocol and
at random times. A process may also give up with one clear error; started again, it goes on to the same adapter.

    test_faults.py BIN               the seeds of `make check`
    test_faults.py BIN --seeds N     seeds 1 to N
    test_faults.py BIN --seed N      that one again; its plan is printed first
"""
import argparse
import glob
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from federation_support import Process, Proxy, SILOS, make_base, program

ROUNDS, STEPS = 3, 6
RANK = 320  # more values than one chunk holds, so that a Pull can be met between two
LIMIT = 90  # seconds of one run, most of which none needs
EXPECTED_CODES = {1, 2, 3, 4, 5, 130}


class Failure(Exception):
    pass


class Point:
    """Where a fault strikes: a name, and a condition on the run that is true from then on."""

    def __init__(self, text, reached):
        self.text, self.reached = text, reached


def event(role, name, **fields):
    """Once the role (or any of its processes so far) has said so."""
    text = "%s says %s %s" % (role, name, " ".join("%s=%s" % field for field in fields.items()))
    return Point(text.strip(), lambda run: run.seen(role, name, fields))


def passed(silo, way, count):
    return Point("%d bytes went %s between %s and the server" % (count, way, silo),
                 lambda run: run.proxies[silo].passed[way] >= count)


def file(role, pattern):
    return Point("%s has %s" % (role, pattern), lambda run: glob.glob(os.path.join(run.state(role), pattern)))


def replaced(role, pattern, number, name):
    """Once the sealed file `name` names the file of that number: then the one before is removed."""
    def reached(run):
        there = [os.path.exists(os.path.join(run.state(role), part))
                 for part in (name, pattern % number, pattern % (number - 1))]
        return there == [True, True, False]
    return Point("%s has %s that names %s" % (role, name, pattern % number), reached)


def after(seconds):
    return Point("%.2f seconds have passed" % seconds, lambda run: time.monotonic() - run.begun >= seconds)


# Each takes a source of chance, a silo, a round from 1 on and the bytes of one vector.
POINTS = {
    "key made": lambda chance, silo, round_, size: file(silo, "key.sealed"),
    "enrolment sent": lambda chance, silo, round_, size: passed(silo, "up", chance.randint(1, 1200)),
    "enrolment answered": lambda chance, silo, round_, size: passed(silo, "down", chance.randint(1, 2400)),
    "enrolled, server": lambda chance, silo, round_, size: event("server", "server.enrolled", silo=silo),
    "enrolled, silo": lambda chance, silo, round_, size: event(silo, "client.enrolled"),
    "listening": lambda chance, silo, round_, size: event("server", "server.listening"),
    "admitted, server": lambda chance, silo, round_, size: event("server", "attestation.admitted", peer=silo),
    "admitted, silo": lambda chance, silo, round_, size: event(silo, "attestation.admitted", peer="server"),
    "joined": lambda chance, silo, round_, size: event("server", "server.joined", silo=silo),
    "round begun": lambda chance, silo, round_, size: event(silo, "client.round", round=round_),
    "in a Pull of the silo": lambda chance, silo, round_, size:
        passed(silo, "down", int(size * (round_ - 1 + chance.random()))),
    "training": lambda chance, silo, round_, size: event("server", "round.progress", round=round_, silo=silo),
    "state half written, silo": lambda chance, silo, round_, size: file(silo, "*.tmp.*"),
    "state written, silo": lambda chance, silo, round_, size: file(silo, "trainer-%d.sealed" % (round_ - 1)),
    "answer written": lambda chance, silo, round_, size:
        replaced(silo, "trainer-%d.sealed", round_ - 1, "update.sealed"),
    "trained, silo": lambda chance, silo, round_, size: event(silo, "client.trained", round=round_),
    "trained, server": lambda chance, silo, round_, size: event("server", "round.trained", round=round_, silo=silo),
    "in a Pull of the server": lambda chance, silo, round_, size:
        passed(silo, "up", int(size * (round_ - 1 + chance.random()))),
    "state half written, server": lambda chance, silo, round_, size: file("server", "*.tmp.*"),
    "values written": lambda chance, silo, round_, size: file("server", "values-%d.sealed" % round_),
    "round stored": lambda chance, silo, round_, size:
        replaced("server", "values-%d.sealed", round_, "state.sealed"),
    "closed, server": lambda chance, silo, round_, size: event("server", "round.done", round=round_),
    "closed, silo": lambda chance, silo, round_, size: event(silo, "client.closed", round=round_),
    "result written": lambda chance, silo, round_, size: event("server", "server.done"),
    "any time": lambda chance, silo, round_, size: after(3 * chance.random()),
}


class Fault:
    def __init__(self, name, point, action, target, seconds):
        self.name, self.point, self.action, self.target, self.seconds = name, point, action, target, seconds

    def __str__(self):
        pause = " for %.2f s" % self.seconds if self.action not in ("cut", "garble") else ""
        return "%s (%s): %s %s%s" % (self.name, self.point.text, self.action, self.target, pause)


# The first two and `stop` end a process, which is started again after the pause; the others are the network's.
ACTIONS = ("kill", "kill enclave", "stop", "cut", "hold", "refuse", "garble")


def plan(seed, size):
    """The faults of a seed. Its first point and action come in turn, so that few seeds meet them all."""
    chance = random.Random(seed)
    names = list(POINTS)
    faults = []
    for turn in range(chance.randint(2, 5)):
        name = names[(seed * 3) % len(names)] if turn == 0 else chance.choice(names)
        action = ACTIONS[seed % len(ACTIONS)] if turn == 0 else chance.choice(ACTIONS)
        silo = chance.choice(list(SILOS))
        target = silo
        if action in ("kill", "kill enclave", "stop"):
            target = chance.choice((silo, "server"))
        elif chance.random() < 0.3:
            target = "everyone"
        point = POINTS[name](chance, silo, chance.randint(1, ROUNDS), size)
        faults.append(Fault(name, point, action, target, chance.choice((0, 0, 0.3, 1))))
    # Now and then one stays away for longer than it is waited for, and everyone gives up.
    timeout = 8
    if seed % 10 == 7:
        timeout = 3
        faults.append(Fault("any time", after(1 + chance.random()), "kill", chance.choice(("server", *SILOS)), 6))
    return timeout, faults


class Run:
    """One federation with its network, until it is done."""

    def __init__(self, base, directory, timeout):
        self.base, self.directory = base, directory
        self.processes, self.said, self.restart_at = {}, {}, {}
        self.ended = {}       # role: exit code, of those that ended well
        self.clear_errors = []
        self.proxies = {name: Proxy() for name in SILOS}
        self.releases = []    # (when, what ends)
        self.config = write_config(base, directory, timeout, "out")
        self.tokens = {name: self.invite(name) for name in SILOS}
        self.begun = time.monotonic()

    def invite(self, name):
        path = "%s/address-%s.yaml" % (self.directory, name)
        with open(self.config) as settings, open(path, "w") as text:
            text.write(settings.read().replace("address: ", "advertise: '127.0.0.1:%d', address: "
                                               % self.proxies[name].port))
        result = program("invite", name, "--config", path)
        if result.returncode != 0:
            raise Failure("invite: " + result.stderr)
        return result.stdout.strip()

    def state(self, role):
        return "%s/%s" % (self.directory, role)

    def start(self, role):
        if role == "server":
            process = Process("serve", self.config)
        else:
            process = Process("join", self.tokens[role], "--state", self.state(role), "--threads", "1", "--attester", "development", "--model",
                              self.base + "/model", "--data", "%s/%s.jsonl" % (self.base, role), "--output", self.state("at-" + role))
        self.processes[role] = process
        self.said.setdefault(role, []).append(process.events)

    def seen(self, role, name, fields):
        return any(found["event"] == name and all(found.get(key) == value for key, value in fields.items())
                   for events in self.said.get(role, ()) for found in list(events))

    def strike(self, fault):
        now = time.monotonic()
        if fault.target in self.processes:
            process = self.processes[fault.target]
            if fault.action == "kill":
                process.kill()
                self.away(fault.target, now + fault.seconds)
            elif fault.action == "kill enclave" and process.enclave():
                os.kill(process.enclave(), signal.SIGKILL)
                self.restart_at[fault.target] = now + fault.seconds
            elif fault.action == "stop":
                process.process.send_signal(signal.SIGTERM)
                self.restart_at[fault.target] = now + fault.seconds
            return
        for name, proxy in self.proxies.items():
            if fault.target not in (name, "everyone"):
                continue
            if fault.action == "cut":
                proxy.cut()
            elif fault.action == "garble":
                proxy.garbling = True
            elif fault.action == "hold":
                proxy.flowing.clear()
                self.releases.append((now + fault.seconds, proxy.flowing.set))
            elif fault.action == "refuse":
                proxy.refusing = True
                proxy.cut()
                self.releases.append((now + fault.seconds, lambda proxy=proxy: setattr(proxy, "refusing", False)))

    def away(self, role, until):
        del self.processes[role]
        self.restart_at[role] = until

    def look_after(self, role, process):
        """A process that ended: well, or with one clear sentence, after which it is started again."""
        code, error = process.end()
        if code == 0:
            self.ended[role] = process
            del self.processes[role]
            return
        lines = error.strip().split("\n")
        if code not in EXPECTED_CODES and "carrel-enclave was killed" not in error:
            raise Failure("%s ended with %d: %s" % (role, code, error))
        if len(lines) != 1 or not lines[0].startswith("carrel: "):
            raise Failure("%s ended with %d and not with one clear sentence: %s" % (role, code, error))
        self.clear_errors.append((role, code, lines[0]))
        if len(self.clear_errors) > 40:
            raise Failure("too many errors: %s" % self.clear_errors[-6:])
        # The server has the result: who comes now comes too late to fetch it, and says so.
        if "server" in self.ended and role != "server" and "no connection to the server" in error:
            self.ended[role] = None
            del self.processes[role]
            return
        self.away(role, max(time.monotonic(), self.restart_at.pop(role, 0)))

    def tick(self):
        now = time.monotonic()
        for role, when in list(self.restart_at.items()):
            if role not in self.processes and now >= when:
                del self.restart_at[role]
                self.start(role)
        for role, process in list(self.processes.items()):
            if process.process.poll() is not None:
                self.look_after(role, process)
        for release in [release for release in self.releases if now >= release[0]]:
            release[1]()
            self.releases.remove(release)
        try:
            with open(self.directory + "/server/port") as port:
                behind = int(port.read())
            for proxy in self.proxies.values():
                proxy.port_behind = behind
        except (OSError, ValueError):
            pass

    def until_done(self, faults):
        """Those of the faults that were met."""
        waiting, struck = list(faults), []
        for role in ("server", *SILOS):
            self.start(role)
        while len(self.ended) < 1 + len(SILOS):
            if time.monotonic() - self.begun > LIMIT:
                raise Failure("not done after %d seconds: running %s, done %s, errors %s, last %s" % (
                    LIMIT, list(self.processes), list(self.ended), self.clear_errors,
                    {role: events[-1][-1:] for role, events in self.said.items()}))
            for fault in list(waiting):
                if fault.point.reached(self):
                    waiting.remove(fault)
                    struck.append(fault)
                    self.strike(fault)
            self.tick()
            time.sleep(0.002)
        return struck

    def close(self):
        for process in self.processes.values():
            process.kill()
        for proxy in self.proxies.values():
            proxy.close()


def write_config(base, directory, timeout, output, more=""):
    path, policy = "%s/%s.yaml" % (directory, output), directory + "/policy.yaml"
    with open(policy, "w") as text:
        text.write("allow_development: true\n")
    with open(path, "w") as text:
        text.write("""model_name_or_path: %s/model
output_dir: %s/%s
dtype: float32
threads: 1
lora: {target_modules: all-linear, r: %d}
data: {max_length: 64}
training: {per_device_train_batch_size: 4, learning_rate: 0.01}
federation: {rounds: %d, local_steps: %d, min_clients: %d, progress_timeout: %d, address: '127.0.0.1:0', state_dir: %s/server,
  appraisal_policy: %s}
attestation: {attester: development}
%s""" % (base, directory, output, RANK, ROUNDS, STEPS, len(SILOS), timeout, directory, policy, more))
    return path


def adapter(directory):
    with open(directory + "/adapter_model.safetensors", "rb") as result:
        return result.read()


def undisturbed(base):
    """The adapter, and the bytes of its values."""
    directory = base + "/undisturbed"
    os.mkdir(directory)
    silos = "silos: [" + ", ".join("{name: %s, data: %s/%s.jsonl}" % (name, base, name) for name in SILOS) + "]\n"
    result = program("simulate", write_config(base, directory, 60, "out", silos))
    if result.returncode != 0:
        raise Failure("simulate: " + result.stderr)
    values = glob.glob(directory + "/server/values-*.sealed")
    return adapter(directory + "/out"), os.path.getsize(values[0])


def check_audit(path):
    """Whatever happened, the log is whole but for a torn end, and everybody was admitted each time."""
    result = program("inspect", path, "--json")
    if result.returncode != 0:
        raise Failure(result.stderr)
    if {entry["verdict"] for entry in json.loads(result.stdout)["appraisals"]} != {"admitted"}:
        raise Failure("%s: %s" % (path, result.stdout))


def run_seed(seed, base, expected, size):
    """The faults that were met."""
    directory = "%s/seed-%d" % (base, seed)
    os.mkdir(directory)
    timeout, faults = plan(seed, size)
    print("seed %d: %s" % (seed, "; ".join(map(str, faults))), flush=True)
    run = Run(base, directory, timeout)
    try:
        struck = run.until_done(faults)
        if adapter(directory + "/out") != expected:
            raise Failure("the server's adapter is another one than the undisturbed")
        for name in SILOS:
            if run.ended[name] and adapter(run.state("at-" + name)) != expected:
                raise Failure("the adapter at %s is another one than the undisturbed" % name)
        for role in ("server", *SILOS):
            check_audit(run.state(role) + "/audit.jsonl")
    finally:
        run.close()
    print("seed %d: the undisturbed adapter after %.1f s, %d of %d faults met%s" % (
        seed, time.monotonic() - run.begun, len(struck), len(faults),
        "".join("\n    %s gave up (%d): %s" % error for error in run.clear_errors)), flush=True)
    shutil.rmtree(directory)
    return struck


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    seeds = [arguments.seed] if arguments.seed else range(1, arguments.seeds + 1)
    base = tempfile.mkdtemp(prefix="carrel-faults-")
    bad, met = [], []
    try:
        make_base(base)
        expected, size = undisturbed(base)
        for seed in seeds:
            try:
                met += run_seed(seed, base, expected, size)
            except Failure as failure:
                bad.append(seed)
                print("seed %d FAILED: %s" % (seed, failure), flush=True)
    finally:
        shutil.rmtree(base)
    print("%d seeds, %d faults met at %d of %d points, %d failed%s" % (
        len(seeds), len(met), len({fault.name for fault in met}), len(POINTS), len(bad),
        "".join(" %d" % seed for seed in bad)))
    return 1 if bad or not met else 0


if __name__ == "__main__":
    sys.exit(main())
