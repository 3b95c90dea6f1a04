#!/usr/bin/env python3
"""Holds src/ against the table of layers (docs/ARCHITECTURE.md): a layer includes and links what its row names and
what those may include, nothing else; and a library from outside is called in one layer only."""
import pathlib
import re
import sys

# What each layer may use; what those may use is added below.
MAY_USE = {
    "base": [],
    "crypto": ["base"],
    "tensor": ["base"],
    "format": ["base"],
    "text": ["format"],
    "model": ["field", "format"],
    "tuning": ["model", "text", "crypto", "slicing"],
    "field": ["tensor"],
    "slicing": ["field", "model", "crypto"],
    "accelerator": ["field", "model", "crypto"],
    "attestation": ["crypto", "format"],
    "channel": ["attestation"],
    "federation": ["tuning", "channel"],
    "enclave": ["federation"],
    "report": ["format"],
    "cli": ["federation", "report", "attestation"],
}

# Headers of libraries, as patterns, and the layers that may include them.
HEADERS = {
    r"openssl/(ssl|err|x509_vfy)\.h": {"crypto", "channel"},  # what using libssl takes
    r"openssl/.*": {"crypto"},
    r"event2/.*": {"channel"},
    r"protobuf-c/.*": {"channel"},
    r"tss2/.*": {"attestation"},
    r"jansson\.h": {"format"},
    r"yaml\.h": {"format"},
    r"pcre2\.h": {"text"},
    r"utf8proc\.h": {"text"},
}

# Libraries by the names that CMake or pkg-config gives them, and the layers that may link them.
LIBRARIES = {
    "OpenSSL::Crypto": {"crypto", "channel"},
    "OpenSSL::SSL": {"crypto", "channel"},
    "libevent_core": {"channel"},
    "libprotobuf-c": {"channel"},
    "jansson": {"format"},
    "yaml-0.1": {"format"},
    "libpcre2-8": {"text"},
    "libutf8proc": {"text"},
    "Threads::Threads": {"base"},
    "m": set(MAY_USE),
}


def closure(layers):
    """The layers and all that they may use."""
    found = set()
    todo = list(layers)
    while todo:
        layer = todo.pop()
        if layer not in found:
            found.add(layer)
            todo += MAY_USE.get(layer, [])
    return found


def includes(text):
    """(line number, is quoted, path) of every #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match[1] == '"', match[2]


def check_include(layer, quoted, path, own_files):
    """What is wrong with one #include in a file of `layer`, or None."""
    if quoted:
        folder = path.split("/")[0] if "/" in path else layer
        if "/" not in path:
            generated = path.endswith(".pb-c.h")
            return None if generated or path in own_files else f'"{path}" is not a file of {layer}/'
        if folder not in MAY_USE:
            return f'"{path}" is in no layer'
        return None if folder in closure([layer]) else f"{layer} may not use {folder}"
    for pattern, layers in HEADERS.items():
        if re.fullmatch(pattern, path):
            return None if layer in layers else f"<{path}> is for {', '.join(sorted(layers))} alone"
    return None


def links(text):
    """The layers and libraries that a layer's CMakeLists.txt names in carrel_layer()."""
    text = re.sub(r"#.*", "", text)
    call = re.search(r"carrel_layer\s*\(([^)]*)\)", text)
    if not call:
        return None
    packages = dict(re.findall(r"pkg_check_modules\s*\((\w+) REQUIRED IMPORTED_TARGET ([\w.-]+)\)", text))
    layers, libraries, files = [], [], []
    target = None
    for word in call[1].split()[1:]:
        if word in ("LAYERS", "LIBRARIES", "EXCEPT"):
            target = {"LAYERS": layers, "LIBRARIES": libraries, "EXCEPT": files}[word]
        else:
            target.append(packages.get(word.removeprefix("PkgConfig::"), word))
    return layers, libraries


def check_links(layer, text, included):
    """What is wrong with a CMakeLists.txt, given the layers that its files include."""
    found = links(text)
    if found is None:
        return [f"src/{layer}/CMakeLists.txt: no carrel_layer()"]
    layers, libraries = found
    wrong = [f"{layer} may not link {other}" for other in layers if other not in closure([layer])]
    wrong += [f"{layer} may not link the library {library}" for library in libraries
              if layer not in LIBRARIES.get(library, set())]
    wrong += [f"{layer} includes {other} but does not link it" for other in sorted(included - closure(layers) - {layer})]
    return [f"src/{layer}/CMakeLists.txt: {sentence}" for sentence in wrong]


def check_tree(source):
    """Everything that is wrong in a src/ folder."""
    wrong = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        layer = folder.name
        if layer not in MAY_USE:
            wrong.append(f"src/{layer}: not in the table of layers")
            continue
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".inc"))
        own_files = {path.name for path in files}
        included = set()
        for path in files:
            for number, quoted, name in includes(path.read_text()):
                sentence = check_include(layer, quoted, name, own_files)
                if sentence:
                    wrong.append(f"src/{path.relative_to(source)}:{number}: {sentence}")
                if quoted and "/" in name and path.name != "main.c":
                    included.add(name.split("/")[0])
        cmake = folder / "CMakeLists.txt"
        if cmake.exists():
            wrong += check_links(layer, cmake.read_text(), included & set(MAY_USE))
    return wrong


def check_self():
    """This check can fail: each kind of offence is found."""
    assert check_include("base", True, "crypto/hash.h", set()) == "base may not use crypto"
    assert check_include("text", True, "base/bytes.h", set()) is None
    assert check_include("text", True, "nowhere/x.h", set())
    assert check_include("text", True, "x.h", set()) and not check_include("text", True, "x.h", {"x.h"})
    assert check_include("model", False, "openssl/evp.h", set())
    assert check_include("channel", False, "openssl/evp.h", set()) and not check_include("channel", False, "openssl/ssl.h", set())
    assert check_include("federation", False, "event2/event.h", set())
    assert check_links("text", "carrel_layer(text LAYERS tensor format base)", set())
    assert check_links("text", "carrel_layer(text LAYERS format LIBRARIES OpenSSL::Crypto)", set())
    assert check_links("tuning", "carrel_layer(tuning LAYERS model)", {"crypto"})
    assert not check_links("tuning", "carrel_layer(tuning LAYERS model crypto LIBRARIES m)", {"crypto", "base"})
    assert not check_links("tuning", "carrel_layer(tuning LAYERS model EXCEPT other.c ${another})", set())


if __name__ == "__main__":
    check_self()
    faults = check_tree(pathlib.Path(__file__).resolve().parent.parent / "src")
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)
