"""The job of a federation: written down, signed by the owner of the model, and the only one that its silos work on."""
import json
import os
import shutil
import unittest

from federation_support import Federation, program

SILOS = ("anne", "ben")
FROM = "2026-01-01T00:00:00Z"  # the same in every job, so that each differs in one thing alone


class Job(Federation):
    attested = ""  # of settings and of silos: whether both ends show evidence

    def join(self, token, name):
        return super().join(token, name, *(("--attester", "development") if self.attested else ()))

    def settings(self, name, more="", job=None, state="server"):
        """Settings of the server, whose job and state are there."""
        return self.config(name, "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4}\n"
                           "federation: {rounds: 2, local_steps: 1, min_clients: 2, address: '127.0.0.1:0', state_dir: "
                           "%s/%s%s%s}\n%s" % (self.dir, state, ", job: %s/%s" % (self.dir, job) if job else "", more,
                                            "attestation: {attester: development}" if self.attested else ""))

    def key(self, name):
        result = program("key", "%s/%s" % (self.dir, name))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"\A[0-9a-f]{64}\n\Z")
        return result.stdout.strip()

    def policy(self, name, more=""):
        with open("%s/%s.policy" % (self.dir, name), "w") as file:
            file.write("allow_development: true\n" + more)

    def make(self, config, output, silos=SILOS, owner="owner"):
        roster = [word for name in silos for word in ("--silo", "%s=%s" % (name, self.keys[name]))]
        result = program("job", "make", config, *roster, "--not-before", FROM, "--output", self.dir + "/" + output)
        self.assertEqual(result.returncode, 0, result.stderr)
        if owner:
            self.sign(output, owner)

    def sign(self, job, owner):
        result = program("job", "sign", self.dir + "/" + job, "--key", self.dir + "/" + owner)
        self.assertEqual(result.returncode, 0, result.stderr)

    def show(self, path):
        result = program("job", "show", path, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def assert_fails(self, result, code, sentence):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(sentence, result.stderr)

    def test_a_job_and_servers_with_another(self):
        self.keys = {name: self.key("silo-" + name) for name in SILOS}
        self.assertEqual(self.keys["anne"], self.key("silo-anne"))  # it stays
        self.keys["cleo"] = self.key("silo-cleo")
        owner, _ = self.key("owner"), self.key("other-owner")
        self.make(self.settings("out"), "job.cbor", owner=None)
        config = self.settings("out", job="job.cbor")

        self.assert_fails(program("serve", config), 2, "nobody has signed it")
        self.sign("job.cbor", "owner")
        shown = self.show(self.dir + "/job.cbor")
        self.assertEqual((shown["owner"], [(silo["name"], silo["key"]) for silo in shown["silos"]]),
                         (owner, sorted((name, self.keys[name]) for name in SILOS)))
        self.assertEqual(json.loads(program("inspect", self.dir + "/job.cbor", "--json").stdout), dict(shown, kind="job"))

        # Settings that are not the job's.
        self.assert_fails(program("serve", config, "--set", "federation.rounds=3", "--set", "lora.r=4"), 2,
                          "the server's settings are not the job's: lora.r, federation.rounds")
        self.assert_fails(program("serve", config, "--set", "model_name_or_path=%s/other" % self.base), 4,
                          "model_name_or_path is not the job's model")

        os.mkdir(self.dir + "/retokenized")
        for name in os.listdir(self.base + "/model"):
            shutil.copy(self.base + "/model/" + name, self.dir + "/retokenized")
        with open(self.dir + "/retokenized/tokenizer.json", "a") as file:
            file.write("\n")
        self.assert_fails(program("serve", config, "--set", "model_name_or_path=%s/retokenized" % self.dir), 4,
                          "model_name_or_path has another tokenizer than the job's")
        self.assert_fails(program("serve", config, "--set", "federation.state_dir=%s/elsewhere" % self.dir), 2,
                          "it is for the CA of another federation than %s/elsewhere" % self.dir)
        self.policy("given")
        given = "federation.appraisal_policy=%s/given.policy" % self.dir
        self.assert_fails(program("serve", config, "--set", given), 2, "its appraisal policy is not %s/given.policy" % self.dir)
        self.policy("zero", "#\0\n")
        self.assert_fails(program("serve", config, "--set", given.replace("given", "zero")), 2, "zero.policy: no text")

        server = self.start("serve", config)
        self.assertEqual(server.wait_event("server.job")["owner"], owner)
        server.wait_event("server.listening")
        self.assert_fails(program("invite", "cleo", "--config", config), 2, "cleo is not in the job's roster of silos")
        tokens = {name: self.invite(config, name) for name in SILOS}
        self.assertEqual(json.loads(program("inspect", tokens["anne"], "--json").stdout)["job"], shown["job"])
        thief = self.start("join", tokens["ben"], "--state", self.dir + "/thief", "--model", self.base + "/model",
                           "--data", self.base + "/ben.jsonl")
        self.assert_ends(thief, 4, "ben has another key in the job's roster of silos")
        silos = [self.join(tokens[name], name) for name in SILOS]
        for process in (*silos, server):
            self.assert_ends(process)
        agreed = next(event for event in silos[0].events if event["event"] == "client.manifest")
        self.assertEqual((agreed["job"], agreed["owner"], agreed["silos"]), (shown["job"], owner, "anne, ben"))
        self.assertEqual(self.show(self.dir + "/silo-anne/job.cbor"), shown)

        # The same server, going on from the same state with another job: each silo knows what is different.
        self.try_others(tokens, {
            "release": (", release: silos", SILOS, "owner", "federation.release"),
            "sealed": (", release: sealed", SILOS, "owner", "federation.release"),
            "to-owner": (", release: owner", SILOS, "owner", "federation.release"),
            "owner": ("", SILOS, "other-owner", "the owner's key"),
            "roster": ("", SILOS + ("cleo",), "owner", "the roster of silos")},
            "the server's job is not the one that the join token names: it has another value of: %s\n")
        self.policy("policy")
        self.try_policy_at_one_end(tokens, ", appraisal_policy: %s/policy.policy" % self.dir)
        # And with a job that it signs itself.
        self.assert_refused(self.settings("own"), tokens,
                            "another value of: the owner's key, the roster of silos, the earliest time\n")

    def test_attested_servers_with_another_job(self):
        self.keys = {name: self.key("silo-" + name) for name in (*SILOS, "cleo")}
        self.key("owner"), self.key("other-owner")
        self.policy("policy")
        self.policy("other", "allow_debug: true\n")
        self.attested = ", appraisal_policy: %s/policy.policy" % self.dir
        self.make(self.settings("out", self.attested), "job.cbor")
        config = self.settings("out", self.attested, "job.cbor")
        server = self.start("serve", config)
        server.wait_event("server.listening")
        tokens = {name: self.invite(config, name) for name in SILOS}
        for process in [self.join(tokens[name], name) for name in SILOS] + [server]:
            self.assert_ends(process)
        self.try_others(tokens, {
            "release": (self.attested + ", release: silos", SILOS, "owner", ""),
            "owner": (self.attested, SILOS, "other-owner", ""),
            "roster": (self.attested, SILOS + ("cleo",), "owner", ""),
            "policy": (self.attested.replace("policy.policy", "other.policy"), SILOS, "owner", "")},
            "its evidence is for another job, or for another appraisal policy%s")
        self.try_policy_at_one_end(tokens, "")

    def try_others(self, tokens, jobs, sentence):
        for name, (more, roster, signer, difference) in jobs.items():
            shutil.copytree(self.dir + "/server", self.dir + "/server-" + name)
            self.make(self.settings(name, more, state="server-" + name), name + ".cbor", roster, signer)
            self.assert_refused(self.settings(name, more, name + ".cbor", "server-" + name), tokens, sentence % difference)

    def try_policy_at_one_end(self, tokens, attested):
        """A server whose job has a policy where the silos' has none, or the reverse."""
        agreed, self.attested = self.attested, attested
        shutil.copytree(self.dir + "/server", self.dir + "/server-unequal")
        self.make(self.settings("unequal", attested, state="server-unequal"), "unequal.cbor")
        config = self.settings("unequal", attested, "unequal.cbor", "server-unequal")
        self.attested = agreed
        self.assert_refused(config, tokens, "asks for evidence, and this end was not told to show any (no attester)\n")

    def assert_refused(self, config, tokens, sentence):
        with self.subTest(config):
            server = self.start("serve", config)
            server.wait_event("server.listening")
            for name, token in tokens.items():
                self.assert_ends(self.join(token, name), 4, sentence)
            server.process.terminate()
            server.end()
            self.assertFalse([event for event in server.events if event["event"] == "server.joined"])

    def test_inviting_to_another_job_than_the_server_works_on(self):
        server = self.start("serve", self.settings("out"))
        self.assertEqual(server.wait_event("server.job")["message"],
                         "this server itself: whoever runs it is the job's owner")
        server.wait_event("server.listening")
        self.invite(self.settings("out"), "anne")
        self.assert_fails(program("invite", "ben", "--config", self.settings("out", ", release: server")), 2,
                          "works on another job: federation.release")
        server.process.terminate()
        server.end()
        self.invite(self.settings("out", ", release: server"), "ben")  # of the next server
        # A damaged one is made again, as one that is not there.
        with open(self.dir + "/server/job.cbor", "wb") as file:
            file.write(b"damaged")
        self.invite(self.settings("out"), "cleo")
        self.assertEqual(self.show(self.dir + "/server/job.cbor")["silos"], [])

    def test_commands(self):
        config = self.settings("out")
        wrong = {("make", config, "--silo", "anne"): "is not NAME=KEY",
                 ("make", config, "--silo", "Anne=" + 64 * "0"): "is no name",
                 ("make", config, "--silo", "anne=12"): "not the 64 digits that `carrel key` prints",
                 ("make", config, "--silo", "anne=" + 64 * "0"): "federation.min_clients: 2, but there are 1 of --silo",
                 ("make", config, *2 * ("--silo", "anne=" + 64 * "0")): "anne is listed twice",
                 ("make", config, "--silo", "anne=" + 64 * "0", "--silo", "ben=" + 64 * "0"): "anne and ben have the same key",
                 ("make", config, "--not-before", "yesterday"): "--not-before: \"yesterday\" is no time",
                 ("make", config, "--collateral-since", "1969-12-31T23:59:59Z"): "is no time",
                 ("sign", config): "--key DIR is missing",
                 ("sign", config, "--key", self.dir): "no job manifest",
                 ("show", config): "no job manifest",
                 ("sing",): "did you mean sign?",
                 ("xyzzy",): "job: unknown command \"xyzzy\"",
                 (): "which command?"}
        for arguments, sentence in wrong.items():
            self.assert_fails(program("job", *arguments), 2, sentence)
        self.assertFalse(os.path.exists("job.cbor"))
        output = self.dir + "/job.cbor"
        self.assertEqual(program("job", "make", config, "--collateral-since", FROM, "--output", output).returncode, 0)
        self.assertIn("silos           whoever the server invites\n", program("job", "show", output).stdout)
        self.assertEqual(self.show(output)["collateral_since"], FROM)
        self.assertNotIn("owner", self.show(output))
        roster = [option for name, digit in (("anne", "1"), ("ben", "2")) for option in ("--silo", name + "=" + 64 * digit)]
        self.assertEqual(program("job", "make", config, *roster, "--output", self.dir + "/roster.cbor").returncode, 0)
        self.assertRegex(program("job", "show", self.dir + "/roster.cbor").stdout,
                         "\nsilos +these, by the fingerprint of their keys:\n  anne +1{64}\n  ben +2{64}\n")
        self.assert_fails(program("job", "sign", output, "--key", self.dir + "/nobody"), 3, "/nobody/key.pem: not there (carrel key ")
        self.key("owner")
        certificate = shutil.copy(self.dir + "/server/authority/certificate.pem", self.dir + "/owner")
        self.assert_fails(program("job", "sign", output, "--key", self.dir + "/owner"), 3, "/owner/authority.pem: ")
        os.unlink(certificate)
        self.sign("job.cbor", "owner")
        self.assert_fails(program("job", "make", config, "--output", output), 2, "stays as it is")
        self.assert_fails(program("job", "make", config, "--output", config), 2, "stays as it is")
        with open(output, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        self.assert_fails(program("job", "show", output), 4, "not signed by the owner")


if __name__ == "__main__":
    unittest.main(verbosity=2)
