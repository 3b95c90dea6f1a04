"""Running carrel-enclave with some system calls alone."""
import ctypes
import json
import os
import re
import struct
import subprocess

EPERM, ENOSYS = 1, 38


def numbers():
    """System calls by name, from the kernel's header."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") as file:
        return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", file.read())}


def expand(words):
    """The system calls that systemd's names of groups stand for."""
    found = set()
    for word in words.split():
        if not word.startswith("@"):
            found.add(word)
            continue
        text = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True).stdout
        text = text.replace("\x1b[0m", "")  # systemd 255 writes that whatever it writes to
        found |= expand(" ".join(line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")))
    return found


def filter_program(names, error):
    """Lets these pass; to all others the kernel answers with that error. Names that this processor has none of count for none."""
    load, jump, answer, known = 0x20, 0x15, 0x06, numbers()
    code = [struct.pack("HBBI", load, 0, 0, 0)]  # the number
    for number in sorted(known[name] for name in names if name in known):
        code += [struct.pack("HBBI", jump, 0, 1, number), struct.pack("HBBI", answer, 0, 0, 0x7fff0000)]
    return b"".join(code + [struct.pack("HBBI", answer, 0, 0, 0x00050000 | error)])


def start(test, arguments, names=None, error=ENOSYS):
    """A process with these system calls alone (None: with all), which the test ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = filter_program(names or [], error)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(kept))

    def confine():
        if names is not None and (libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0):
            os._exit(99)

    process = subprocess.Popen([*arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=confine)
    test.addCleanup(process.communicate)
    test.addCleanup(process.kill)
    return process


def tune(test, enclave, folder, names=None, error=ENOSYS, **more):
    """The events and the adapter of a short run of the demo's model."""
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/rows.jsonl", "w") as rows:
        rows.write('{"text": "After lunch the doctor wrote"}\n' * 8)
    with open(folder + "/tune.yaml", "w") as config:
        json.dump({"model_name_or_path": os.path.abspath("examples/demo/model"), "output_dir": folder + "/out", "threads": 1,
                   "data": {"train": rows.name, "max_length": 32}, "lora": {"target_modules": ["q_proj", "down_proj"]},
                   "training": {"max_steps": 4, "logging_steps": 1}, **more}, config)
    process = start(test, [enclave, "tune", config.name], names, error)
    output, failure = process.communicate(timeout=300)
    test.assertEqual(process.returncode, 0, failure)
    with open(folder + "/out/adapter_model.safetensors", "rb") as adapter:
        return [json.loads(line) for line in output.splitlines()], adapter.read()
