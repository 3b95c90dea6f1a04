"""Federations whose ends are attested, by evidence that proves nothing: who is let in, and what the audit logs tell."""
import json
import os
import unittest

from federation_support import Federation
from support import program

ATTESTED = """federation: {address: "127.0.0.1:0", state_dir: %s/server, rounds: 3, local_steps: 1, appraisal_policy: %s}
attestation: {attester: development}
data: {max_length: 64}"""


class Attested(Federation):
    def policy(self, text):
        path = self.dir + "/policy.yaml"
        with open(path, "w") as file:
            file.write(text)
        return path

    def inspect(self, path):
        result = program("inspect", path, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, path, lines, sentence):
        """A log of these lines is refused with that sentence."""
        with open(path, "wb") as file:
            file.writelines(lines)
        result = program("inspect", path)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn(sentence, result.stderr)

    def test_both_ends_are_admitted_and_the_logs_tell(self):
        config = self.config("fed", ATTESTED % (self.dir, self.policy("allow_development: true\n")))
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silo = self.join(self.invite(config, "anne"), "anne", "--attester", "development")
        server.wait_event("round.done", round=1)
        server.kill()
        again = self.start("serve", config)
        self.assert_ends(again)
        self.assert_ends(silo)
        warnings = [event["message"] for event in again.events if event["event"] == "attestation.warning"]
        self.assertIn("THE DEVELOPMENT ATTESTER PROVES NOTHING", warnings[0])
        admitted = silo.wait_event("attestation.admitted", peer="server")
        self.assertIn("NOTHING IS PROVED", admitted["message"])
        # Nothing is known of the job before both are admitted.
        names = [event["event"] for event in silo.events]
        self.assertLess(names.index("attestation.admitted"), names.index("client.connected"))

        log = self.dir + "/server/audit.jsonl"
        told = self.inspect(log)
        self.assertEqual([(entry["peer"], entry["role"], entry["verdict"], entry["type"]) for entry in told["appraisals"]],
                         [("anne", "silo", "admitted", "development")])
        self.assertGreaterEqual(told["lines"], 2 + 3)  # two connections, three rounds
        self.assertEqual(told["appraisals"][0]["looks"], told["lines"])
        self.assertRegex(program("inspect", log).stdout, r"\n  admitted anne \(silo\), development evidence, looked at %d times "
                         r"from [0-9TZ:.-]+ to [0-9TZ:.-]+: .*NOTHING IS PROVED[^\n]*\n\Z" % told["lines"])
        of_silo = self.inspect(self.dir + "/silo-anne/audit.jsonl")
        self.assertEqual([(entry["peer"], entry["role"]) for entry in of_silo["appraisals"]], [("server", "server")])
        self.assertGreaterEqual(of_silo["lines"], 1 + 3)  # a connection, three rounds

        with open(log, "rb") as file:
            lines = file.readlines()
        changed = lines[1].replace(b'"verdict": "admitted"', b'"verdict": "affirmed"')
        self.refused(log, [lines[0], changed, *lines[2:]], "audit.jsonl: line 2: was changed after it was written")
        self.refused(log, [lines[0], *lines[2:]], "line 2: is number 3: number 2 was removed, or put elsewhere")
        self.refused(log, [lines[1], lines[0], *lines[2:]], "line 1: is number 2: number 1 was removed, or put elsewhere")
        # A server does not go on with such a log; with one that a kill left torn it does, and says so.
        failed = self.start("serve", config)
        self.assert_ends(failed, 4, "line 1: is number 2")
        with open(log, "wb") as file:
            file.writelines([*lines[:-1], lines[-1][:100]])
        self.assertEqual(self.inspect(log)["torn_bytes"], 100)
        self.assert_ends(self.start("serve", config))
        told = self.inspect(log)
        self.assertEqual((told["lines"], told["cut_off"], told.get("torn_bytes")), (len(lines), 1, None))

    def test_evidence_that_the_policy_refuses(self):
        config = self.config("fed", ATTESTED % (self.dir, self.policy("allow_missing_crl: true\n")))
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silo = self.join(self.invite(config, "anne"), "anne", "--attester", "development")
        self.assert_ends(silo, 4, "is not admitted: its evidence is refused: a software key signed this")
        server.wait_event("server.left", silo="anne")
        self.assertNotIn("server.joined", [event["event"] for event in server.events])
        logs = [self.inspect(self.dir + name)["appraisals"] for name in ("/server/audit.jsonl", "/silo-anne/audit.jsonl")]
        verdicts = {entry["verdict"] for log in logs for entry in log}
        self.assertEqual(verdicts, {"refused"})

    def test_one_that_is_no_longer_admitted_is_out_before_the_next_round(self):
        endorsements = self.dir + "/endorsements"
        os.mkdir(endorsements)
        config = self.config("fed", (ATTESTED % (self.dir, self.policy("allow_development: true\n"))).replace(
            "rounds: 3", "rounds: 100000").replace("attester: development", "attester: development, endorsements: " +
                                                   endorsements))
        os.rename(endorsements, endorsements + ".gone")
        result = program("serve", config)  # which would refuse every silo
        self.assertEqual(result.returncode, 3)
        self.assertIn("endorsements: %s: No such file or directory" % endorsements, result.stderr)
        os.rename(endorsements + ".gone", endorsements)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silo = self.join(self.invite(config, "anne"), "anne", "--attester", "development")
        server.wait_event("round.done", round=2)
        # There is no evidence that development evidence could lose its standing by; an appraisal that cannot be made
        # is none either.
        os.rename(endorsements, endorsements + ".gone")
        self.assert_ends(silo, 3, "anne is not admitted: %s: No such file or directory" % endorsements)
        refused = server.wait_event("attestation.refused", peer="anne", round=3)
        self.assertIn("No such file or directory", refused["message"])
        verdicts = [entry["verdict"] for entry in self.inspect(self.dir + "/server/audit.jsonl")["appraisals"]]
        self.assertEqual(verdicts, ["admitted", "refused"])

    def test_silos_of_a_split_model_show_nothing_and_are_shown(self):
        config = self.config("fed", (ATTESTED % (self.dir, self.policy("allow_development: true\n"))).replace(
            "rounds: 3, local_steps: 1, ", "") + "\nsplit: {activations: bfloat16, layers: 1}\n"
            "training: {max_steps: 2}", "layers_to_transform: [1]")
        server = self.start("serve", config)
        server.wait_event("server.listening")
        token = self.invite(config, "anne")
        named = self.join(token, "anne", "--attester", "development")
        self.assert_ends(named, 2, "a silo of a split model shows no evidence")
        silo = self.join(token, "anne")
        self.assert_ends(silo)
        self.assert_ends(server)
        silo.wait_event("attestation.admitted", peer="server")
        self.assertNotIn("attestation.admitted", [event["event"] for event in server.events])

    def test_ends_that_cannot_show_anything_hear_so_at_once(self):
        if os.path.exists("/dev/attestation") or os.path.exists("/sys/kernel/config/tsm/report"):
            self.skipTest("this machine has something to show")
        config = self.config("fed", ATTESTED % (self.dir, self.policy("allow_development: true\n")))
        result = program("serve", config, "--set", "attestation.attester=auto")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("the job asks for evidence of this machine: no TEE to be seen here", result.stderr)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        self.assert_ends(self.join(self.invite(config, "anne"), "anne"), 3, "the job asks for evidence of this machine")
        result = program("serve", self.config("plain", "federation: {address: \"127.0.0.1:0\", state_dir: %s/plain-server}\n"
                                              "attestation: {attester: development}\ndata: {max_length: 64}" % self.dir))
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("the attester development is of no use: the job has no appraisal policy", result.stderr)


if __name__ == "__main__":
    unittest.main()
