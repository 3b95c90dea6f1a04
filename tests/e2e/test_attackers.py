"""Attackers from inside against real servers and silos whose ends are attested: hostile_peer.c holds a silo's
certificate, or a copy of the server's disk, and is refused for its own reason, before anything is said about the job
or anybody's values, and the run that it was to disturb ends well."""
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import unittest

from federation_support import Federation, Proxy
from support import ENVIRONMENT, program, wait_for

HOSTILE = os.path.abspath(sys.argv.pop(1))

# What may be said on a connection before both its ends are admitted, and when that is all over.
BEFORE = {"Challenge", "Evidence", "Refused", "Close"}

SETTINGS = """federation: {address: "127.0.0.1:0", advertise: "127.0.0.1:%d", state_dir: %s/server, rounds: 2,
  local_steps: 1, min_clients: 2, appraisal_policy: %s/policy.yaml}
attestation: {attester: development}
data: {max_length: 64}"""

REPLAYED = "its evidence answers another challenge (replayed)"
REFLECTED = "it sent this end's own evidence back (reflected)"
ANOTHER_JOB = "its evidence is for another job, or for another appraisal policy"
ANOTHER_CONNECTION = "its evidence is of another connection (relayed)"
WRONG_NONCE = "a Challenge message with a wrong nonce"
LATE = "it showed no evidence within 30 seconds of the challenge"
TOO_EARLY = "before both ends are attested: a %s frame is not accepted here"


class Hostile:
    """hostile_peer at work, and what it had to say of it."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([HOSTILE, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def port(self):
        return int(self.process.stdout.readline().split()[1])

    def end(self):
        """All lines; of what came, the types alone; the reasons for which it was refused."""
        output, error = self.process.communicate(timeout=300)
        if self.process.returncode != 0:
            raise AssertionError("%s: %s" % (self.process.args[1:], error))
        self.lines = output.splitlines()
        self.came = [line.split()[1] for line in self.lines if line.startswith("got ")]
        self.reasons = [line.split(None, 1)[1] for line in self.lines if line.startswith("refused ")]
        return self


class Attackers(Federation):
    def settings(self, proxy):
        return self.config("out", SETTINGS % (proxy.port, self.dir, self.dir))

    def hostile(self, *arguments):
        hostile = Hostile(*arguments)
        self.addCleanup(hostile.process.kill)
        return hostile

    def proxy(self, port):
        proxy = Proxy(port)
        self.addCleanup(proxy.close)
        return proxy

    def wait_told(self, process, known, sentence):
        """An event behind the `known` first has it in its message."""
        wait_for(lambda: any(sentence in event.get("message", "") for event in process.events[known:]), sentence)

    def assert_refused(self, hostile, *sentences):
        """It was told so, and nothing else."""
        self.assertLessEqual(set(hostile.came), BEFORE, hostile.lines)
        self.assertNotIn("admitted", hostile.lines)
        self.assertEqual(len(hostile.reasons), len(sentences), hostile.lines)
        for reason, sentence in zip(hostile.reasons, sentences):
            self.assertIn(sentence, reason)

    def silo_attacks(self, attack, sentence):
        """A hostile silo is at the server."""
        with self.subTest("silo", attack=attack):
            known = len(self.server.events)
            hostile = self.hostile("silo", attack, self.address, self.dir + "/mallory").end()
            self.assert_refused(hostile, *([sentence] if attack != "early-data" else []))
            self.assertNotIn("resumed", hostile.lines)
            self.wait_told(self.server, known, sentence)

    def join_hostile(self, hostile, sentence, *more):
        """anne, whom her token brings to a hostile server, and who stays away from it."""
        self.to_anne.port_behind = hostile.port()
        silo = self.join(self.tokens["anne"], "anne", "--attester", "development", *more)
        self.assert_ends(silo, 4 if sentence else 0, sentence)
        return silo

    def server_attacks(self, attack, sentence):
        """A hostile server, with all that the real one has."""
        with self.subTest("server", attack=attack):
            hostile = self.hostile("server", attack, self.dir + "/stolen")
            self.join_hostile(hostile, sentence)
            self.assert_refused(hostile.end(), sentence)
            self.assertNotIn("resumed", hostile.lines)

    def relay_attacks(self, attack, identity, at_server, at_silo):
        """Between anne and the real server, whose genuine evidence reaches the other through it."""
        with self.subTest("relay", attack=attack):
            known = len(self.server.events)
            hostile = self.hostile("relay", attack, self.dir + "/stolen", self.address, self.dir + identity)
            self.join_hostile(hostile, at_silo)
            self.assertLessEqual(set(hostile.end().came), BEFORE)
            self.wait_told(self.server, known, at_server)

    def crowd(self, count):
        """So many connections with mallory's certificate, on none of which anything is said."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.dir + "/mallory/certificate.pem", self.dir + "/mallory/key.pem")
        for _ in range(count):
            line = context.wrap_socket(socket.create_connection(self.address.split(":")))
            self.addCleanup(line.close)

    def set_back(self, attack, state, sentence):
        """A server that tells of its state and does not ask what anne remembers."""
        with self.subTest("set back", attack=attack, state=state):
            hostile = self.hostile("server", attack, self.dir + state)
            silo = self.join_hostile(hostile, sentence)
            hostile.end()
            self.assertLess(hostile.lines.index("admitted"), hostile.lines.index("got Hello"))
            self.assertLessEqual(set(hostile.came), BEFORE | {"Admitted", "Hello", "Ready"})
            self.assertNotIn("client.round", [event["event"] for event in silo.events])
            return hostile

    def audited(self, state, sentences):
        path = "%s/%s/audit.jsonl" % (self.dir, state)
        told = json.loads(program("inspect", path, "--json").stdout)
        with open(path) as file:
            text = file.read()
        for sentence in sentences:
            self.assertIn(sentence, text)
        return {(entry["peer"], entry["verdict"]) for entry in told["appraisals"]}

    def test_attackers(self):
        with open(self.dir + "/policy.yaml", "w") as file:
            file.write("allow_development: true\n")
        self.to_anne, to_ben = self.proxy(0), self.proxy(0)
        config = self.settings(self.to_anne)
        self.server = self.start("serve", config)
        self.address = self.server.wait_event("server.listening")["address"]
        port = int(self.address.split(":")[1])
        self.to_anne.port_behind = to_ben.port_behind = port
        self.tokens = {name: self.invite(config, name) for name in ("anne", "mallory")}
        self.tokens["ben"] = self.invite(self.settings(to_ben), "ben")
        os.mkdir(self.dir + "/mallory")
        self.hostile("enrol", self.tokens["mallory"], self.dir + "/mallory").end()

        # Both are enrolled, and wait for the other: anne's process ends, ben's stays.
        anne = self.join(self.tokens["anne"], "anne", "--attester", "development")
        self.server.wait_event("server.joined", silo="anne")
        anne.kill()
        self.server.wait_event("server.left", silo="anne")
        ben = self.join(self.tokens["ben"], "ben", "--attester", "development")
        self.server.wait_event("server.joined", silo="ben")
        shutil.copytree(self.dir + "/server", self.dir + "/stolen")
        shutil.copytree(self.dir + "/server", self.dir + "/stolen-too")

        # Those who are late have begun before the others, who need not wait for them.
        late_silo = self.hostile("silo", "late", self.address, self.dir + "/mallory")
        late_server = self.hostile("server", "late", self.dir + "/stolen-too")
        to_ben.port_behind = late_server.port()
        to_ben.cut()

        # A program that does everything as it should is admitted, so it is the attack that is refused.
        honest = self.hostile("silo", "nothing", self.address, self.dir + "/mallory").end()
        self.assertEqual(sorted(honest.came), ["Admitted", "Challenge", "Close", "Evidence", "Job", "Manifest"])
        self.silo_attacks("replay", REPLAYED)
        self.silo_attacks("reflection", REFLECTED)
        self.silo_attacks("role", "its evidence is of a server, and its certificate a silo's")
        self.silo_attacks("job", ANOTHER_JOB)
        self.silo_attacks("connection", ANOTHER_CONNECTION)
        for size in (0, 31, 33):
            self.silo_attacks("nonce-%d" % size, WRONG_NONCE)
        self.silo_attacks("resumption", TOO_EARLY % "Hello")
        self.silo_attacks("early-data", "too much early data")

        honest = self.hostile("server", "nothing", self.dir + "/stolen")
        self.join_hostile(honest, "the server refused: that was all")
        self.assertEqual(sorted(honest.end().came), ["Admitted", "Challenge", "Close", "Evidence", "Hello"])
        self.server_attacks("replay", REPLAYED)
        self.server_attacks("reflection", REFLECTED)
        self.server_attacks("role", "its evidence is of a silo, and its certificate a server's")
        self.server_attacks("job", ANOTHER_JOB)
        self.server_attacks("connection", ANOTHER_CONNECTION)
        self.server_attacks("nonce-31", WRONG_NONCE)
        self.server_attacks("resumption", TOO_EARLY % "Manifest")

        self.relay_attacks("as itself", "/mallory", "its evidence is of another certificate's owner (relayed)",
                           "its evidence was made for somebody else (relayed)")
        self.relay_attacks("as anne", "/silo-anne", ANOTHER_CONNECTION, ANOTHER_CONNECTION)
        self.relay_attacks("forgery", "/silo-anne", *2 * ["its evidence is not bound to what came with it"])

        # ben comes back from the late one by himself.
        to_ben.port_behind = self.to_anne.port_behind = port
        self.assert_refused(late_silo.end(), LATE)
        self.assert_refused(late_server.end(), LATE)
        self.wait_told(self.server, 0, LATE)
        self.wait_told(ben, 0, LATE)
        # A crowd of one silo's does not keep another out, nor puts one out that has yet to say who it is.
        with socket.create_connection(self.address.split(":")) as waiting:
            self.crowd(100)
            waiting.setblocking(False)
            self.assertRaises(BlockingIOError, waiting.recv, 1)
        anne = self.join(self.tokens["anne"], "anne", "--attester", "development")
        for process in (anne, ben, self.server):
            self.assert_ends(process)
        self.assertEqual(len([event for event in self.server.events if event["event"] == "round.done"]), 2)
        self.assertTrue(self.adapter("out"))

        # anne remembers both rounds, the copy of the disk none.
        self.set_back("state", "/stolen", "the server went back to an older state: it tells of round 1, and round 3 had "
                                          "been told of")
        self.set_back("run", "/stolen", "the server went back to an older state: it begins this job anew")
        self.set_back("values", "/server", "the server went back to an older state: it begins round 3 with other values")
        self.assertIn("Ready", self.set_back("state", "/server", None).came)

        appraised = [REPLAYED, REFLECTED, ANOTHER_JOB, ANOTHER_CONNECTION, "not bound to what came with it"]
        self.assertEqual(self.audited("server", appraised),
                         {(name, verdict) for name in ("anne", "mallory") for verdict in ("admitted", "refused")} |
                         {("ben", "admitted")})
        self.assertEqual(self.audited("silo-anne", appraised), {("server", "admitted"), ("server", "refused")})


if __name__ == "__main__":
    unittest.main(verbosity=2)
