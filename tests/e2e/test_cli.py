"""The person's program: what scripts rely on. Exit codes, one clear sentence per error, stdout and --json."""
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from support import BIN, CARREL, program, read_tensors, write_rows, write_tensors

DATA = os.environ.get("CARREL_DATA", "../shared/data")
STORIES = os.path.join(DATA, "models/stories260K")
DEMO = "examples/demo/model"


def carrel(*arguments):
    """Its output is bytes: what is said of bad names and of texts that are not UTF-8 is looked at as it is."""
    return program(*arguments, text=False)


def tune_config(folder):
    path = os.path.join(folder, "tune.yaml")
    with open(os.path.join(folder, "rows.jsonl"), "w") as rows:
        rows.write('{"text": "After lunch"}\n')
    with open(path, "w") as config:
        json.dump({"model_name_or_path": DEMO, "output_dir": os.path.join(folder, "out"),
                   "data": {"train": rows.name, "max_length": 32}, "training": {"max_steps": 2}}, config)
    return path


class Commands(unittest.TestCase):
    def fails(self, code, sentence, *arguments):
        result = carrel(*arguments)
        said = result.stderr.decode().splitlines(keepends=True)
        of_its_start = ("hardened: ", "warning: this build has a sanitizer", "warning: this processor has no bfloat16 products")
        error = "".join(line for line in said if not line.startswith(of_its_start))
        self.assertEqual(result.returncode, code, error)
        self.assertIn(sentence, error)
        self.assertEqual(len(error.strip().split("\n")), 1, error)
        self.assertTrue(error.startswith("carrel: "), error)
        self.assertEqual(result.stdout, b"")

    def test_help_and_version(self):
        listed = carrel("--help").stdout.decode()
        for command in "init preflight tune serve join simulate status logs invite eval generate tokenizer merge inspect attest verify bench".split():
            self.assertIn("\n  %s " % command, listed)
            result = carrel(command, "--help")
            self.assertLessEqual(max(map(len, result.stdout.decode().splitlines())), 80, command)
            self.assertEqual(result.returncode, 0, (command, result.stderr))
            self.assertTrue(result.stdout.startswith(b"usage: carrel"), (command, result.stdout))
        for command in "job tokenizer".split():
            self.assertEqual(carrel(command, "-h").stdout, carrel(command, "--help").stdout)
        self.assertRegex(carrel("--version").stdout.decode(), r"^carrel \d+\.\d+\.\d+\n$")

    def test_errors_are_one_sentence(self):
        self.fails(2, "which command?")
        self.fails(2, "did you mean tune?", "tnue")
        self.fails(2, "did you mean --model?", "eval", "--modle", "x")
        self.fails(2, "--model DIR is missing", "eval", "--data", "x")
        self.fails(3, "/nonexistent/config.json", "eval", "--model", "/nonexistent", "--data", "x")
        self.fails(2, "neither bfloat16 nor float32", "eval", "--model", DEMO, "--data", "x", "--dtype", "int3")
        self.fails(3, "/nonexistent.jsonl", "eval", "--model", DEMO, "--data", "/nonexistent.jsonl")
        self.fails(2, "context", "generate", "--model", DEMO, "--prompt", "x", "--max-new-tokens", "100000")
        self.fails(2, "with --max-new-tokens 256 more than the model's context of 256", "generate", "--model", DEMO, "--prompt", "x",
                   "--max-new-tokens", "256")
        self.fails(2, "--system is for --chat-template", "generate", "--model", DEMO, "--prompt", "x", "--system", "y")
        self.fails(2, "--max-length: 100000: the model's context", "eval", "--model", DEMO, "--data", "x", "--max-length", "100000")
        self.fails(2, "threads: 99999: at most 1024", "generate", "--model", DEMO, "--prompt", "x", "--threads", "99999")
        self.fails(2, "--prompt: text is not UTF-8 at byte 1", "generate", "--model", DEMO, "--prompt", b"a\xff")
        self.fails(2, "no benchmark is called", "bench", "--only", "tune-stop")
        self.fails(2, '"1w" is no duration: 30s, 90m, 24h or 7d are', "invite", "anne", "--config", "x", "--expires", "1w")
        self.fails(3, "/nonexistent.yaml", "tune", "/nonexistent.yaml")
        with tempfile.TemporaryDirectory() as folder:
            self.fails(3, "/tokenizer.json: not there (in Python, ", "tokenizer", "encode", "--tokenizer", folder)
            config = tune_config(folder)
            self.fails(2, "--set: data: a group of settings", "tune", config, "--set", "data=1")
            self.fails(2, "--set: \"=1\" is not KEY=VALUE", "tune", config, "--set", "=1")
            self.fails(2, "--set: output_dir: \"..\" does not end", "tune", config, "--set", "output_dir=..")
            self.fails(2, "--set: prefix_tuning.num_virtual_tokens: only with method: prefix_tuning", "tune", config,
                       "--set", "prefix_tuning.num_virtual_tokens=3")
            self.fails(2, "training.num_train_epochs: 0, and max_steps is 0 too", "tune", config, "--set",
                       "training.max_steps=0", "--set", "training.num_train_epochs=0")

    def test_names_from_elsewhere_move_no_terminal(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.safetensors")
            header = json.dumps({"w\x1b[2J": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
            with open(path, "wb") as file:
                file.write(struct.pack("<Q", len(header)) + header + bytes(4))
            self.assertIn(b"F32  w?[2J [1]\n", carrel("inspect", path).stdout)
            self.assertEqual(json.loads(carrel("inspect", path, "--json").stdout)["entries"][0]["name"], "w\x1b[2J")

    def test_errors_move_no_terminal(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.yaml")
            with open(path, "w") as file:
                file.write('"lo\\e[2Jra": 1\n')
            failed = carrel("tune", path)
            self.assertEqual(failed.returncode, 2)
            self.assertIn(b"lo?[2Jra", failed.stderr)
            self.assertIn(b"lo?[2Jra", carrel("preflight", path).stdout)
            failed = subprocess.run([os.path.join(BIN, "carrel-enclave"), "tune", path], capture_output=True)
            self.assertIn(b"lo?[2Jra", failed.stderr)
            failed = subprocess.run([os.path.join(BIN, "carrel-accelerator"), "--listen", "unix:" + folder + "/s", "--model",
                                     folder + "/\x1b[2J"], capture_output=True)
            self.assertIn(b"/?[2J/", failed.stderr)
            for shown in (failed.stderr, carrel("preflight", path).stdout):
                self.assertNotIn(b"\x1b", shown)

    def test_paths_that_are_no_text(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.fsencode(folder) + b"/\xff.yaml"
            result = carrel("preflight", path, "--json")
            self.assertEqual(result.returncode, 2)
            self.assertIn("/?.yaml: ", json.loads(result.stdout.splitlines()[0])["detail"])

    def test_benchmarks_say_what_they_measured(self):
        command = ["bench", "--only", "encode,masked-product", "--repeats", "1", "--threads", "1"]
        found = json.loads(carrel(*command, "--json").stdout)
        self.assertEqual(found["threads"], 1)
        self.assertEqual([(row["name"], row["unit"]) for row in found["rows"]], [("masked-product", "GFLOP/s"), ("encode", "MB/s")])
        masked, encode = found["rows"]
        self.assertAlmostEqual(masked["ratio"], masked["figure"] / masked["limit"], delta=1e-3 * masked["ratio"])
        self.assertGreater(encode["figure"], 0)
        self.assertNotIn("limit", encode)
        lines = carrel(*command).stdout.decode().splitlines()
        self.assertRegex(lines[0], r"\Amasked-product +[0-9.]+ GFLOP/s +limit +[0-9.]+  ratio [0-9.]+  \(512 x 2048 x 1024 ")
        self.assertRegex(lines[1], r"\Aencode +[0-9.]+ MB/s +\(byte-level BPE, one thread\)\Z")

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([CARREL, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"No space left", result.stderr)

    def test_closed_streams_are_no_files(self):
        """A file that is opened where standard output or error was closed would get what is said there."""
        with tempfile.TemporaryDirectory() as folder:
            config = tune_config(folder)
            for closed, code, more in (("", 0, []), ("2>&-", 0, []), ("<&- >&- 2>&-", 0, []), (">&-", 3, ["--json"])):
                shutil.rmtree(os.path.join(folder, "out.run"), ignore_errors=True)
                command = ["bash", "-c", "exec \"$@\" " + closed, "-", CARREL, "tune", config, *more]
                self.assertEqual(subprocess.run(command, capture_output=True).returncode, code, closed)
                self.assertEqual(os.path.getsize(os.path.join(folder, "out.run", "lock")), 0, closed)
                with open(os.path.join(folder, "out.run", "events.jsonl")) as file:
                    for line in file:
                        json.loads(line)

    def test_full_disk_under_progress(self):
        """What is lost is a log, not the work."""
        with tempfile.TemporaryDirectory() as folder, open("/dev/full", "wb") as full:
            command = [CARREL, "tune", tune_config(folder)]
            self.assertEqual(subprocess.run(command, stderr=full).returncode, 0)
            self.assertEqual(subprocess.run([*command, "--json"], stdout=full).returncode, 0)
            command[0] += "-enclave"  # by itself
            self.assertEqual(subprocess.run(command, stderr=full).returncode, 0)
            self.assertEqual(subprocess.run([*command, "--json"], stdout=full).returncode, 0)
            self.assertTrue(os.path.exists(os.path.join(folder, "out", "adapter_model.safetensors")))

    def test_file_size_limit(self):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run(["bash", "-c", "ulimit -f 1; exec \"$@\"", "-", CARREL, "tune",
                                     tune_config(folder)], capture_output=True)
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn(b"adapter_model.safetensors: cannot be written: File too large", result.stderr)
            self.assertEqual(os.listdir(os.path.join(folder, "out")), [])

    def test_too_few_open_files_are_told(self):
        with tempfile.TemporaryDirectory() as folder:
            config, codes = tune_config(folder), []
            for limit in range(8, 40):
                result = subprocess.run(["bash", "-c", 'ulimit -n "$1"; shift; exec "$@"', "-", str(limit), CARREL, "tune", config],
                                        capture_output=True, stdin=subprocess.DEVNULL)
                codes.append(result.returncode)
                if result.returncode == 0:
                    break
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertTrue(result.stderr.endswith(b": Too many open files\n"), result.stderr)
            self.assertEqual(codes[-1], 0)

    def test_a_place_that_nobody_can_look_into_is_not_taken_for_full(self):
        with tempfile.TemporaryDirectory() as folder:
            config, loop = tune_config(folder), folder + "/loop"
            os.symlink("loop", loop)
            why = ": Too many levels of symbolic links"
            self.fails(3, loop + "/config.json" + why, "generate", "--model", loop, "--prompt", "a")
            self.fails(3, loop + "/config.json" + why, "tune", config, "--set", "output_dir=" + loop)
            self.fails(3, loop + "/a.yaml" + why, "init", loop, "--output", loop + "/a.yaml")
            self.fails(3, loop + "/a.cbor" + why, "job", "make", config, "--output", loop + "/a.cbor")
            for output, weights in ((loop + "/t", "/t/"), (loop, "/"), (loop + "/tokenizer.json", "/")):
                self.fails(3, loop + weights + "model.safetensors" + why, "tokenizer", "train", "--vocab-size", "300", "--output",
                           output, config)

    def test_a_directory_of_another_user_is_no_run(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0)
            without = ["setpriv", "--bounding-set", "-all"] if os.geteuid() == 0 else []  # what root may besides
            result = subprocess.run([*without, CARREL, "inspect", folder], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stdout, result.stderr),
                             (3, "", "carrel: %s/adapter_config.json: Permission denied\n" % folder))
            os.chmod(folder, 0o700)

    def test_keys_made_at_once_are_one(self):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(8):
                command = [CARREL, "key", "%s/%d" % (folder, number)]
                running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
                self.assertEqual(len({process.communicate()[0] for process in running}), 1)

    def test_places_of_results_are_tried_before_the_work(self):
        with tempfile.TemporaryDirectory() as folder:
            config = tune_config(folder)
            self.fails(3, "output_dir: %s: there is a file" % config, "tune", config, "--set", "output_dir=" + config)
            self.fails(3, "output_dir: %s: there is a file" % config, "serve", config, "--set", "output_dir=" + config)
            self.fails(2, "output_dir: \"/\" does not end in a name", "tune", config, "--set", "output_dir=/")
            self.assertFalse(os.path.exists("/.run"))
            self.fails(3, "data.eval: none.jsonl: No such file", "tune", config, "--set", "data.eval=none.jsonl")

    def test_a_result_spoils_no_other(self):
        with tempfile.TemporaryDirectory() as folder:
            config, output, model = tune_config(folder), os.path.join(folder, "out"), os.path.join(folder, "model")
            shutil.copytree(DEMO, model)
            with open(os.path.join(model, "model.safetensors"), "rb") as file:
                weights = file.read()
            onto = ["--set", "model_name_or_path=" + model, "--set", "output_dir=" + model + "/"]
            for command in "tune", "serve":
                for method in "full", "lora":
                    self.fails(2, "output_dir: %s: is the base model itself" % model, command, config, *onto, "--set",
                               "method=" + method)
            with open(os.path.join(model, "model.safetensors"), "rb") as file:
                self.assertEqual(file.read(), weights)
            self.assertEqual(sorted(os.listdir(model)), sorted(os.listdir(DEMO)))
            self.assertEqual(carrel("tune", config).returncode, 0)
            self.fails(2, "output_dir: %s: holds an adapter already" % output, "tune", config, "--set", "method=full")
            self.assertEqual(carrel("tune", config, "--set", "method=prefix_tuning").returncode, 0)  # an adapter for another
            shutil.copytree(DEMO, os.path.join(folder, "other"))
            self.fails(2, "other: holds a model already", "tune", config, "--set", "output_dir=" + os.path.join(folder, "other"))

    def test_held_out_data_is_read_before_the_work(self):
        with tempfile.TemporaryDirectory() as folder:
            config, held_out = tune_config(folder), os.path.join(folder, "eval.jsonl")
            for text, why in (("", "the file is empty"), ("{", "eval.jsonl:1"), ('{"text": 3}\n', "must be a string"),
                              ('{"text": ""}\n', "no row is of use")):
                with open(held_out, "w") as file:
                    file.write(text)
                self.fails(2, "data.eval: " + held_out, "tune", config, "--set", "data.eval=" + held_out)
                self.fails(2, why, "tune", config, "--set", "data.eval=" + held_out)
            self.assertEqual(os.listdir(os.path.join(folder, "out")), [])
            with open(config) as file:
                settings = json.load(file)
            settings["silos"] = [{"name": "ann", "data": os.path.join(folder, "rows.jsonl"), "eval": held_out}]
            settings["federation"] = {"state_dir": os.path.join(folder, "server")}
            with open(config, "w") as file:
                json.dump(settings, file)
            self.fails(2, "silo ann: eval: " + held_out, "simulate", config)
            self.assertFalse(os.path.exists(os.path.join(folder, "server")))

    def test_tokens_beyond_the_model_are_found_before_the_work(self):
        with tempfile.TemporaryDirectory() as folder:
            config, model = tune_config(folder), os.path.join(folder, "model")
            good, beyond = os.path.join(folder, "rows.jsonl"), os.path.join(folder, "beyond.jsonl")
            shutil.copytree(DEMO, model)
            with open(os.path.join(model, "tokenizer.json")) as file:
                tokenizer = json.load(file)
            tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 1024, "content": "<zebra>"})
            with open(os.path.join(model, "tokenizer.json"), "w") as file:
                json.dump(tokenizer, file)
            with open(beyond, "w") as file:
                file.write('{"text": "After lunch"}\n' * 40 + '{"text": "a <zebra> came"}\n')
            sentence = beyond + ":41: token 1024 of the tokenizer's 1025 is outside the model's vocabulary of 1024"
            command = ["tune", config, "--set", "model_name_or_path=" + model, "--set"]
            self.fails(2, sentence, *command, "data.train=" + beyond)
            self.fails(2, sentence, *command, "data.train=" + beyond, "--set", "data.max_bad_rows=9")  # the row is not bad
            self.fails(2, "data.eval: " + sentence, *command, "data.eval=" + beyond)
            self.fails(2, sentence, "eval", "--model", model, "--data", beyond)
            self.assertIn(sentence, carrel("preflight", config, *command[2:], "data.train=" + beyond).stdout.decode())
            self.assertIn(sentence, carrel("preflight", config, *command[2:], "data.eval=" + beyond).stdout.decode())
            with open(config) as file:
                settings = json.load(file)
            settings.update(model_name_or_path=model, silos=[{"name": "ann", "data": good, "eval": beyond}],
                            federation={"state_dir": os.path.join(folder, "server")})
            with open(os.path.join(folder, "federation.yaml"), "w") as file:
                json.dump(settings, file)
            self.fails(2, "silo ann: eval: " + sentence, "simulate", file.name)
            done = carrel(*command, "data.eval=" + good)  # a token that no row has harms nobody
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_dropout_of_the_base_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            config, model = tune_config(folder), os.path.join(folder, "model")
            for base, changes, told in (
                    ("tests/golden/lora-gpt2/model", {}, []),  # 0, all three
                    ("tests/golden/lora-gpt2/model", {"attn_pdrop": None, "resid_pdrop": 0.25}, ["attn_pdrop 0.1, resid_pdrop 0.25"]),
                    (DEMO, {}, []), (DEMO, {"attention_dropout": 0.2, "attn_pdrop": 0.1}, ["attention_dropout 0.2"])):
                shutil.copytree(base, model)
                with open(os.path.join(model, "config.json")) as file:
                    shape = json.load(file)
                with open(os.path.join(model, "config.json"), "w") as file:
                    json.dump({key: value for key, value in {**shape, **changes}.items() if value is not None}, file)
                done = carrel("tune", config, "--json", "--restart", "--set", "model_name_or_path=" + model)
                self.assertEqual(done.returncode, 0, done.stderr)
                events = [json.loads(line) for line in done.stdout.splitlines()]
                warnings = [event for event in events if event["event"] == "train.warning" and "dropouts" in event]
                self.assertEqual([event["dropouts"] for event in warnings], told)
                for event in warnings:
                    self.assertIn("has dropout (%s), which Transformers applies" % event["dropouts"], event["message"])
                shutil.rmtree(model)

    def test_a_template_of_the_model_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            config, model = tune_config(folder), os.path.join(folder, "model")
            shutil.copytree(DEMO, model)
            with open(os.path.join(model, "tokenizer.json")) as file:
                tokenizer = json.load(file)
            last = "".join(tokenizer["model"]["merges"].pop()).replace(" ", "")
            tokenizer["model"]["vocab"]["<|im_start|>"] = number = tokenizer["model"]["vocab"].pop(last)
            tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": number, "content": "<|im_start|>"})
            with open(os.path.join(model, "tokenizer.json"), "w") as file:
                json.dump(tokenizer, file)
            with open(os.path.join(folder, "chats.jsonl"), "w") as file:
                file.write('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
            command = ["tune", config, "--json", "--restart", "--set", "model_name_or_path=" + model, "--set"]

            def told(*more):
                done = carrel(*command, *more)
                self.assertEqual(done.returncode, 0, done.stderr)
                events = [json.loads(line) for line in done.stdout.splitlines()]
                return [event["message"] for event in events if event["event"] == "train.warning" and "template" in event]

            self.assertEqual(told("data.train=" + file.name), [])  # it has none
            with open(os.path.join(model, "chat_template.jinja"), "w") as template:
                template.write("{{ messages }}")
            message, = told("data.train=" + file.name)
            self.assertIn("template of its own, which is not read: messages become text as chatml has them", message)
            self.assertEqual(told("data.train=" + file.name, "--set", "data.chat_template=chatml"), [])
            self.assertEqual(told("data.max_length=16"), [])  # rows of text
            os.remove(template.name)
            with open(os.path.join(model, "tokenizer_config.json")) as file_of_names:
                names = json.load(file_of_names)
            with open(os.path.join(model, "tokenizer_config.json"), "w") as file_of_names:
                json.dump({**names, "chat_template": "{{ messages }}"}, file_of_names)
            self.assertEqual(told("data.train=" + file.name), [message])

    def test_eval_counts_what_it_passes_over(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = os.path.join(folder, "held.jsonl")
            with open(rows, "w") as file:
                file.write('{"text": "After lunch"}\n{"text": 3}\n{"text": ""}\n{"text": "the doctor wrote"}\n')
            command = ["eval", "--model", DEMO, "--data", rows]
            self.fails(2, rows + ":2", *command)
            done = carrel(*command, "--max-bad-rows", "1", "--json")
            found = json.loads(done.stdout)
            self.assertEqual((found["examples"], found["bad_rows"], found["skipped"]), (2, 1, 1))
            warnings = done.stderr.decode().splitlines()
            self.assertEqual(len(warnings), 2)
            self.assertIn("1 row of the data has no labelled token and is left out", warnings[0])
            self.assertIn("1 bad row of the data is left out; the first: %s:2" % rows, warnings[1])
            config = tune_config(folder)
            tuned = carrel("tune", config, "--json", "--set", "data.eval=" + rows, "--set", "data.max_bad_rows=1")
            told = [json.loads(line) for line in tuned.stdout.splitlines()]
            self.assertIn(1, [event.get("bad_rows") for event in told if event["event"] == "train.warning"], tuned.stderr)

    def test_eval_scores_answers(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-B", "examples/demo/make_data.py", "federation", folder], check=True)
            command = ["eval", "--model", DEMO, "--dtype", "float32", "--data", os.path.join(folder, "eval.jsonl"),
                       "--limit", "150", "--generate", "--max-new-tokens", "24"]
            found = json.loads(carrel(*command, "--json").stdout)
            # What is likeliest label by label is what the model writes.
            self.assertEqual(found["answers_exact"], found["exact_match"])
            self.assertGreater(found["answers_exact"], 0)
            self.assertEqual(found["answers"], 150)
            self.assertLess(found["rouge_l"], 1)
            self.assertGreater(found["rouge_l"], found["answers_exact"])
            self.assertGreater(found["bleu"], 100 * found["answers_exact"])
            self.assertLess(found["bleu"], 100)
            words = carrel(*command).stdout.decode()
            self.assertIn("150 answers: BLEU %.2f, ROUGE-L %.2f" % (found["bleu"], 100 * found["rouge_l"]), words)
            self.assertIn("over {:,} tokens\n".format(found["tokens"]), words)
            self.assertIn("\naccuracy %.2f %% of tokens; %.2f %% of 150 " % (100 * found["accuracy"], 100 * found["exact_match"]), words)
            rows = os.path.join(folder, "rows.jsonl")
            with open(rows, "w") as file:
                file.write('{"text": "After lunch"}\n')
            command = ["eval", "--model", DEMO, "--generate", "--data"]
            self.fails(2, rows + ": example 1 is labelled from its beginning: there is nothing to answer", *command, rows)
            self.fails(2, "--generate is not for a .tsv", *command, "rows.tsv")
            self.fails(2, "neither 13a nor zh", *command, rows, "--bleu-tokenize", "intl")
            self.fails(2, "--max-new-tokens: 0", *command, rows, "--max-new-tokens", "0")
            command.remove("--generate")
            self.fails(2, "are for --generate", *command, rows, "--max-new-tokens", "4")

    def tune(self, folder, rows, name, **data):
        """A model that knows these rows by heart."""
        with open(os.path.join(folder, name), "w") as file:
            file.write(rows)
        config = os.path.join(folder, "tune.yaml")
        with open(config, "w") as file:
            json.dump({"model_name_or_path": DEMO, "output_dir": os.path.join(folder, "tuned"), "dtype": "float32",
                       "data": {"train": os.path.join(folder, name), "max_length": 200, **data},
                       "method": "full", "training": {"max_steps": 60, "learning_rate": 0.002}}, file)
        done = carrel("tune", config)
        self.assertEqual(done.returncode, 0, done.stderr)
        return ["--model", os.path.join(folder, "tuned"), "--dtype", "float32"]

    def test_classification(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = "sentence\tlabel\ngood food\t1\nbad food\t0\na fine day\t1\na poor day\t0\n"
            model = self.tune(folder, rows, "rows.tsv", label_words=["terrible", "great"])
            turned = os.path.join(folder, "turned.tsv")
            with open(turned, "w") as file:
                file.write(rows.replace("\t1\n", "\tx\n").replace("\t0\n", "\t1\n").replace("\tx\n", "\t0\n"))
            words = ["--label-word", "terrible", "--label-word", "great", "--json"]
            found = json.loads(carrel("eval", *model, "--data", os.path.join(folder, "rows.tsv"), *words).stdout)
            self.assertEqual((found["examples"], found["exact_match"], found["choice_accuracy"]), (4, 1, 1))
            self.assertLess(found["loss"], 0.1)  # of the right words alone, after the prompt that was learned
            found = json.loads(carrel("eval", *model, "--data", turned, *words).stdout)
            self.assertEqual((found["examples"], found["exact_match"], found["choice_accuracy"]), (4, 0, 0))
            with open(turned, "w") as file:  # the second and the third alone
                file.write(rows.replace("bad food\t0\na fine day\t1\n", "bad food\t1\na fine day\t0\n"))
            found = json.loads(carrel("eval", *model, "--data", turned, *words).stdout)
            self.assertEqual((found["examples"], found["exact_match"], found["choice_accuracy"]), (4, 0.5, 0.5))
            # By the labels' names, in another order.
            named = ["--label-word", "1=great", "--label-word", "0=terrible", "--json"]
            found = json.loads(carrel("eval", *model, "--data", os.path.join(folder, "rows.tsv"), *named).stdout)
            self.assertEqual(found["choice_accuracy"], 1)
            self.fails(2, "rows with a label need words for the labels (--label-word)", "eval", *model, "--data", turned)
            self.fails(2, "two labels have the word \"x\" (--label-word)", "eval", *model, "--data", turned, "--label-word", "x", "--label-word", "x")
            self.fails(2, "are for a .tsv", "eval", *model, "--data", os.path.join(folder, "tune.yaml"), "--label-word", "x")
            self.fails(2, "carrel preflight counts them by data.label_words", "inspect", os.path.join(folder, "rows.tsv"),
                       "--tokenizer", DEMO)
            # With one label word there is nothing to choose from.
            self.fails(2, "is of no label word", "eval", *model, "--data", turned, "--label-word", "terrible")

    def test_generate_by_a_chat_template(self):
        with tempfile.TemporaryDirectory() as folder:
            # The same question with a system's message and without.
            talks = ((None, "after lunch", "the doctor wrote"), (None, "the rain", "stopped at four"),
                     ("be brief", "the rain", "over and over the long corridor"))
            rows = "".join(json.dumps({"messages": ([{"role": "system", "content": system}] if system else []) +
                                       [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}) + "\n"
                           for system, asked, answer in talks)
            model = self.tune(folder, rows, "rows.jsonl", chat_template="vicuna")
            for system, asked, answer in talks:
                command = ["generate", *model, "--prompt", asked, "--max-new-tokens", "40", "--temperature", "0", "--json"]
                found = json.loads(carrel(*command, "--chat-template", "vicuna", *(["--system", system] if system else [])).stdout)
                self.assertEqual((found["text"].strip(), found["finish"]), (answer, "end_of_text"))
            # Where the model says of another token that it ends a text, the template's own ends a turn nevertheless.
            with open(os.path.join(model[1], "generation_config.json"), "w") as file:
                json.dump({"eos_token_id": 5}, file)
            self.assertEqual(json.loads(carrel(*command, "--chat-template", "vicuna", "--system", system).stdout)["text"].strip(), answer)
            found = json.loads(carrel("eval", *model, "--data", os.path.join(folder, "rows.jsonl"), "--chat-template", "vicuna",
                                      "--generate", "--json").stdout)
            self.assertEqual((found["answers"], found["answers_exact"]), (3, 1))
            # The reference goes on with one word of five Chinese characters; what is missing counts in BLEU's brevity.
            longer = os.path.join(folder, "longer.jsonl")
            with open(longer, "w") as file:
                json.dump({"messages": [{"role": "system", "content": system}, {"role": "user", "content": asked},
                                        {"role": "assistant", "content": answer + " \u4f60\u597d\u4e16\u754c\u597d"}]}, file)
            command = ["eval", *model, "--data", longer, "--chat-template", "vicuna", "--generate", "--json"]
            for words, missing in ("13a", 1), ("zh", 5):
                found = json.loads(carrel(*command, "--bleu-tokenize", words).stdout)
                self.assertAlmostEqual(found["bleu"], 100 * math.exp(-missing / 6))
            self.fails(2, "--chat-template: \"vicunna\" is none of default, chatml", "generate", *model, "--prompt", "x",
                       "--chat-template", "vicunna")

    def test_weights_that_are_no_numbers(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(DEMO, folder, dirs_exist_ok=True)
            weights = os.path.join(folder, "model.safetensors")
            tensors = read_tensors(weights)
            dtype, shape, data = tensors["model.layers.0.mlp.up_proj.weight"]
            tensors["model.layers.0.mlp.up_proj.weight"] = dtype, shape, b"\xff\xff\xff\xff" + data[4:]  # NaN in every type
            write_tensors(weights, tensors)
            sentence = "is NaN or infinite: the model's model.layers.0.mlp.up_proj.weight holds such values"
            self.fails(2, "a logit " + sentence, "generate", "--model", folder, "--prompt", "x")
            self.fails(2, "tensor model.layers.0.mlp.up_proj.weight", "generate", "--model", folder, "--load-in-8bit", "--prompt", "x")
            with open(os.path.join(folder, "rows.jsonl"), "w") as rows:
                rows.write('{"text": "After lunch"}\n')
            self.fails(2, "the loss " + sentence, "eval", "--model", folder, "--data", rows.name)

    def test_generate_on_the_demo_model(self):
        command = ["generate", "--model", DEMO, "--prompt", "After lunch", "--max-new-tokens", "12"]
        first, second = carrel(*command), carrel(*command)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(first.stdout, second.stdout)
        self.assertFalse(first.stdout.endswith(b"\n"))
        whole = json.loads(carrel(*command, "--json").stdout)
        self.assertEqual(whole["text"].encode(), first.stdout)
        self.assertEqual(whole["tokens"], 12)
        one = carrel(*command, "--temperature", "1", "--seed", "3").stdout
        self.assertEqual(one, carrel(*command, "--temperature", "1", "--seed", "3").stdout)
        self.assertNotEqual(one, carrel(*command, "--temperature", "1", "--seed", "4").stdout)

    def test_generate_stops_where_the_model_says(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(DEMO, folder, dirs_exist_ok=True)
            command = ["generate", "--model", folder, "--prompt", "After lunch", "--max-new-tokens", "12", "--json"]
            free = json.loads(carrel(*command).stdout)
            self.assertEqual((free["finish"], free["tokens"]), ("length", 12))
            with open(os.path.join(folder, "text"), "w") as file:
                file.write("After lunch" + free["text"])
            ids = json.loads(carrel("tokenizer", "encode", "--tokenizer", DEMO, "--json", file.name).stdout)["ids"]
            with open(os.path.join(folder, "generation_config.json"), "w") as file:
                json.dump({"eos_token_id": [0, ids[-5]]}, file)
            held = json.loads(carrel(*command).stdout)
            self.assertEqual(held["finish"], "end_of_text")
            self.assertLess(held["tokens"], 12)
            self.assertTrue(free["text"].startswith(held["text"]))
            # Of an empty prompt there is nothing but the token that begins a text, where there is one.
            command = ["generate", "--model", folder, "--prompt", "", "--max-new-tokens", "1", "--json"]
            self.assertEqual(json.loads(carrel(*command).stdout)["prompt_tokens"], 1)
            with open(os.path.join(folder, "tokenizer.json")) as file:
                tokenizer = json.load(file)
            with open(file.name, "w") as file:
                json.dump(dict(tokenizer, post_processor=None), file)
            self.fails(2, "--prompt: empty, and the tokenizer has no token to begin a text with", *command)


@unittest.skipUnless(os.path.isdir(STORIES), "third-party data not found at %s: set CARREL_DATA" % DATA)
class Stories(unittest.TestCase):
    """A model that somebody else trained, beside what somebody else's program wrote with it."""

    def test_greedy_text_is_the_reference(self):
        with open(os.path.join(STORIES, "expected-greedy-200.txt"), "rb") as file:
            expected = file.read()
        result = carrel("generate", "--model", STORIES, "--dtype", "float32", "--prompt", "", "--max-new-tokens", "200",
                        "--temperature", "0")
        self.assertEqual(result.stdout, expected, result.stderr)

    def test_text_that_was_shown_stays(self):
        # At this temperature any token comes: byte tokens of which later ones make one character, or none. The
        # prompts' last tokens are bytes, too.
        for prompt in ("Hi", "Hi\n\n", "\U0001f999"):
            for seed in range(6):
                command = ["generate", "--model", STORIES, "--temperature", "1e300", "--max-new-tokens", "60", "--prompt",
                           prompt, "--seed", str(seed)]
                text = carrel(*command).stdout.decode()
                self.assertEqual(text, json.loads(carrel(*command, "--json").stdout)["text"])
                self.assertIn("\ufffd", text)

    def test_loss_is_the_reference(self):
        with open(os.path.join(DATA, "datasets/tinystories/tinystories_first500.json")) as file:
            stories = json.load(file)[:20]
        texts = [story if isinstance(story, str) else story.get("text", story.get("story")) for story in stories]
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as rows:
            write_rows(rows.name, texts)
            losses = {}
            for options, bound in ((("--dtype", "float32"), 0.002), (("--dtype", "bfloat16"), 0.005),
                                   (("--dtype", "float32", "--load-in-8bit"), 0.007), (("--load-in-8bit",), 0.007)):
                result = carrel("eval", "--model", STORIES, *options, "--data", rows.name, "--max-length", "512", "--json")
                found = json.loads(result.stdout)
                self.assertAlmostEqual(found["loss"], 1.334, delta=bound)
                self.assertGreater(found["tokens"], 1000)
                losses[options] = found["loss"]
            exact = losses["--dtype", "float32"]
            for options in losses:
                self.assertAlmostEqual(losses[options], exact, delta=0.005)


if __name__ == "__main__":
    unittest.main(verbosity=2)
