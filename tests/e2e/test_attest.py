"""carrel attest: evidence of this machine, and what carrel verify says to it."""
import json
import os
import shutil
import socket
import struct
import subprocess
import unittest

from support import Folder, program, wait_for

INTERFACES = "/dev/attestation", "/sys/kernel/config/tsm/report"


class Attest(Folder):
    def fails(self, code, sentence, *arguments):
        super().fails(code, sentence, "attest", *arguments)

    def test_development_evidence_is_what_it_says(self):
        """Printed, written and in JSON, it says loudly what it is, and is admitted by a policy alone."""
        nonce, policy = "ab" * 16, self.write("policy.yaml", "allow_development: true\nreport_data: [%s]\n" % ("ab" * 16))
        printed = program("attest", "--attester", "development", "--nonce", nonce)
        shown = program("attest", "--attester", "development", "--nonce", nonce, "--json")
        written = program("attest", "--attester", "development", "--nonce", nonce, "--output", self.path("raw"))
        for result in printed, shown, written:
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("THIS PROVES NOTHING", result.stderr)
        self.assertEqual(written.stdout, "")
        answer = json.loads(shown.stdout)
        self.assertEqual((answer["attester"], answer["type"]), ("development", "development"))
        self.assertEqual(answer["report_data"], nonce + "00" * 48)
        for path in self.write("hex", printed.stdout), self.write("json", shown.stdout), self.path("raw"):
            result = program("verify", path, "--json")
            verdict = json.loads(result.stdout)
            self.assertEqual((result.returncode, verdict["verdict"], verdict["signature"]), (4, "refused", "invalid"))
            self.assertIn("it proves nothing", result.stderr)
            result = program("verify", path, "--json", "--policy", policy)
            verdict = json.loads(result.stdout)
            self.assertEqual((result.returncode, verdict["verdict"], verdict["signature"]), (0, "admitted", "invalid"))
            self.assertEqual(verdict["claims"]["report_data"], nonce + "00" * 48)
        other = self.write("other.yaml", "allow_development: true\nreport_data: [cd]\n")
        result = program("verify", self.path("raw"), "--policy", other)
        self.assertEqual(result.returncode, 4)
        self.assertIn("is not among the policy's values of report_data", result.stderr)
        self.assertIn("NOTHING IS PROVED", program("verify", self.path("raw"), "--policy", policy).stdout)

    def test_errors(self):
        self.fails(2, "the attester \"sev\" is not known (auto, gramine, tsm, tpm, development)", "--attester", "sev")
        self.fails(3, "/nonexistent: not there: this machine has no TPM 2.0", "--attester", "tpm", "--tpm", "/nonexistent")
        self.fails(2, "bound to 32 bytes", "--attester", "tpm", "--nonce", "ab" * 33)
        for nonce in "", "0", "zz", "00" * 65:
            self.fails(2, "--nonce: \"%s\" is not 1 to 64 bytes in hexadecimal" % nonce, "--nonce", nonce)

    def start_tpm(self):
        """swtpm with a state and a socket of its own; the socket's path."""
        os.mkdir(self.path("state"))
        path = self.path("tpm.socket")
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("state"), "--server",
                                    "type=unixio,path=" + path, "--flags", "not-need-init,startup-clear",
                                    "--log", "level=0,file=/dev/null"])
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

        def listens():  # the path is there before anyone does
            with socket.socket(socket.AF_UNIX) as connection:
                return connection.connect_ex(path) == 0
        wait_for(listens, "swtpm")
        return path

    def extend(self, tpm, pcr):
        """TPM2_PCR_Extend by thirty-two bytes, without a password."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(tpm)
            connection.sendall(struct.pack(">HIIIIIHBHIH", 0x8002, 65, 0x182, pcr, 9, 0x40000009, 0, 0, 0, 1, 11) + b"x" * 32)
            self.assertEqual(struct.unpack(">HII", connection.recv(64)[:10])[2], 0)

    def certify(self, evidence):
        """A folder with certificates as docs/DEPLOY.md has them made; SHA-256 of the maker's key."""
        def openssl(*arguments, **more):
            return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **more).stdout

        with open(evidence) as file:
            public = self.write("ak.pem", json.load(file)["public_key"])
        os.mkdir(self.path("certificates"))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                "/CN=Owner of the job", "-keyout", self.path("owner.key"), "-out", self.path("certificates/owner.pem"))
        openssl("x509", "-new", "-force_pubkey", public, "-subj", "/CN=server", "-days", "30", "-CA",
                self.path("certificates/owner.pem"), "-CAkey", self.path("owner.key"), "-out", self.path("certificates/ak.pem"))
        key = openssl("x509", "-in", self.path("certificates/owner.pem"), "-noout", "-pubkey")
        return self.path("certificates"), openssl("dgst", "-sha256", input=openssl("pkey", "-pubin", "-outform", "DER",
                                                                                  input=key)).split()[-1].decode()

    @unittest.skipUnless(shutil.which("swtpm") and shutil.which("openssl"), "swtpm and openssl are not installed")
    def test_a_tpm(self):
        nonce, tpm = "ab" * 32, self.start_tpm()
        result = program("attest", "--attester", "tpm", "--tpm", tpm, "--nonce", nonce, "--output", self.path("quote"))
        if "built without" in result.stderr:
            self.skipTest(result.stderr)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        certificates, root = self.certify(self.path("quote"))
        lines = {"trusted_roots": [root], "allow_missing_crl": True, "report_data": [nonce],
                 "tpm": {"allow_measured_boot": True, "pcrs": [{"index": 4, "values": ["00" * 32]}]}}
        policy = self.write("policy.yaml", json.dumps(lines))
        for path in self.path("quote"), self.write("json", program("attest", "--attester", "tpm", "--tpm", tpm, "--nonce", nonce,
                                                                   "--json").stdout):
            result = program("verify", path, "--endorsements", certificates, "--policy", policy, "--json")
            verdict = json.loads(result.stdout)
            self.assertEqual((result.returncode, verdict["verdict"], verdict["signature"]), (0, "affirmed", "valid"), verdict)
        lines["tpm"]["pcrs"][0]["values"] = ["11" * 32]
        result = program("verify", self.path("quote"), "--endorsements", certificates, "--policy",
                         self.write("other.yaml", json.dumps(lines)))
        self.assertEqual(result.returncode, 4)
        self.assertIn("is not among the policy's values of pcr4", result.stderr)

    @unittest.skipUnless(shutil.which("swtpm") and shutil.which("openssl"), "swtpm and openssl are not installed")
    def test_a_federation_by_tpms(self):
        """Both ends are attested by a TPM, for the PCRs that the policy lists and no others, and what they keep is sealed to
        what was booted."""
        tpm = self.start_tpm()
        first = program("attest", "--attester", "tpm", "--tpm", tpm, "--output", self.path("first"))
        if "built without" in first.stderr:
            self.skipTest(first.stderr)
        certificates, root = self.certify(self.path("first"))
        rows = self.write("rows.jsonl", '{"text": "After lunch the doctor wrote"}\n' * 8)
        for values, code in (["11" * 32], 4), (["00" * 32], 0):
            policy = self.write("policy.yaml", json.dumps(
                {"trusted_roots": [root], "allow_missing_crl": True,
                 "tpm": {"allow_measured_boot": True, "pcrs": [{"index": 7, "values": values}]}}))
            settings = self.write("federation.yaml", json.dumps(
                {"model_name_or_path": os.path.abspath("examples/demo/model"), "output_dir": self.path("out-%d" % code),
                 "threads": 1, "data": {"max_length": 32}, "silos": [{"name": "anne", "data": rows}],
                 "attestation": {"attester": "tpm", "tpm": tpm, "sealing": "tpm", "endorsements": certificates},
                 "federation": {"rounds": 1, "local_steps": 1, "address": "127.0.0.1:0", "state_dir": self.path("s-%d" % code),
                                "appraisal_policy": policy}}))
            result = program("simulate", settings, "--json")
            events = [json.loads(line) for line in result.stdout.splitlines()]
            self.assertEqual(result.returncode, code, result.stderr)
            names = {event["event"] for event in events}
            if code == 0:
                admitted = [(event["peer"], event["type"]) for event in events if event["event"] == "simulate.admitted"]
                self.assertEqual(sorted(admitted), [("anne", "tpm"), ("server", "tpm")])
            else:
                self.assertIn("is not among the policy's values of pcr7", result.stderr + result.stdout)
                self.assertNotIn("simulate.admitted", names)
        self.extend(tpm, 7)
        result = program("simulate", settings)
        self.assertEqual(result.returncode, 4)
        self.assertIn("other values of PCR 7: this machine was started otherwise", result.stderr)

    @unittest.skipIf(any(os.path.exists(path) for path in INTERFACES), "this machine has an interface of a TEE")
    def test_a_machine_without_a_tee(self):
        self.fails(3, "no TEE to be seen here: there is neither /dev/attestation")
        self.fails(3, "/dev/attestation/attestation_type: not there", "--attester", "gramine")
        self.fails(3, "/sys/kernel/config/tsm/report: not there: the kernel has no configfs-tsm", "--attester", "tsm")
        self.fails(3, "no TEE to be seen here", "--output", self.path("raw"))
        self.assertFalse(os.path.exists(self.path("raw")))


if __name__ == "__main__":
    unittest.main()
