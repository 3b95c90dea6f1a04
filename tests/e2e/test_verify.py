"""carrel verify: genuine evidence of others' machines, what was made of it to deceive, and the command line."""
import json
import os
import shutil
import struct
import tempfile
import unittest

from support import program

DATA = os.path.join(os.environ.get("CARREL_DATA", "../shared/data"), "attestation")
JUNE, AUGUST, OLD = "2025-06-25T00:00:00Z", "2025-08-20T00:00:00Z", "2023-06-25T00:00:00Z"


def verify(path, *arguments):
    return program("verify", path, *arguments)


def appraise(path, time, *arguments):
    """Exit code and answer, with all of the data's endorsements."""
    result = verify(path, "--endorsements", DATA, "--time", time, "--json", *arguments)
    return result.returncode, json.loads(result.stdout)


def checks(answer, outcome):
    return {check["check"]: check.get("reason") for check in answer["checks"] if check["outcome"] == outcome}


class CommandLine(unittest.TestCase):
    def fails(self, code, sentence, *arguments):
        result = verify(*arguments)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertIn(sentence, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_errors(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "file")
            with open(path, "w") as file:
                file.write("no evidence at all")
            self.fails(2, path + ": no evidence that is known", path)
            self.fails(3, "nowhere", os.path.join(folder, "nowhere"))
            self.fails(3, "nowhere", path, "--endorsements", os.path.join(folder, "nowhere"))
            self.fails(2, "is not RFC 3339", path, "--time", "yesterday")
            with open(os.path.join(folder, "empty"), "w"):
                pass
            self.fails(2, "empty: the file is empty", path, "--event-log", os.path.join(folder, "empty"))
            self.fails(2, "--format: \"jwt\" is not known", path, "--format", "jwt")
            self.fails(2, "not both", path, "--format", "ear", "--json")
            self.fails(2, "--type: \"sev\" is not known (sgx, tdx, snp, tpm, certificate, development)", path, "--type", "sev")
            with open(os.path.join(folder, "policy.yaml"), "w") as file:
                file.write("sgx: {mrenclave: [12]}\n")
            self.fails(2, "policy.yaml: sgx.mrenclave: \"12\" is not 32 bytes", path, "--policy", file.name)

    def test_what_cannot_be_read_is_refused(self):
        """A quote's beginning, and nothing behind it."""
        vendor = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack("<HHIHH", 4, 2, 0x81, 0, 0) + vendor + bytes(20))
            file.flush()
            result = verify(file.name, "--json")
            answer = json.loads(result.stdout)
            self.assertEqual((result.returncode, answer["verdict"], answer["signature"]), (4, "refused", "invalid"))
            self.assertEqual(checks(answer, "refused"), {"format": "quote: it ends within its body"})
            self.assertIn("verdict: refused", verify(file.name).stdout)
            with tempfile.NamedTemporaryFile(suffix="\"policy\".yaml") as policy:
                policy.write(b"{}\n")
                policy.flush()
                result = verify(file.name, "--format", "ear", "--time", JUNE, "--policy", policy.name)
            module = json.loads(result.stdout)["submods"]["tdx"]
            self.assertEqual((result.returncode, module["ear.status"]), (4, "contraindicated"))
            self.assertEqual(module["ear.appraisal-policy-id"], policy.name)
            self.assertEqual(module["ear.trustworthiness-vector"]["instance-identity"], 97)


@unittest.skipUnless(os.path.isdir(DATA), "third-party data not found at %s: set CARREL_DATA" % DATA)
class Quotes(unittest.TestCase):
    """SGX and TDX."""

    # file, time, version, FMSPC, state of the platform, debug, verdict
    GENUINE = [
        ("sgx-v3/phala_sgx_quote.bin", JUNE, 3, "00a067110000", "ConfigurationAndSWHardeningNeeded", False, "refused"),
        ("sgx-v3/automata_quotev3.hex", AUGUST, 3, "00606a000000", "SWHardeningNeeded", False, "unaffirmed"),
        ("sgx-v3/occlum_quote_debug.bin", AUGUST, 3, "00606a000000", "OutOfDate", True, "refused"),
        ("tdx-v4/azure_td_quote.bin", JUNE, 4, "00806f050000", "OutOfDate", False, "refused"),
        ("tdx-v4/google_SPR_E4_quote.bin", OLD, 4, "50806f000000", "Unrecognized", False, "refused"),
        ("tdx-v4/phala_tdx_quote.bin", JUNE, 4, "b0c06f000000", "UpToDate", False, "unaffirmed"),
        ("tdx-v5/alibaba_quote_5.bin", JUNE, 5, "90c06f000000", "UpToDate", False, "unaffirmed"),
    ]

    def raw(self, name):
        with open(os.path.join(DATA, name), "rb") as file:
            content = file.read()
        return bytes.fromhex(content.decode()) if name.endswith(".hex") else content

    def test_genuine_quotes(self):
        for name, time, version, fmspc, status, debug, verdict in self.GENUINE:
            with self.subTest(name):
                code, answer = appraise(os.path.join(DATA, name), time)
                claims = answer["claims"]
                self.assertEqual(answer["signature"], "valid")
                self.assertEqual(answer["tcb_status"], status)
                self.assertIs(answer["debug"], debug)
                self.assertEqual((claims["quote_version"], claims["fmspc"]), (version, fmspc))
                self.assertEqual((answer["verdict"], code), (verdict, 4 if verdict == "refused" else 0))
                raw, body = self.raw(name), 48 if version < 5 else 54
                if version == 3:
                    self.assertEqual(claims["mrenclave"], raw[body + 64:body + 96].hex())
                    self.assertEqual(claims["mrsigner"], raw[body + 128:body + 160].hex())
                    self.assertEqual(claims["report_data"], raw[body + 320:body + 384].hex())
                else:
                    self.assertEqual(claims["mrtd"], raw[body + 136:body + 184].hex())
                    self.assertEqual(claims["rtmr3"], raw[body + 472:body + 520].hex())
                    self.assertEqual(claims["report_data"], raw[body + 520:body + 584].hex())
                # What refuses it is the state of its platform, debug, and nothing else.
                self.assertLessEqual(set(checks(answer, "refused")), {"tcb_status", "debug"})
                self.assertEqual("debug" in checks(answer, "refused"), debug)

    def test_a_policy_affirms_what_it_names(self):
        with tempfile.TemporaryDirectory() as folder:
            policy = os.path.join(folder, "policy.yaml")
            for name, time, version, fmspc, status, debug, verdict in self.GENUINE:
                claims = appraise(os.path.join(DATA, name), time)[1]["claims"]
                lines = {"allow_debug": debug, "allow_missing_crl": time == OLD, "allow_tcb_status": [status]}
                if version == 3:
                    lines["sgx"] = {"mrenclave": claims["mrenclave"]}
                else:
                    lines["tdx"] = {key: claims[key] for key in ("mrtd", "rtmr0", "rtmr1", "rtmr2")}
                with self.subTest(name):
                    with open(policy, "w") as file:
                        json.dump(lines, file)
                    code, answer = appraise(os.path.join(DATA, name), time, "--policy", policy)
                    self.assertEqual((code, answer["verdict"]), (0, "affirmed"), answer["checks"])
                    section = "sgx" if version == 3 else "tdx"
                    for key, value in lines[section].items():
                        lines[section] = dict(lines[section], **{key: "ab" + value[2:]})
                        with open(policy, "w") as file:
                            json.dump(lines, file)
                        code, answer = appraise(os.path.join(DATA, name), time, "--policy", policy)
                        self.assertEqual(code, 4)
                        self.assertIn(section + "." + key, checks(answer, "refused"))
                    with open(policy, "w") as file:
                        file.write("{}\n")
                    self.assertEqual(appraise(os.path.join(DATA, name), time, "--policy", policy)[0], 4)

    def test_attestation_results(self):
        """EAR: a status, and a vector in which 2 to 31 affirms, 32 to 95 warns and more contradicts."""
        for name, time, expected in (("tdx-v4/phala_tdx_quote.bin", JUNE, ("warning", 2, 2, 33, 2)),
                                     ("sgx-v3/occlum_quote_debug.bin", AUGUST, ("contraindicated", 2, 96, 33, 96)),
                                     ("derived-bad/tdx4_quote_sig_bit.bin", JUNE, ("contraindicated", 97, 0, 0, 0))):
            result = verify(os.path.join(DATA, name), "--endorsements", DATA, "--time", time, "--format", "ear")
            answer = json.loads(result.stdout)
            self.assertEqual(answer["eat_profile"], "tag:github.com,2023:veraison/ear")
            self.assertEqual(answer["iat"], 1750809600 if time == JUNE else 1755648000)
            (kind, module), = answer["submods"].items()
            self.assertEqual(kind, "sgx" if "sgx" in name else "tdx")
            vector = module["ear.trustworthiness-vector"]
            self.assertEqual((module["ear.status"], vector["instance-identity"], vector["hardware"], vector["executables"],
                              vector["runtime-opaque"]), expected)

    def test_times_outside(self):
        """Each of these quotes was good in June 2025."""
        for name in "tdx-v4/phala_tdx_quote.bin", "tdx-v5/alibaba_quote_5.bin":
            for time, refused in (("2025-12-01T00:00:00Z", {"tcb_info", "qe_identity", "revocation"}),
                                  ("2040-01-01T00:00:00Z", {"tcb_info", "qe_identity", "revocation", "pck_validity"}),
                                  ("2020-01-01T00:00:00Z", {"tcb_info", "qe_identity", "pck_validity"})):
                code, answer = appraise(os.path.join(DATA, name), time)
                self.assertEqual((code, answer["signature"]), (4, "valid"))
                self.assertLessEqual(refused, set(checks(answer, "refused")))

    def test_a_test_root_is_not_intels(self):
        folder = os.path.join(DATA, "intel-synthetic-sgx")
        quote = os.path.join(folder, "quote.dat")
        code, answer = appraise(quote, JUNE)
        self.assertEqual((code, answer["signature"]), (4, "invalid"))
        self.assertIn("no chain from the PCK certificate to a trusted root", checks(answer, "refused")["pck_chain"])
        # SHA-256 of that root's key; with it everything verifies.
        root = "6a3b29fc4ae6ef0e0a9241dc63aeb2a361b15af97a634803dcda3d7358a3e38a"
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as policy:
            policy.write("trusted_roots: %s\nallow_unknown_program: true\n" % root)
            policy.flush()
            code, answer = appraise(quote, JUNE, "--policy", policy.name)
            self.assertEqual((code, answer["signature"], answer["tcb_status"]), (0, "valid", "UpToDate"), answer["checks"])
            code, answer = appraise(os.path.join(DATA, "tdx-v4/phala_tdx_quote.bin"), JUNE, "--policy", policy.name)
            self.assertEqual((code, answer["signature"]), (4, "invalid"))

    def test_without_endorsements(self):
        """What the quote brings is enough for its signature, and for nothing else."""
        result = verify(os.path.join(DATA, "tdx-v4/phala_tdx_quote.bin"), "--json", "--time", JUNE)
        answer = json.loads(result.stdout)
        self.assertEqual((result.returncode, answer["signature"], answer["tcb_status"]), (4, "valid", "Unknown"))
        self.assertEqual(set(checks(answer, "refused")), {"tcb_info", "qe_identity"})
        self.assertEqual(set(checks(answer, "unchecked")), {"revocation", "program"})

    def test_collateral_of_its_own_folder_is_enough(self):
        for name, folder in (("tdx-v4/phala_tdx_quote.bin", "tdx-v4"), ("sgx-v3/automata_quotev3.hex", "sgx-v3")):
            with tempfile.TemporaryDirectory() as endorsements:
                for entry in os.listdir(os.path.join(DATA, folder)):
                    if "quote" not in entry or "collateral" in entry:
                        shutil.copy(os.path.join(DATA, folder, entry), endorsements)
                result = verify(os.path.join(DATA, name), "--endorsements", endorsements, "--time",
                                JUNE if folder == "tdx-v4" else AUGUST)
                self.assertEqual(result.returncode, 0, result.stdout)
                self.assertIn("\nsignature: valid\n", result.stdout)
                self.assertIn("verdict: unaffirmed", result.stdout)

    def test_a_changed_tcb_info_is_not_believed(self):
        """Its signature covers bytes: an answer that calls this platform better than it is counts for nothing."""
        with tempfile.TemporaryDirectory() as endorsements:
            for entry in "qe_identity_2025-08.json", "pck_platform_crl_2025-08.der", "phala_sgx_quote.collateral.json":
                shutil.copy(os.path.join(DATA, "sgx-v3", entry), endorsements)
            with open(os.path.join(DATA, "sgx-v3/tcbinfo_v3_00606a000000_2025-08.json")) as file:
                text = file.read()
            with open(os.path.join(endorsements, "info.json"), "w") as file:
                file.write(text.replace("OutOfDate", "UpToDate"))
            result = verify(os.path.join(DATA, "sgx-v3/occlum_quote_debug.bin"), "--endorsements", endorsements, "--time",
                            AUGUST, "--json")
            answer = json.loads(result.stdout)
            self.assertEqual(answer["tcb_status"], "Unknown")
            self.assertIn("the signature over it does not verify", checks(answer, "refused")["tcb_info"])

    def test_an_event_log_of_another_machine(self):
        log = os.path.join(DATA, "ccel/CCEL_data_grub")
        code, answer = appraise(os.path.join(DATA, "tdx-v4/phala_tdx_quote.bin"), JUNE, "--event-log", log)
        self.assertEqual((code, answer["signature"], answer["claims"]["event_log_events"]), (4, "valid", 37))
        self.assertEqual(checks(answer, "refused"),
                         {"event_log": "event log: it comes to another value of register 1 than was quoted"})

    def test_evidence_in_json(self):
        code, answer = appraise(os.path.join(DATA, "tpm/az-tdx_evidence_v0.json"), JUNE, "--type", "tdx")
        self.assertEqual((answer["signature"], answer["tcb_status"], answer["claims"]["type"]), ("valid", "OutOfDate", "tdx"))

    def test_derived_bad_quotes(self):
        reasons = {
            "measurement_bit": ("quote_signature", "does not verify"),
            "report_data_bit": ("quote_signature", "does not verify"),
            "quote_sig_bit": ("quote_signature", "does not verify"),
            "qe_auth_bit": ("attestation_key", "does not vouch"),
            "resigned_by_other_key": ("attestation_key", "does not vouch"),
            "qe_report_bit": ("qe_report_signature", "does not verify"),
            "siglen_ffffffff": ("format", "signature data of 4294967295 bytes"),
            "truncated": ("format", "are left"),
            "version_6": ("format", "of version 6"),
        }
        for kind in "sgx3", "tdx4", "tdx5":
            for change, (check, why) in reasons.items():
                with self.subTest(kind + " " + change):
                    path = os.path.join(DATA, "derived-bad", "%s_%s.bin" % (kind, change))
                    code, answer = appraise(path, JUNE)
                    refused = checks(answer, "refused")
                    self.assertEqual((code, answer["verdict"], answer["signature"]), (4, "refused", "invalid"))
                    self.assertIn(why, refused.pop(check))
                    refused.pop("tcb_status", None)  # the SGX platform's own
                    self.assertEqual(refused, {})


@unittest.skipUnless(os.path.isdir(DATA), "third-party data not found at %s: set CARREL_DATA" % DATA)
class Reports(unittest.TestCase):
    """SEV-SNP."""

    # file, offset of the report in it, version, chip, TCB
    GENUINE = [
        ("snp/trustee_report.bin", 2, "c38427a3", "bootloader 3, tee 0, snp 8, microcode 115"),
        ("snp/virtee_report_milan.hex", 2, "d49554ec", "bootloader 3, tee 0, snp 8, microcode 115"),
        ("snp/azure_evidence_v0_milan.json", 3, "66a5a7b4", "bootloader 4, tee 0, snp 24, microcode 219"),
        ("tpm/az-snp_hcl_report.bin", 2, "19752a44", "bootloader 3, tee 0, snp 8, microcode 115"),
    ]

    def raw(self, name):
        with open(os.path.join(DATA, name), "rb") as file:
            content = file.read()
        if name.endswith(".hex"):
            content = bytes.fromhex(content.decode())
        if name.endswith(".json"):
            content = bytes(json.loads(content)["report"])
        return content[32:] if content.startswith(b"HCLA") else content

    def policy(self, file, claims, **more):
        tcb = {word.split()[0]: int(word.split()[1]) for word in claims["reported_tcb"].split(", ")}
        lines = {"allow_missing_crl": True, "snp": {"measurement": claims["measurement"], "min_tcb": tcb}}
        lines["snp"].update(more.pop("snp", {}))
        lines.update(more)
        file.seek(0)
        file.truncate()
        json.dump(lines, file)
        file.flush()
        return file.name

    def test_genuine_reports(self):
        for name, version, chip, tcb in self.GENUINE:
            with self.subTest(name), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                path, raw = os.path.join(DATA, name), self.raw(name)
                code, answer = appraise(path, JUNE)
                claims = answer["claims"]
                self.assertEqual((code, answer["verdict"], answer["signature"], answer["debug"]), (0, "unaffirmed", "valid", False))
                self.assertEqual((claims["report_version"], claims["reported_tcb"]), (version, tcb))
                self.assertEqual((claims["key_root"], claims["product"]), ("ARK-Milan", "Milan-B0"))
                self.assertEqual(claims["measurement"], raw[0x90:0x90 + 48].hex())
                self.assertEqual(claims["chip_id"], raw[0x1a0:0x1a0 + 64].hex())
                self.assertEqual(claims["report_data"], raw[0x50:0x50 + 64].hex())
                self.assertTrue(claims["chip_id"].startswith(chip))
                self.assertEqual(set(checks(answer, "unchecked")), {"revocation", "tcb_status", "program"})
                code, answer = appraise(path, JUNE, "--policy", self.policy(file, claims))
                self.assertEqual((code, answer["verdict"], answer["tcb_status"]), (0, "affirmed", "UpToDate"), answer["checks"])
                self.assertEqual("runtime_data" in claims, raw[1184:] != b"")
                for check, more in (("snp.measurement", {"snp": {"measurement": "00" * 48}}), ("snp.vmpl", {"snp": {"vmpl": [1, 2]}}),
                                    ("tcb_status", {"snp": {"min_tcb": {"snp": 25}}}), ("snp.chip_id", {"snp": {"chip_id": "11" * 64}}),
                                    ("report_data", {"report_data": "22"})):
                    code, answer = appraise(path, JUNE, "--policy", self.policy(file, claims, **more))
                    self.assertEqual((code, list(checks(answer, "refused"))), (4, [check]))

    def test_times_outside(self):
        for time, why in (("2035-01-01T00:00:00Z", "expired at"), ("2022-01-01T00:00:00Z", "is good only from")):
            code, answer = appraise(os.path.join(DATA, "snp/trustee_report.bin"), time)
            self.assertEqual((code, answer["signature"]), (4, "valid"))
            self.assertIn(why, checks(answer, "refused")["key_validity"])

    def test_certificates_that_are_missing_or_wrong(self):
        report = os.path.join(DATA, "snp/trustee_report.bin")
        for files, check, why in (
                (["amd-roots/ask_ark_milan.pem"], "report_signature", "no VCEK certificate of the report's chip"),
                (["amd-roots/ask_ark_milan.pem", "snp/virtee_vcek_milan.der", "snp/bad_vcek_invalid_legacy.der"],
                 "report_signature", "no VCEK certificate of the report's chip"),
                (["snp/trustee_vcek.der", "amd-roots/ask_ark_genoa.pem"], "key_chain", "unable to get local issuer certificate")):
            with tempfile.TemporaryDirectory() as endorsements:
                for name in files:
                    shutil.copy(os.path.join(DATA, name), endorsements)
                result = verify(report, "--endorsements", endorsements, "--time", JUNE, "--json")
                answer = json.loads(result.stdout)
                self.assertEqual((result.returncode, answer["signature"]), (4, "invalid"))
                self.assertIn(why, checks(answer, "refused")[check])

    def test_derived_bad_reports(self):
        for change in "measurement_bit", "policy_debug", "report_data_bit", "sig_bit", "sig_zero", "truncated":
            with self.subTest(change):
                code, answer = appraise(os.path.join(DATA, "derived-bad/snp_%s.bin" % change), JUNE)
                self.assertEqual((code, answer["verdict"], answer["signature"]), (4, "refused", "invalid"))
                refused = checks(answer, "refused")
                expected = {"truncated": {"format": "SNP report: 722 bytes where it has 1184"}}.get(
                    change, {"report_signature": "SNP report, by the certificate's key: the signature does not verify"})
                self.assertEqual(answer["debug"], change == "policy_debug")
                if change == "policy_debug":
                    self.assertIn("allows debugging", refused.pop("debug"))
                self.assertEqual(refused, expected)


@unittest.skipUnless(os.path.isdir(DATA), "third-party data not found at %s: set CARREL_DATA" % DATA)
class Certificates(unittest.TestCase):
    """For keys that sign evidence."""

    def pck(self):
        with open(os.path.join(DATA, "tdx-v4/phala_tdx_quote.bin"), "rb") as file:
            content = file.read()
        end = b"-----END CERTIFICATE-----\n"
        return content[content.index(b"-----BEGIN"):content.index(end) + len(end)]

    def test_genuine_certificates(self):
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self.pck())
            file.flush()
            code, answer = appraise(file.name, JUNE)
            self.assertEqual((code, answer["verdict"], answer["claims"]["fmspc"]), (0, "affirmed", "b0c06f000000"), answer["checks"])
            code, answer = appraise(file.name, "2040-01-01T00:00:00Z")
            self.assertEqual((code, set(checks(answer, "refused"))), (4, {"key_validity", "revocation"}))
        for name, chip in ("snp/trustee_vcek.der", "c38427a3"), ("snp/virtee_vcek_milan.der", "d49554ec"):
            code, answer = appraise(os.path.join(DATA, name), JUNE)
            self.assertEqual((code, answer["signature"], answer["claims"]["chip_id"][:8]), (0, "valid", chip))
            self.assertEqual(set(checks(answer, "unchecked")), {"revocation"})

    def test_certificates_that_no_vendor_signed(self):
        for name, why in (("snp/bad_vcek_invalid_legacy.der", "certificate signature failure"),
                          ("intel-synthetic-sgx/pckCert.pem", "self-signed certificate in certificate chain")):
            code, answer = appraise(os.path.join(DATA, name), JUNE)
            self.assertEqual((code, answer["verdict"], answer["signature"]), (4, "refused", "invalid"))
            self.assertEqual(checks(answer, "refused"), {"key_chain": "no chain from the certificate to a trusted root: " + why})

    def test_a_changed_certificate(self):
        lines = self.pck().split(b"\n")
        lines[8] = lines[8][:30] + (b"A" if lines[8][30:31] != b"A" else b"B") + lines[8][31:]
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(b"\n".join(lines))
            file.flush()
            result = verify(file.name, "--endorsements", DATA, "--time", JUNE)
            self.assertNotEqual(result.returncode, 0)


@unittest.skipUnless(os.path.isdir(DATA), "third-party data not found at %s: set CARREL_DATA" % DATA)
class TpmQuotes(unittest.TestCase):
    """Of virtual TPMs whose key a confidential VM's hardware vouches for."""

    # file, hardware, state of its platform
    GENUINE = [
        ("tpm/az-snp_tpm_quote.json", "snp", "Unknown"),
        ("tpm/az-tdx_evidence_v0.json", "tdx", "OutOfDate"),
        ("snp/azure_evidence_v0_milan.json", "snp", "Unknown"),
    ]

    def pcrs(self, name):
        with open(os.path.join(DATA, name)) as file:
            content = json.load(file)
        quote = content.get("tpm_quote") or content.get("quote") or content
        return [value if isinstance(value, str) else bytes(value).hex() for value in quote["pcrs"]]

    def test_genuine_quotes(self):
        for name, hardware, status in self.GENUINE:
            with self.subTest(name), tempfile.NamedTemporaryFile("w", suffix=".yaml") as policy:
                path, pcrs = os.path.join(DATA, name), self.pcrs(name)
                code, answer = appraise(path, JUNE, "--type", "tpm")
                claims = answer["claims"]
                self.assertEqual((answer["signature"], answer["tcb_status"], claims["hardware"]), ("valid", status, hardware))
                self.assertEqual(bytes.fromhex(claims["extra_data"]), b"challenge")
                self.assertEqual([claims["pcr%d" % i] for i in range(24)], pcrs)
                self.assertEqual(code, 0 if hardware == "snp" else 4)
                lines = {"allow_tcb_status": [status], "allow_missing_crl": True, "allow_unknown_program": True,
                         "report_data": b"challenge".hex(), "tpm": {"pcrs": [{"index": 4, "values": [pcrs[4]]}]}}
                json.dump(lines, policy)
                policy.flush()
                code, answer = appraise(path, JUNE, "--type", "tpm", "--policy", policy.name)
                self.assertEqual((code, answer["verdict"]), (0, "affirmed"), answer["checks"])
                lines["tpm"]["pcrs"][0]["values"] = [pcrs[5]]
                lines["report_data"] = b"another".hex()
                policy.seek(0)
                policy.truncate()
                json.dump(lines, policy)
                policy.flush()
                code, answer = appraise(path, JUNE, "--type", "tpm", "--policy", policy.name)
                self.assertEqual((code, set(checks(answer, "refused"))), (4, {"pcr4", "report_data"}))

    def test_changed_quotes(self):
        with open(os.path.join(DATA, "tpm/az-snp_tpm_quote.json")) as file:
            quote = json.load(file)
        for member, check in ("message", "quote_signature"), ("signature", "quote_signature"), ("pcrs", "pcr_digest"):
            changed = dict(quote)
            if member == "pcrs":
                changed["pcrs"] = [quote["pcrs"][1]] + quote["pcrs"][1:]
            else:
                changed[member] = quote[member][:-2] + "%02x" % (int(quote[member][-2:], 16) ^ 1)
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(changed, file)
                file.flush()
                code, answer = appraise(file.name, JUNE)
                self.assertEqual((code, answer["signature"]), (4, "invalid"))
                self.assertIn(check, checks(answer, "refused"))

    def test_a_key_that_nobody_vouches_for(self):
        result = verify(os.path.join(DATA, "tpm/az-snp_tpm_quote.json"), "--json")
        answer = json.loads(result.stdout)
        self.assertEqual((result.returncode, answer["signature"]), (4, "invalid"))
        self.assertIn("no attestation key of the endorsements", checks(answer, "refused")["quote_signature"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
