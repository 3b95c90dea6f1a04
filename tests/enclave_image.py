#!/usr/bin/env python3
"""tests/enclave_image.py PROGRAM: holds build/bin/tee/carrel-enclave, the program as a TEE measures it, against the
lists kept here: its libraries, and in enclave_symbols.txt what it takes from them. Says how large it is."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SYMBOLS = os.path.join(ROOT, "tests", "enclave_symbols.txt")

# A library is one more thing to trust: adding one is a decision, made here.
LIBRARIES = {
    "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2",  # the platform
    "libcrypto.so.3", "libssl.so.3",  # crypto/, channel/
    "libevent_core-2.1.so.7", "libprotobuf-c.so.1",  # channel/
    "libjansson.so.4", "libyaml-0.so.2",  # format/
    "libpcre2-8.so.0", "libutf8proc.so.2", "libutf8proc.so.3",  # text/, of Debian 12 and of later ones
}

# What starts programs, loads code, reads the host's environment or resolves names behind our back has no place in it, and
# none in that list.
FORBIDDEN = {"system", "popen", "execv", "execve", "execvp", "execl", "fork", "vfork", "posix_spawn", "posix_spawnp", "dlopen",
             "dlsym", "getenv", "secure_getenv", "gets", "tmpnam", "mktemp", "rand", "srand", "random"}

# Objects that prove nothing, or speak to what is the host's, and what stands in their place.
ABSENT = {"development_make.c", "sealing_development_make.c", "tpm_attest.c", "tpm_device.c", "tpm_seal.c"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries(program):
    """Those that it names itself."""
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", program)))


def symbols(program):
    """The names of others that it is linked to, without their versions; those that are there or not (weak) left out. What
    C23 changed has a name of its own since glibc 2.38."""
    lines = output("nm", "-D", "--undefined-only", program).splitlines()
    return {line.split()[-1].split("@")[0].removeprefix("__isoc23_") for line in lines if line.split()[0] != "w"}


def listed():
    with open(SYMBOLS) as file:
        return {line.strip() for line in file if line.strip() and not line.startswith("#")}


def compiled(program):
    """Our files of which code is in it, as its debugging information says."""
    units = output("readelf", "--debug-dump=info", "--dwarf-depth=1", program)
    return set(re.findall(r"DW_AT_name +: .*?\bsrc/([a-z]+/\w+\.c)$", units, re.M))


def with_headers(files):
    """The files and all of ours that they include."""
    found, todo = set(), list(files)
    while todo:
        name = todo.pop()
        path = os.path.join(ROOT, "src", name)
        if name in found or not os.path.exists(path):  # one that was generated
            continue
        found.add(name)
        with open(path) as file:
            for include in re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read(), re.M):
                todo.append(include if "/" in include else os.path.join(os.path.dirname(name), include))
    return found


def faults(program):
    """Everything that is wrong with it."""
    wrong = [f"{name}: no library of the list (tests/enclave_image.py)" for name in sorted(libraries(program) - LIBRARIES)]
    allowed = listed()
    wrong += [f"{name}: forbidden" for name in sorted((symbols(program) | allowed) & FORBIDDEN)]
    wrong += [f"{name}: not in tests/enclave_symbols.txt" for name in sorted(symbols(program) - allowed)]
    units = {os.path.basename(name) for name in compiled(program)}
    wrong += [f"{name}: has no place in what a TEE measures" for name in sorted(units & ABSENT)]
    if "main.c" not in units:
        wrong.append("no debugging information says what it is made of")
    return wrong


def report(program):
    files = with_headers(compiled(program))
    lines = 0
    for name in files:
        with open(os.path.join(ROOT, "src", name)) as file:
            lines += sum(1 for _ in file)
    text, data = output("size", program).splitlines()[1].split()[:2]
    return (f"carrel-enclave: {int(text) / 1024:,.0f} KiB of code and constants, {int(data) / 1024:,.0f} KiB of data; "
            f"{lines:,} lines in {len(files)} files of our own; {len(libraries(program))} libraries, "
            f"{len(symbols(program))} names taken from them")


if __name__ == "__main__":
    found = faults(sys.argv[1])
    for fault in found:
        print(fault)
    print(report(sys.argv[1]))
    sys.exit(1 if found else 0)
