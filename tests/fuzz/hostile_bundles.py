"""Damaged and hostile bundles, and what loading them comes to. Also a process of its own:

    python hostile_bundles.py KIND BUNDLE WORK FIRST LAST

makes a bundle for each seed, and loads it and asks it in a child with limits: a crash or a hang is
that child's alone. It prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hostile_graphs
import hostile_tokenizers
from resealing import reseal

import polyhead

FILES = ("manifest.json", "tokenizer.json", "golden.json", "model.int8.onnx")
TEXTS = (
    "great phone , many thanks",
    "",
    "where is my lamp ?" * 20,
    "né 東京 👍",
    "a" * 300,
    "h\x1bh" * 90,
)
MEMORY = 2 * 2**30
"""Bytes that a child may have: room to see who takes more than a bundle should."""
CPU_S, WALL_S = 4, 60
_STRANGE = (None, True, -1, 0, 2**63, 1e308, "", "x", "../x", "\0", [], {}, [[]], "é" * 99)


def mutate(content: bytes, random_: random.Random) -> bytes:
    """Flip a bit, overwrite, delete or insert a few bytes, or cut the end off."""
    place, count = random_.randrange(len(content)), random_.choice((1, 1, 1, 2, 8, 64))
    noise = random_.randbytes(count)
    kind = random_.choice(("flip", "write", "delete", "insert", "repeat", "cut"))
    if kind == "flip":
        noise = bytes([content[place] ^ 1 << random_.randrange(8)])
        return content[:place] + noise + content[place + 1 :]
    if kind == "write":
        return content[:place] + noise + content[place + count :]
    if kind == "delete":
        return content[:place] + content[place + count :]
    if kind == "insert":
        return content[:place] + noise + content[place:]
    if kind == "repeat":
        return content[: place + count] + content[place:]
    return content[:place]


def mutate_json(content: bytes, random_: random.Random) -> bytes:
    """Another value, a missing one or a new key somewhere in a JSON file."""
    data = json.loads(content)
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = random_.choice(keys)
        if isinstance(place[key], dict | list) and random_.random() < 0.8:
            place = place[key]
            continue
        kind = random_.choice(("set", "set", "delete", "add"))
        if kind == "set":
            place[key] = _other(place[key], random_)
        elif kind == "delete":
            del place[key]
        elif isinstance(place, dict):
            place[random_.choice((*keys, "extra", ""))] = random_.choice(_STRANGE)
        else:
            place.insert(key, random_.choice((*place, *_STRANGE)))
        break
    return json.dumps(data).encode()


def _other(value: object, random_: random.Random) -> object:
    near = {int: [1, 7, 10**6], float: [0.5, -3.0], str: ["linear", "logits/topic", "text"]}
    return random_.choice((*_STRANGE, *near.get(type(value), ())))


def mutation(folder: Path, random_: random.Random) -> str:
    """A file of the bundle changed, in half of the cases with digests that fit; or the folder."""
    if random_.random() < 0.1:
        return _change_the_folder(folder, random_)
    name = random_.choices(FILES, (4, 3, 1, 6))[0]
    bad = (folder / name).read_bytes()
    for _ in range(random_.choice((1, 1, 1, 3))):
        structured = name.endswith(".json") and random_.random() < 0.6
        bad = _structured(bad, random_) if structured else mutate(bad, random_) or b"\0"
    (folder / name).write_bytes(bad)
    if random_.random() < 0.5:
        reseal(folder)
    return name


def _structured(content: bytes, random_: random.Random) -> bytes:
    try:
        return mutate_json(content, random_)
    except (ValueError, TypeError):
        return mutate(content, random_) or b"\0"


def _change_the_folder(folder: Path, random_: random.Random) -> str:
    file = folder / random_.choice(FILES)
    kind = random_.choice(("pipe", "socket", "folder", "link", "gone", "hole", "closed", "device"))
    content = file.read_bytes()
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made, suppress(OSError):  # of a path too long
            made.bind(str(file))
    elif kind == "folder":
        file.mkdir()
    elif kind == "link":
        (folder / "elsewhere").write_bytes(content)
        file.symlink_to(folder / "elsewhere")
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "hole":
        file.write_bytes(content)
        os.truncate(file, 2**34)
    elif kind == "closed":
        file.write_bytes(content)
        file.chmod(0)
    return f"{file.name}: {kind}"


def _attacks(which: str) -> Callable[[Path, random.Random], str]:
    def attack(folder: Path, random_: random.Random) -> str:
        name, module = random_.choice(
            (("tokenizer.json", hostile_tokenizers), ("model.int8.onnx", hostile_graphs))
        )
        file = folder / name
        content, names = module.hostile(file.read_bytes(), random_, getattr(module, which))
        file.write_bytes(content)
        reseal(folder)
        return f"{name}: {', '.join(names)}"

    return attack


KINDS = {
    "mutations": mutation,
    "refused": _attacks("REFUSED"),
    "bounded": _attacks("BOUNDED"),
}


def outcome(folder: Path) -> str:
    """Load and answer: ``"works"`` or the name of the error, which has to be a `PolyheadError`."""
    try:
        engine = polyhead.load(folder, threads=1)
    except polyhead.BundleError as problem:
        return type(problem).__name__
    with engine:
        for texts in (*([text] for text in TEXTS), TEXTS):
            try:
                engine.predict(texts)
            except polyhead.PolyheadError as problem:
                return f"answers with {type(problem).__name__}"
    return "works"


def in_a_child(folder: Path) -> dict[str, object]:
    """Outcome, CPU seconds and MiB of a child process that loads and asks."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for what, most in (
            (resource.RLIMIT_DATA, MEMORY),
            (resource.RLIMIT_CPU, CPU_S),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(what, (most, most))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            told = outcome(folder)
        except BaseException as problem:
            told = f"UNTYPED {problem!r:.300}"
        os.write(write, told.encode("utf-8", "replace"))
        os._exit(0)
    os.close(write)
    status, usage = _wait(child)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode()
    if os.WIFSIGNALED(status):
        told = f"CRASH {signal.Signals(os.WTERMSIG(status)).name}"
    seconds = usage.ru_utime + usage.ru_stime
    return {"outcome": told, "seconds": round(seconds, 2), "mib": usage.ru_maxrss // 1024}


def _wait(child: int) -> tuple[int, resource.struct_rusage]:
    end = time.monotonic() + WALL_S
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.002)


def main(kind: str, bundle: str, work: str, first: str, last: str) -> None:
    """Try seeds from `first` up to `last`."""
    folder = Path(work)
    for seed in range(int(first), int(last)):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundle, folder)
        what = KINDS[kind](folder, random.Random(f"{kind} {seed}"))
        found = {"seed": seed, "what": what, **in_a_child(folder)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
