"""Who gets the result of a federation: its owner alone, or nobody; and nobody else finds it on a disk."""
import json
import os
import shutil
import time
import unittest

from federation_support import Federation, Proxy, files_below, needles_of, program


class Late(Proxy):
    """A network in which what the server says may take a while."""
    pause = 0

    def meet(self, data, way, passed):
        if way == "down":
            time.sleep(self.pause)
        return data


class Release(Federation):
    def settings(self, name, release, job=None):
        return self.config(name, "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4, learning_rate: 0.01}\n"
                           "federation: {rounds: 2, local_steps: 3, min_clients: 1, address: '127.0.0.1:0', release: %s, "
                           "state_dir: %s/%s.server%s}" % (release, self.dir, name,
                                                           ", job: %s/%s" % (self.dir, job) if job else ""))

    def run_federation(self, name, config):
        """What server and silo ended with, and where the two have written."""
        server = self.start("serve", config)
        server.wait_event("server.listening")
        state = "%s/%s.silo" % (self.dir, name)
        silo = self.start("join", self.invite(config, "anne"), "--state", state, "--model", self.base + "/model", "--data",
                          self.base + "/anne.jsonl", "--threads", "1")
        self.assert_ends(silo)
        self.assert_ends(server)
        return server.wait_event("server.done"), silo.wait_event("client.done"), state

    def needles(self, adapter):
        needles = [needle for needle in needles_of(adapter) if any(needle)]
        self.assertGreater(len(needles), 300)
        return needles

    def assert_nowhere(self, needles, *folders):
        """None of what was tuned lies in any file there; that there are such files is looked at too."""
        found = [(path, content) for path, content in files_below(*folders)]
        self.assertTrue(any(path.endswith(".sealed") for path, _ in found))
        for path, content in found:
            self.assertFalse(any(needle in content for needle in needles), path)

    def open(self, output, **other):
        asked = dict({"job": "job.cbor", "key": "owner", "file": "out/result.sealed", "model": self.base + "/model"}, **other)
        return program("job", "open", "%s/%s" % (self.dir, asked["file"]), "--job", "%s/%s" % (self.dir, asked["job"]), "--key",
                       "%s/%s" % (self.dir, asked["key"]), "--model", asked["model"], "--output", "%s/%s" % (self.dir, output))

    def assert_fails(self, result, code, sentence):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(sentence, result.stderr)
        self.assertEqual(len(result.stderr.strip().split("\n")), 1, result.stderr)

    def make_job(self, name):
        for owner in ("owner", "other"):
            self.assertEqual(program("key", "%s/%s" % (self.dir, owner)).returncode, 0)
        result = program("job", "make", self.settings("out", "owner"), "--output", "%s/%s" % (self.dir, name))
        self.assertEqual(result.returncode, 0, result.stderr)
        result = program("job", "sign", "%s/%s" % (self.dir, name), "--key", self.dir + "/owner")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_owner_alone(self):
        self.make_job("job.cbor")
        config = self.settings("out", "owner", "job.cbor")
        done, told, state = self.run_federation("out", config)
        self.assertEqual(done["output"], self.dir + "/out/result.sealed")
        self.assertEqual(done["owner"], json.loads(program("job", "show", self.dir + "/job.cbor", "--json").stdout)["owner"])
        self.assertIn("result.sealed", program("status", self.dir + "/out").stdout)
        self.assertIn("the job's owner alone can open the result", program("preflight", config, "--serve").stdout)
        self.assertIn("encrypted to the job's owner", told["output"])
        self.assertEqual(os.listdir(self.dir + "/out"), ["result.sealed"])
        said = json.loads(program("inspect", self.dir + "/out/result.sealed", "--json").stdout)
        self.assertEqual((said["kind"], said["holds"], said["key_source"]), ("sealed file", "result", "owner"))
        self.assertIn("release: owner", program("job", "show", self.dir + "/job.cbor").stdout)

        result = self.open("opened")
        self.assertEqual(result.returncode, 0, result.stderr)
        needles = self.needles(self.dir + "/opened/adapter_model.safetensors")
        self.assertIn(needles[0], self.adapter("opened"))
        self.assert_nowhere(needles, self.dir + "/out", self.dir + "/out.run", self.dir + "/out.server", state)
        # It is what a server that may would have written of the same run.
        self.run_federation("clear", self.settings("clear", "server"))
        self.assertEqual(self.adapter("opened"), self.adapter("clear"))
        result = program("eval", "--model", self.base + "/model", "--adapter", self.dir + "/opened", "--data",
                         self.base + "/anne.jsonl")
        self.assertEqual(result.returncode, 0, result.stderr)

        # Another's key, another job, another model, a changed file.
        self.assert_fails(self.open("no", key="other"), 4, "the key is not that of the job's owner")
        self.assert_fails(self.open("no", job="clear.server/job.cbor"), 4, "the key is not that of the job's owner")
        self.assert_fails(self.open("no", model=self.base + "/other"), 2, "was not tuned on %s/other" % self.base)
        result = program("job", "make", self.settings("again", "owner"), "--output", self.dir + "/again.cbor")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(program("job", "sign", self.dir + "/again.cbor", "--key", self.dir + "/owner").returncode, 0)
        self.assert_fails(self.open("no", job="again.cbor"), 2, "sealed under another key of owner")
        with open(self.dir + "/out/result.sealed", "rb") as file:
            content = bytearray(file.read())
        content[-1] ^= 1
        with open(self.dir + "/changed.sealed", "wb") as file:
            file.write(content)
        self.assert_fails(self.open("no", file="changed.sealed"), 2, "changed.sealed: chunk ")
        self.assertFalse(os.path.exists(self.dir + "/no/adapter_model.safetensors"))

        # A server that would be the owner itself.
        own = self.settings("own", "owner")
        self.assert_ends(self.start("serve", own), 2, "federation.release: owner: who is that?")
        self.assertIn("names no job that one signed", program("preflight", own, "--serve").stdout)

    def test_nobody(self):
        config = self.settings("out", "sealed")
        done, told, state = self.run_federation("out", config)
        self.assertEqual(done["output"], self.dir + "/out.server, sealed and released to nobody")
        self.assertIn("sealed and released to nobody", program("status", self.dir + "/out").stdout)
        self.assertIn("nobody gets the result", program("preflight", config, "--serve").stdout)
        self.assertIn("released to nobody", told["output"])
        self.assertEqual(os.listdir(self.dir + "/out"), [])
        self.run_federation("clear", self.settings("clear", "server"))
        self.assert_nowhere(self.needles(self.dir + "/clear/adapter_model.safetensors"), self.dir + "/out",
                            self.dir + "/out.run", self.dir + "/out.server", state)
        self.assertTrue(os.path.exists(self.dir + "/out.server/values-2.sealed"))

    def test_silos_that_were_away_at_the_end(self):
        """With `release: silos` nobody else has the result: the server waits for them again, however often it is started."""
        proxy = Late()
        self.addCleanup(proxy.close)
        config = self.settings("late", "silos")
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text.replace("local_steps: 3", "local_steps: 100").replace("min_clients: 1", (
                "min_clients: 1, progress_timeout: 3, advertise: '127.0.0.1:%d'" % proxy.port)))
        server = self.serve(config, proxy)
        output = self.dir + "/late.output"
        asked = (self.invite(config, "anne"), "--state", self.dir + "/late.silo", "--model", self.base + "/model", "--data",
                 self.base + "/anne.jsonl", "--threads", "1", "--output", output)
        silo = self.start("join", *asked)
        server.wait_event("round.done", round=1)
        proxy.pause = 0.5
        server.wait_event("round.done", round=2)
        silo.kill()  # it has not heard of it
        self.assert_ends(server)
        self.assertEqual(server.wait_event("server.untold")["silos"], "anne")
        proxy.pause = 0
        shutil.rmtree(output)
        server = self.start("serve", config)  # nobody comes
        self.assert_ends(server)
        self.assertEqual([event["silos"] for event in server.events if event["event"] == "server.untold"], ["anne"])
        status = program("status", config).stdout
        self.assertIn("carrel serve, finished after", status)
        self.assertIn("\nsilos that have not come to hear that the run is done, nor for their result: anne (start the server again)\n",
                      status)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        self.assert_ends(self.start("join", *asked))
        self.assert_ends(server)
        self.assertTrue(os.path.exists(output + "/adapter_model.safetensors"))
        server = self.start("serve", config)  # all have heard
        self.assert_ends(server)
        self.assertFalse(any(event["event"] in ("server.listening", "server.untold") for event in server.events))
        silo = self.start("join", *asked)  # which has all that it was to have, and no server is there any more
        self.assert_ends(silo)
        silo.wait_event("client.done")
        proxy.close()
        asked = (*asked[:-1], output + "-2")
        self.assert_ends(self.start("join", *asked), 5, "no connection to the server for 3 seconds")

    def test_a_silo_that_took_part_before_the_server_was_started_again(self):
        config = self.config("early", "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4, learning_rate: 0.01}\n"
                             "federation: {rounds: 20, local_steps: 60, min_clients: 1, address: '127.0.0.1:0', "
                             "progress_timeout: 8, state_dir: %s/early.server}" % self.dir)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        ben = (self.invite(config, "ben"), "ben", "--output", self.dir + "/at-ben")
        anne, away = self.join(self.invite(config, "anne"), "anne"), self.join(*ben)
        away.wait_event("client.closed", round=2)
        away.kill()
        server.kill()
        server = self.start("serve", config)
        server.wait_event("server.done")
        self.assert_ends(anne)
        self.assert_ends(self.join(*ben))
        self.assert_ends(server)
        self.assertEqual(self.adapter("at-ben"), self.adapter("early"))

    def test_silos_that_ask(self):
        config = self.settings("out", "sealed")
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silo = self.join(self.invite(config, "anne"), "anne", "--output", self.dir + "/wanted")
        self.assert_ends(silo, 2, "--output: the job's federation.release gives silos no result")
        self.assertEqual(os.listdir(self.dir + "/wanted"), [])
        simulation = self.settings("simulated", "sealed")
        with open(simulation, "a") as file:
            file.write("\n" + self.silos_text())
        self.assert_fails(program("simulate", simulation), 2, "a simulation's result is in output_dir alone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
