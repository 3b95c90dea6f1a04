"""What lies on the disks of a federation: nothing in the clear, nothing that can be changed or set back unnoticed."""
import base64
import glob
import json
import os
import shutil
import unittest

from federation_support import Federation, SILOS, files_below, needles_of, program
from support import memory_of


class Sealed(Federation):
    def settings(self, name="out", rounds=2, steps=3, silos=1):
        return self.config(name, "data: {max_length: 64}\ntraining: {per_device_train_batch_size: 4, learning_rate: 0.01}\n"
                           "federation: {rounds: %d, local_steps: %d, min_clients: %d, progress_timeout: 60, address: "
                           "'127.0.0.1:0', state_dir: %s/server}" % (rounds, steps, silos, self.dir))

    def test_nothing_lies_in_the_clear(self):
        """With one silo its update is the adapter: neither is in a file of either side, nor is a key."""
        config = self.settings()
        server = self.start("serve", config)
        server.wait_event("server.listening")
        silo = self.join(self.invite(config, "anne"), "anne")
        self.assert_ends(silo)
        self.assert_ends(server)
        folders = (self.dir + "/server", self.dir + "/silo-anne")
        kept = {os.path.basename(path) for path, _ in files_below(*folders)}
        self.assertLessEqual({"values-2.sealed", "trainer-1.sealed", "update.sealed", "seen.sealed", "state.sealed",
                              "key.sealed"}, kept)
        needles = [needle for needle in needles_of(self.dir + "/out/adapter_model.safetensors") if any(needle)]
        self.assertGreater(len(needles), 300)

        def found(*where):
            return {path for path, content in files_below(*where) for needle in needles if needle in content}
        self.assertTrue(found(self.dir + "/out"))  # what is released is there to be found
        self.assertEqual(found(*folders), set())
        for path, content in files_below(*folders):
            if not path.endswith("/server/owner/key.pem"):  # who runs the server is this job's owner
                self.assertNotIn(b"PRIVATE KEY", content, path)
        # Said loudly: this key protects nothing from who holds the disk.
        for process in (server, silo):
            warning = process.wait_event("enclave.sealing")
            self.assertEqual((warning["level"], warning["source"]), ("warning", "development"))
            self.assertIn("whoever holds the disk can open it", warning["message"])

        said = json.loads(program("inspect", self.dir + "/server/values-2.sealed", "--json").stdout)
        self.assertEqual((said["kind"], said["holds"], said["key_source"]), ("sealed file", "global values", "development"))
        self.assertEqual(len(said["bound_to"]), 64)
        said = program("inspect", self.dir + "/silo-anne/key.sealed").stdout
        self.assertRegex(said, r"(?m)^bound to +nothing$")

        # What was changed is told by name and chunk, and what came from elsewhere by the key.
        values = self.dir + "/server/values-2.sealed"
        with open(values, "r+b") as file:
            content = file.read()
            file.seek(-1, os.SEEK_END)
            file.write(bytes([content[-1] ^ 1]))
        self.assert_ends(self.start("serve", config), 2, values + ": chunk 1 of 1 was changed")
        os.remove(self.dir + "/server/sealing.key")
        self.assert_ends(self.start("serve", config), 2, "key.sealed: sealed under another key of development than is here")
        self.assert_ends(self.start("serve", config, "--set", "attestation.sealing=swordfish"), 2, "attestation.sealing: \"swordfish\" is none of auto, gramine, snp, tpm, development")
        self.assert_ends(self.start("serve", config, "--set", "attestation.sealing=gramine"), 3, "does not run in Gramine")

    def test_a_simulation_with_other_settings(self):
        """Its silos keep what belongs to the job before it, which opens for no other one."""
        for rounds in (1, 2):
            with open(self.settings(rounds=rounds), "a") as file:
                file.write("\n" + self.silos_text().split("  - {name: ben")[0])
            result = program("simulate", file.name)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_server_that_was_set_back(self):
        """Its silos remember more than it does; with its newest state the run goes on."""
        config = self.settings(rounds=3, steps=60, silos=3)
        server = self.start("serve", config)
        server.wait_event("server.listening")
        tokens = {name: self.invite(config, name) for name in SILOS}
        silos = {name: self.join(tokens[name], name) for name in SILOS}
        state, copy, newest = (self.dir + "/" + name for name in ("server", "copy", "newest"))
        server.wait_event("round.progress", round=2)
        server.kill()
        shutil.copytree(state, copy)
        server = self.start("serve", config)
        server.wait_event("round.progress", round=3)
        server.kill()
        self.assertEqual([os.path.basename(path) for path in glob.glob(state + "/values-*")], ["values-2.sealed"])
        os.rename(state, newest)
        for name in ("anne", "cleo"):
            silos[name].kill()

        # To a silo that is waiting for it, and to one that was killed meanwhile.
        for silo in (silos["ben"], None):
            shutil.rmtree(state, ignore_errors=True)
            shutil.copytree(copy, state)
            server = self.start("serve", config)
            self.assertEqual(server.wait_event("server.listening")["round"], 2)
            sentence = "this server's state is an older one, before round 2: ben was told of round 3"
            self.assert_ends(silo or self.join(tokens["ben"], "ben"), 4, sentence)
            self.assert_ends(server, 2, sentence)
            self.assertFalse([event for event in server.events if event["event"] in ("round.begin", "server.joined")])

        shutil.rmtree(state)
        os.rename(newest, state)
        server = self.start("serve", config)
        self.assertEqual(server.wait_event("server.listening")["round"], 3)
        for process in [self.join(tokens[name], name) for name in SILOS] + [server]:
            self.assert_ends(process)

    def test_the_persons_program_forgets_the_token(self):
        """It may be dumped, onto a disk, and lives as long as the run."""
        config = self.settings()
        server = self.serve(config)
        token = self.invite(config, "anne")
        server.kill()
        silo = self.join(token, "anne")
        silo.wait_event("client.waiting")
        memory = memory_of(silo.process.pid)
        secret = base64.urlsafe_b64decode(token.split(".")[1] + "==")[74:106]
        found = [needle in memory for needle in (b"client.waiting", secret, token[110:130].encode())]
        self.assertEqual(found, [True, False, False])  # the first so that this can fail
        silo.kill()


if __name__ == "__main__":
    unittest.main(verbosity=2)
