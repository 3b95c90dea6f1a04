"""A federation of real processes: what it computes, and what it survives."""
import fcntl
import json
import os
import pwd
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
import unittest

from federation_support import Federation, Proxy, SILOS, files_below, program
from support import CARREL, floats, read_tensors, wait_for, write_rows

# Long enough rounds that something can happen in the middle of one.
LONG = "federation: {{rounds: 3, local_steps: {steps}, min_clients: 3, progress_timeout: {timeout}, {address}, state_dir: {dir}/server}}"


def values_of(path):
    return {name: floats(tensor) for name, tensor in read_tensors(path).items()}


class Results(Federation):
    def test_one_silo_equals_tuning_alone_bit_for_bit(self):
        training = "data: {max_length: 64, train: %s/anne.jsonl}\ntraining: {per_device_train_batch_size: 4, " \
                   "learning_rate: 0.01, warmup_steps: 3, max_steps: 12}\n" % self.base
        dropout = "target_modules: all-linear, lora_dropout: 0.1"
        alone = self.config("alone", training, dropout)
        result = program("tune", alone)
        self.assertEqual(result.returncode, 0, result.stderr)
        together = self.config("together", training + "federation: {rounds: 4, local_steps: 3, optimizer_state: keep, "
                               "state_dir: %s/server}\nsilos: [{name: anne, data: %s/anne.jsonl}]" % (self.dir, self.base),
                               dropout)
        result = program("simulate", together)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.adapter("alone"), self.adapter("together"))
        # And it is the keeping that makes it so.
        reset = self.config("reset", training.replace("max_steps: 12", "max_steps: 13, num_train_epochs: 3") + "federation: {rounds: 4, local_steps: 3, optimizer_state: reset, "
                            "state_dir: %s/server2}\nsilos: [{name: anne, data: %s/anne.jsonl}]" % (self.dir, self.base),
                            dropout)
        again = program("simulate", reset)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotEqual(self.adapter("alone"), self.adapter("reset"))
        # Only where the file asks for another number than rounds and local_steps give.
        for key in ("max_steps", "num_train_epochs"):
            told = "training.%s has no effect in a federation" % key
            self.assertEqual((told in result.stderr, told in again.stderr), (False, True))
        self.assertIn("data.train has no effect at a federation's server", again.stderr)

    def test_three_silos_equal_pooled_training(self):
        self.check_pooled("")

    def test_three_silos_equal_pooled_prefix_tuning(self):
        self.check_pooled("method: prefix_tuning\nprefix_tuning: {num_virtual_tokens: 4, prefix_projection: true}\n")

    def check_pooled(self, method):
        # Every silo's step takes all of its rows, so that a round is one step on all rows together.
        training = method + "training: {optim: sgd, learning_rate: 0.5, momentum: 0, max_grad_norm: 0, lr_scheduler_type: " \
                   "constant, per_device_train_batch_size: 64, max_steps: 5}\n"
        lora = "" if method else "target_modules: all-linear"
        pooled = self.config("pooled", training + "data: {max_length: 64, train: %s/pooled.jsonl}" % self.base, lora)
        result = program("tune", pooled)
        self.assertEqual(result.returncode, 0, result.stderr)
        together = self.config("together", training + "data: {max_length: 64}\nfederation: {rounds: 5, local_steps: 1, "
                               "state_dir: %s/server}\n" % self.dir + self.silos_text(), lora)
        result = program("simulate", together)
        self.assertEqual(result.returncode, 0, result.stderr)
        begin = self.config("begin", method + "data: {max_length: 64, train: %s/pooled.jsonl}\ntraining: {optim: sgd, "
                            "learning_rate: 0, max_steps: 1}" % self.base, lora)
        self.assertEqual(program("tune", begin).returncode, 0)
        expected = values_of(self.dir + "/pooled/adapter_model.safetensors")
        found = values_of(self.dir + "/together/adapter_model.safetensors")
        first = values_of(self.dir + "/begin/adapter_model.safetensors")
        self.assertEqual(list(expected), list(found))
        worst, moved = 0, 0
        for name, values in expected.items():
            change = max(abs(a - b) for a, b in zip(values, first[name]))
            error = max(abs(a - b) for a, b in zip(values, found[name]))
            moved = max(moved, change)
            worst = max(worst, error / max(map(abs, values)))
        print("three silos against pooled: largest difference %.1e of the tensor's largest value" % worst)
        self.assertLess(worst, 1e-5)
        self.assertGreater(moved, 1e-3)  # there was something to agree on


class Faults(Federation):
    """Each run must end with the bytes of the undisturbed one."""
    STEPS = 100

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reference = None

    def long_config(self, name="out", address="address: '127.0.0.1:0'", steps=None, timeout=60):
        return self.config(name, "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4, learning_rate: 0.01}\n"
                           + LONG.format(steps=steps or self.STEPS, timeout=timeout, dir=self.dir, address=address))

    def undisturbed(self):
        if Faults.reference is None:
            config = self.long_config("undisturbed")
            with open(config) as file:
                text = file.read().replace("/server}", "/first}")
            with open(config, "w") as file:
                file.write(text + self.silos_text())
            result = program("simulate", config)
            self.assertEqual(result.returncode, 0, result.stderr)
            Faults.reference = self.adapter("undisturbed")
        return Faults.reference

    def start_all(self, config):
        server = self.start("serve", config)
        server.wait_event("server.listening")
        tokens = {name: self.invite(config, name) for name in SILOS}
        return server, tokens, {name: self.join(tokens[name], name) for name in SILOS}

    def test_the_same_twice(self):
        expected = self.undisturbed()
        config = self.long_config()
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silos = [self.join(self.invite(config, name), name, "--output", "%s/at-%s" % (self.dir, name)) for name in SILOS]
        for process in (*silos, server):
            self.assert_ends(process)
        self.assertEqual(self.adapter("out"), expected)
        for name in SILOS:  # who asked for the result has it too
            self.assertEqual(self.adapter("at-" + name), expected)

    def test_server_killed_in_the_middle_of_a_round(self):
        expected = self.undisturbed()
        config = self.long_config()
        server, _, silos = self.start_all(config)
        server.wait_event("round.progress", round=2)
        server.kill()
        with open(self.dir + "/out/adapter_model.safetensors.tmp.4711", "wb") as file:  # as if it had been writing
            file.write(b"half")
        for silo in silos.values():
            silo.wait_event("client.waiting")
        server = self.start("serve", config)
        self.assertEqual(server.wait_event("server.listening")["round"], 2)
        for process in (*silos.values(), server):
            self.assert_ends(process)
        self.assertEqual(self.adapter("out"), expected)
        self.assertEqual([name for name in os.listdir(self.dir + "/out") if ".tmp." in name], [])

    def test_silo_killed_in_the_middle_of_a_round(self):
        expected = self.undisturbed()
        config = self.long_config()
        server, tokens, silos = self.start_all(config)
        server.wait_event("round.progress", round=2, silo="ben")
        silos["ben"].kill()
        server.wait_event("server.left", silo="ben")
        silos["ben"] = self.join(tokens["ben"], "ben")  # the token was used; the identity is on disk
        for process in (*silos.values(), server):
            self.assert_ends(process)
        self.assertEqual(self.adapter("out"), expected)

    def test_server_that_gave_up_waiting_for_a_silo(self):
        expected = self.undisturbed()
        config = self.long_config(timeout=6)
        server, tokens, silos = self.start_all(config)
        server.wait_event("round.progress", round=2)
        silos["cleo"].kill()
        self.assert_ends(server, 5, "round 2 cannot close: 2 of at least 3 silos are left, and the others did not come back")
        # The others are told so, and look for one that is started again.
        for name in ("anne", "ben"):
            self.assertIn("round 2 cannot close", silos[name].wait_event("client.waiting")["message"])
        server = self.start("serve", config)
        silos["cleo"] = self.join(tokens["cleo"], "cleo")
        for process in (*silos.values(), server):
            self.assert_ends(process)
        self.assertEqual(self.adapter("out"), expected)

    def test_silo_killed_after_it_trained(self):
        expected = self.undisturbed()
        config = self.long_config()
        server, tokens, silos = self.start_all(config)
        silos["ben"].wait_event("client.trained", round=1)
        silos["ben"].kill()
        silos["ben"] = self.join(tokens["ben"], "ben")
        for process in (*silos.values(), server):
            self.assert_ends(process)
        trained = [event["round"] for event in silos["ben"].events if event["event"] == "client.trained"]
        self.assertNotIn(1, trained)  # what lay on disk was not trained again
        self.assertEqual(self.adapter("out"), expected)

    def test_a_silo_with_other_data_is_told_the_way_out(self):
        config = self.long_config()
        server, tokens, silos = self.start_all(config)
        silos["ben"].wait_event("client.trained", round=1)
        silos["ben"].kill()
        state = self.dir + "/silo-ben"
        command = ("join", tokens["ben"], "--state", state, "--data", self.base + "/anne.jsonl", "--model", self.base + "/model",
                   "--threads", "1")
        wrong = self.start(*command[:-4], "--model", self.base + "/other", *command[-2:])
        self.assert_ends(wrong, 2, "carrel: %s/other is not the job's model" % self.base)
        code, error = self.start(*command).end()
        self.assertEqual(code, 2, error)
        found = re.search("carrel: (.*/trainer-\\d+.sealed): the state of another run .*; remove it and (.*/update.sealed) to join "
                          "without it: ", error)
        self.assertTrue(found, error)
        for path in found.groups():
            os.remove(path)
        for process in (self.start(*command), silos["anne"], silos["cleo"], server):
            self.assert_ends(process)

    def test_all_killed_at_each_round_boundary(self):
        expected = self.undisturbed()
        config = self.long_config()
        server, tokens, silos = self.start_all(config)
        for round_ in (1, 2):  # behind the third a server that is quick has nothing left to do
            server.wait_event("round.done", round=round_)
            for process in (server, *silos.values()):
                process.kill()
            server = self.start("serve", config)
            self.assertEqual(server.wait_event("server.listening")["round"], round_ + 1)
            silos = {name: self.join(tokens[name], name) for name in SILOS}
        for process in (*silos.values(), server):
            self.assert_ends(process)
        self.assertEqual(self.adapter("out"), expected)

    def test_connection_cut_again_and_again(self):
        expected = self.undisturbed()
        server_config = self.long_config()
        server = self.start("serve", server_config)
        address = server.wait_event("server.listening")["address"]
        proxy = Proxy(int(address.rsplit(":", 1)[1]))
        token_config = self.long_config("tokens", "address: '127.0.0.1:0', advertise: '127.0.0.1:%d'" % proxy.port)
        silos = {name: self.join(self.invite(token_config, name), name) for name in SILOS}
        cuts = 0
        for round_ in (1, 2, 3):
            server.wait_event("round.progress", round=round_)
            cuts += proxy.cut()
        self.assertGreaterEqual(cuts, 3)
        for process in (*silos.values(), server):
            self.assert_ends(process)
        proxy.listener.close()
        self.assertEqual(self.adapter("out"), expected)


class Refusals(Federation):
    """Each with its own exit code and one clear sentence, and the server goes on."""

    def setUp(self):
        super().setUp()
        self.path = self.config("out", "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4}\n"
                                "federation: {rounds: 1, local_steps: 1, min_clients: 1, address: '127.0.0.1:0', "
                                "state_dir: %s/server}" % self.dir)
        self.server = self.start("serve", self.path)
        self.address = self.server.wait_event("server.listening")["address"]
        self.port = int(self.address.rsplit(":", 1)[1])

    def federation_still_works(self):
        self.assertIsNone(self.server.process.poll())
        self.assert_ends(self.join(self.invite(self.path, "cleo"), "cleo"))
        self.assert_ends(self.server)

    def test_expired_token(self):
        token = self.invite(self.path, "anne", "--expires", "1s")
        time.sleep(2.1)
        self.assert_ends(self.join(token, "anne"), 4, "the join token expired at 20")
        self.federation_still_works()

    def test_reused_token(self):
        token = self.invite(self.path, "anne")
        self.assert_ends(self.join(token, "anne"))
        self.assert_ends(self.server)
        config = self.path.replace("out.yaml", "again.yaml")
        with open(self.path) as old, open(config, "w") as new:
            new.write(old.read().replace("rounds: 1", "rounds: 2"))
        self.server = self.start("serve", config)
        self.server.wait_event("server.listening")
        thief = self.start("join", token, "--state", self.dir + "/thief", "--model", self.base + "/model",
                           "--data", self.base + "/anne.jsonl")
        self.assert_ends(thief, 4, "the join token was used already")
        self.path = config
        self.federation_still_works()

    def test_wrong_authority(self):
        other = self.config("other", "federation: {address: '%s', state_dir: %s/elsewhere}" % (self.address, self.dir))
        self.assert_ends(self.join(self.invite(other, "anne"), "anne"), 4, "its CA is another one")
        self.federation_still_works()

    def test_damaged_token(self):
        token = self.invite(self.path, "anne")
        self.assert_ends(self.join(token[:-3], "anne"), 2, "the join token is damaged")
        self.assert_ends(self.join("swordfish", "anne"), 2, "that is no join token")
        self.federation_still_works()

    def test_another_model(self):
        silo = self.join(self.invite(self.path, "anne"), "anne", "--model", self.base + "/other")
        self.assert_ends(silo, 2, "other is not the job's model")
        self.federation_still_works()

    def test_rows_that_cannot_be_read_stay_with_the_silo(self):
        """Its own sentence quotes them; what the server hears, prints and writes has nothing of them."""
        secret, server = "JohnDoe", self.server
        rows = ('{"messages": [{"role": "%s", "content": "a"}]}' % secret, '{"text": "a", %s}' % secret,
                '{"text": "a", "%s": 1, "%s": 2}' % (secret, secret))
        for number, row in enumerate(rows):
            path = "%s/%s%d.jsonl" % (self.dir, secret, number)
            with open(path, "w") as file:
                file.write(row + "\n")
            silo = self.start("join", self.invite(self.path, "anne"), "--state", "%s/silo-%d" % (self.dir, number),
                              "--model", self.base + "/model", "--data", path)
            self.assert_ends(silo, 2, secret)
        left = [event["message"] for event in server.events if event["event"] == "server.left"]
        self.assertEqual(left, ["the silo gave up: its input is wrong (its own log says why)"] * len(rows))
        self.federation_still_works()
        self.assertNotIn(secret, json.dumps(server.events))
        for path, content in files_below(self.dir + "/out.run", self.dir + "/server"):
            self.assertNotIn(secret.encode(), content, path)

    def test_what_fails_at_the_server_stays_there(self):
        token = self.invite(self.path, "anne")
        with open(self.dir + "/server/lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a `carrel invite` that takes its time
            silo = self.join(token, "anne")
            self.assertEqual(silo.wait_event("client.waiting")["message"], "the server refused: a file or a connection failed (its own log says why)")
            self.assertIn(self.dir + "/server: another program", self.server.wait_event("server.left")["message"])
        self.assert_ends(silo)
        self.assert_ends(self.server)

    def test_silo_that_the_server_does_not_know(self):
        token = self.invite(self.path, "anne")
        silo = self.join(token, "anne", "--model", self.base + "/other")  # enrols, and gets no further
        self.assert_ends(silo, 2)
        self.server.process.send_signal(signal.SIGTERM)
        self.assert_ends(self.server, 130)
        os.remove(self.dir + "/server/state.sealed")
        self.server = self.start("serve", self.path)
        self.server.wait_event("server.listening")
        self.assert_ends(self.join(token, "anne"), 4, "anne is not enrolled with this server")
        self.federation_still_works()

    def raw(self, data):
        """Sends bytes over TLS without a certificate; returns what comes back until the end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
            with context.wrap_socket(plain) as secure:
                self.assertEqual(secure.version(), "TLSv1.3")
                secure.sendall(data)
                try:
                    while chunk := secure.recv(65536):
                        received += chunk
                except (ssl.SSLError, OSError):
                    pass
        return received

    def test_frames_that_nobody_should_send(self):
        def frame(kind, header, body, magic=b"CRL1"):
            return struct.pack("<4sHHII", magic, kind, 0, header, body)

        for data, sentence in ((frame(1, 1 << 30, 0), b"oversized frame: a Enrol header of 1073741824 bytes"),
                               (frame(1, 0, 0xffffffff), b"oversized frame"), (frame(9, 0, 16), b"not accepted here"),
                               (frame(77, 0, 0), b"unknown type 77"), (frame(1, 0, 0, b"GET "), b"wrong magic"),
                               (frame(1, 2, 0) + b"\x0a\x7f", b"malformed Enrol")):
            self.assertIn(sentence, self.raw(data))
        self.federation_still_works()

    def test_older_tls_is_refused(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
            with self.assertRaises((ssl.SSLError, OSError)):
                context.wrap_socket(plain)
        self.federation_still_works()

    def test_noise_and_half_open_connections(self):
        with socket.create_connection(("127.0.0.1", self.port)) as noise:
            noise.sendall(os.urandom(4096))
            idle = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(20)]
            self.federation_still_works()
        for end in idle:
            end.close()

    def test_probes_do_not_fill_the_events(self):
        probes = 20  # of each kind, in far less than ten seconds each
        enrol = b"\x08\x02\x12\x20" + bytes(32) + b"\x1a\x01x"  # of a secret that is nobody's
        for _ in range(probes):
            socket.create_connection(("127.0.0.1", self.port)).close()
            self.raw(b"GET / HTTP/1.1\r\n\r\n")
            self.raw(struct.pack("<4sHHII", b"CRL1", 1, 0, len(enrol), 0) + enrol)
        time.sleep(10.5)
        self.raw(b"GET / HTTP/1.1\r\n\r\n")  # with which the number of those before it is told
        self.federation_still_works()
        left = [event for event in self.server.events if event["event"] == "server.left" and not event["silo"]]
        denied = [event for event in left if event["message"] == "the join token is not one of this server's"]
        others = [event for event in left if event not in denied]
        for told, came in (denied, probes), (others, 2 * probes + 1):
            self.assertIn(len(told), range(1, probes), left)
            self.assertNotIn("others", told[0])
            self.assertLess(sum(1 + event.get("others", 0) for event in told), came + 1)
        self.assertEqual(sum(1 + event.get("others", 0) for event in others), 2 * probes + 1)

    def test_another_program_has_the_servers_port_now(self):
        """Silos that know it will not find the server, but new tokens carry another."""
        self.server.kill()
        with socket.create_server(("127.0.0.1", self.port)):
            self.server = self.start("serve", self.path)
            self.assertNotEqual(self.server.wait_event("server.listening")["address"], self.address)
            self.federation_still_works()
        # Nobody is told of who went as is right: enrolled, or when all was done.
        self.assertNotIn("server.left", [event["event"] for event in self.server.events])

    def test_what_is_wrong_at_the_server_is_told_each_time(self):
        token = self.invite(self.path, "anne")
        folder = self.dir + "/server/invitations/"
        in_the_way = "%s%s.tmp.%d" % (folder, os.listdir(folder)[0], self.server.enclave())
        os.mkdir(in_the_way)
        silo = self.join(token, "anne")

        def told():
            return [event for event in self.server.events if event["event"] == "server.left"]
        wait_for(lambda: len(told()) >= 4, "four refusals that are told")
        os.rmdir(in_the_way)
        for event in told():
            self.assertIn("cannot be written", event["message"])
            self.assertNotIn("others", event)
        for process in silo, self.server:
            self.assert_ends(process)

    def test_two_servers_on_one_directory(self):
        second = self.start("serve", self.path)
        self.assert_ends(second, 2, "out.run: another run is going on there (process %d)" % self.server.process.pid)
        second = self.start("serve", self.path, "--set", "output_dir=%s/elsewhere" % self.dir)
        self.assert_ends(second, 2, "another server is running on this directory")
        self.federation_still_works()

    def test_secrets_are_for_the_owner_alone(self):
        token = self.invite(self.path, "anne")
        self.assert_ends(self.join(token, "anne"))
        self.assert_ends(self.server)
        for top in ("server", "silo-anne"):
            for folder, _, files in os.walk(os.path.join(self.dir, top)):
                self.assertEqual(os.stat(folder).st_mode & 0o077, 0, folder)
                for name in files:
                    path = os.path.join(folder, name)
                    if not re.search(r"(certificate|authority)\.pem$", path):
                        self.assertEqual(os.stat(path).st_mode & 0o077, 0, path)
                    with open(path, "rb") as file:
                        self.assertNotIn(token.encode(), file.read(), path)


class Commands(Federation):
    def test_serve_needs_right_settings(self):
        for text, sentence in (("federation: {round: 3}", "rounds"), ("federation: {rounds: 8.5}", "rounds"),
                               ("federation: {rounds: 0}", "rounds"), ("silos: [{name: A, data: x}]", "is no name"),
                               ("federation: {address: nowhere, state_dir: %s/server}" % self.dir, "no address"),
                               ("federation: {min_clients: 2}\nsilos: [{name: a, data: x}]", "federation.min_clients: 2, but silos"),
                               ("federation: {local_epochs: 0}", "local_epochs")):
            self.assert_ends(self.start("serve", self.config("wrong", text), "--set", "federation.state_dir=%s/wrong-server" % self.dir),
                             2, sentence)

    def test_secrets_lie_apart_from_what_is_given_away(self):
        config = self.config("out", "federation: {address: '127.0.0.1:0', state_dir: %s/./out}" % self.dir)
        self.assert_ends(self.start("serve", config), 2, "./out is the result's directory too, and would hold secrets")
        self.assertEqual(os.listdir(self.dir + "/out"), [])
        os.symlink(self.base + "/model", self.dir + "/link")
        before = sorted(os.listdir(self.base + "/model"))
        self.assert_ends(self.start("serve", config, "--set", "federation.state_dir=%s/link" % self.dir), 2,
                         "link is the model's directory too, and would hold secrets")
        self.assertEqual(sorted(os.listdir(self.base + "/model")), before)
        token = self.invite(config, "anne", "--set", "federation.address=127.0.0.1:7000", "--set",
                            "federation.state_dir=%s/server" % self.dir)
        self.assert_ends(self.join(token, "anne", "--output", self.dir + "/silo-anne/"), 2,
                         "silo-anne is the result's directory too, and would hold secrets")
        self.assertEqual(os.listdir(self.dir + "/silo-anne"), [])

    def test_a_lost_key_is_not_made_anew(self):
        state = self.dir + "/server"
        config = self.config("out", "federation: {address: '127.0.0.1:7000', state_dir: %s}" % state)
        self.invite(config, "anne")
        os.rename(state + "/owner/key.pem", state + "/key.pem")
        refused = program("invite", "anne", "--config", config)
        self.assertEqual((refused.returncode, refused.stdout, refused.stderr), (
            3, "", "carrel: %s/owner: the key that signed %s/job.cbor is not there: put it back\n" % (state, state)))
        os.rename(state + "/key.pem", state + "/owner/key.pem")
        self.invite(config, "anne")

    def test_invitations_are_the_servers_users(self):
        if os.geteuid() != 0:
            self.skipTest("who is not root writes nothing of another user's")
        state = self.dir + "/server"
        config = self.config("out", "federation: {address: '127.0.0.1:7000', state_dir: %s}" % state)
        os.mkdir(state)
        for owner, name in ((65534, pwd.getpwuid(65534).pw_name), (54321, "'#54321'")):
            os.chown(state, owner, -1)
            refused = program("invite", "anne", "--config", config)
            self.assertEqual((refused.returncode, refused.stdout, refused.stderr), (
                4, "", "carrel: %s belongs to %s, whose server could not read the invitation (run it as that user: "
                "sudo -u %s carrel invite ...)\n" % (state, name, name)))
            self.assertEqual(os.listdir(state), [])
        os.chown(state, 0, -1)
        self.invite(config, "anne")

    def test_what_is_waited_for_is_told_once(self):
        config = self.config("out", "federation: {address: '127.0.0.1:1', state_dir: %s/server}" % self.dir)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            token = self.invite(config, "anne", "--set", "federation.advertise=127.0.0.1:%d" % deaf.getsockname()[1])
            silo = self.join(token, "anne")
            for _ in range(4):
                deaf.accept()[0].close()
        silo.process.send_signal(signal.SIGINT)
        silo.end()
        told = [event["message"] for event in silo.events if event["event"] == "client.waiting"]
        self.assertTrue(told)
        self.assertEqual(len(told), len([why for number, why in enumerate(told) if number == 0 or why != told[number - 1]]), told)

    def test_what_fails_here_is_tried_less_and_less_often(self):
        config = self.config("out", "data: {max_length: 64}\nfederation: {address: '127.0.0.1:0', state_dir: %s/server, rounds: 1, "
                             "local_steps: 1, min_clients: 2}" % self.dir)
        server = self.serve(config)
        advertise = "federation.advertise=" + server.wait_event("server.listening")["address"]
        anne = self.join(self.invite(config, "anne", "--set", advertise), "anne")
        server.wait_event("server.joined", silo="anne")
        # She is connected, and cannot keep what the server says of the round.
        os.mkdir(self.dir + "/silo-anne/seen.sealed")
        ben = self.join(self.invite(config, "ben", "--set", advertise), "ben")

        def told(name):
            return [event for event in anne.events if event["event"] == name]

        wait_for(lambda: len(told("client.connected")) >= 5, "the fifth connection")
        self.assertEqual(len(told("client.waiting")), 1)  # four tries after it, with longer and longer pauses
        self.assertIn("seen.sealed", told("client.waiting")[0]["message"])
        os.rmdir(self.dir + "/silo-anne/seen.sealed")
        for process in (anne, ben, server):
            self.assert_ends(process)

    def test_nobody_listens(self):
        config = self.config("out", "federation: {address: '127.0.0.1:1', state_dir: %s/server}" % self.dir)
        token = self.invite(config, "anne")
        silo = self.start("join", token, "--state", self.dir + "/silo", "--model", self.base + "/model",
                          "--data", self.base + "/anne.jsonl")
        self.assertIn("refused", silo.wait_event("client.waiting")["message"])
        with open("/proc/%d/cmdline" % silo.process.pid, "rb") as file:  # what ps shows to everyone
            arguments = file.read().split(b"\0")
        self.assertEqual(arguments[1:3], [b"join", b"-" * len(token)])
        silo.process.send_signal(signal.SIGINT)
        self.assert_ends(silo, 130, "stopped")

    def test_simulate_says_which_silo_failed(self):
        write_rows(self.dir + "/empty.jsonl", [])
        config = self.config("out", "data: {max_length: 64}\nfederation: {rounds: 1, local_steps: 1, state_dir: %s/server}\n"
                             "silos:\n  - {name: anne, data: %s/anne.jsonl}\n  - {name: void, data: %s/empty.jsonl}"
                             % (self.dir, self.base, self.dir))
        result = program("simulate", config)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("carrel: silo void: ", result.stderr)

    def test_a_simulation_without_loopback(self):
        config = self.config("out", "data: {max_length: 64}\nfederation: {rounds: 1, state_dir: %s/server}\n%s"
                             % (self.dir, self.silos_text()))
        away = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
        if subprocess.run([*away, "true"], capture_output=True).returncode != 0:
            self.skipTest("no network namespace of its own")
        result = subprocess.run([*away, CARREL, "simulate", config], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, r"\Acarrel: loopback, .*: Network is unreachable\n\Z")

    def test_what_cannot_be_simulated(self):
        settings = "data: {max_length: 64}\nfederation: {rounds: 1, state_dir: %s/server}\n" % self.dir
        silo = "silos: [{name: anne, data: %s}]"
        config = self.config("out", settings + silo % (self.base + "/anne.jsonl"))
        gone = self.config("gone", settings + silo % "none.jsonl")
        none = self.config("none", settings)
        for code, sentence, *arguments in (
                (2, none + ": silos: lists none to simulate", none),
                (2, config + ": federation.job: a simulation signs its own", config, "--set", "federation.job=job.cbor"),
                (2, config + ": federation.release: a simulation's result is in output_dir alone", config, "--set", "federation.release=silos"),
                (3, gone + ": silo anne: data: none.jsonl does not exist", gone)):
            result = program("simulate", *arguments)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn("carrel: " + sentence, result.stderr)
        self.assertFalse(os.path.exists(self.dir + "/server"))

    def test_a_simulation_turns_none_of_its_silos_away(self):
        silos = "".join("\n  - {name: silo-%d, data: %s/anne.jsonl}" % (i, self.base) for i in range(12))
        config = self.config("out", "data: {max_length: 64}\nfederation: {rounds: 1, local_steps: 1, state_dir: %s/server}\n"
                             "silos:%s" % (self.dir, silos))
        result = program("simulate", config)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn(" left: ", result.stderr)

    def test_interrupted_simulation_goes_on(self):
        text = "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4}\nfederation: {rounds: 4, local_steps: 10, " \
               "state_dir: %s/%s}\n" + self.silos_text()
        undisturbed = self.config("undisturbed", text % (self.dir, "first"))
        self.assertEqual(program("simulate", undisturbed).returncode, 0)
        config = self.config("out", text % (self.dir, "second"))
        first = self.start("simulate", config)
        first.wait_event("round.done", round=2)
        first.process.send_signal(signal.SIGINT)
        self.assertEqual(first.end()[0], 130)
        second = self.start("simulate", config)
        self.assertGreaterEqual(second.wait_event("server.listening")["round"], 3)
        self.assert_ends(second)
        self.assertEqual(self.adapter("out"), self.adapter("undisturbed"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
