"""Damaged and hostile bundles, and what loading them comes to. Also a process of its own:

    python hostile_bundles.py BUNDLE WORK FIRST LAST

prints a line ``SEED OUTCOME`` for each seed. A crash of native code ends the process, and the last
line says at which seed; a hang ends it too.
"""

import faulthandler
import json
import random
import shutil
import sys
from pathlib import Path

from resealing import reseal

import polyhead

FILES = ("manifest.json", "tokenizer.json", "golden.json", "README.md", "model.int8.onnx")
TEXTS = ("great phone , many thanks", "", "where is my lamp ?" * 20, "né 東京 👍")
_STRANGE = (None, True, -1, 0, 2**63, 1e308, "", "x", "../x", "\0", [], {}, [[]], "é" * 99)
_HANG_S = 60


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


def outcome(folder: Path) -> str:
    """Load and answer: ``"works"`` or the name of the error, which has to be a `PolyheadError`."""
    try:
        engine = polyhead.load(folder, threads=1)
    except polyhead.BundleError as problem:
        return type(problem).__name__
    with engine:
        for text in TEXTS:
            try:
                engine(text)
            except polyhead.PolyheadError as problem:
                return f"answers with {type(problem).__name__}"
    return "works"


def main(bundle: str, work: str, first: str, last: str) -> None:
    """Try seeds from `first` up to `last`."""
    folder = Path(work)
    shutil.copytree(bundle, folder)
    for seed in range(int(first), int(last)):
        random_ = random.Random(seed)
        name = random_.choices(FILES, (4, 3, 1, 1, 6))[0]
        good = (Path(bundle) / name).read_bytes()
        bad = good
        for _ in range(random_.choice((1, 1, 1, 3))):
            structured = name.endswith(".json") and random_.random() < 0.6
            bad = _structured(bad, random_) if structured else mutate(bad, random_) or b"\0"
        (folder / name).write_bytes(bad)
        reseal(folder)
        sys.stdout.write(f"{seed} {name} ")
        sys.stdout.flush()
        faulthandler.dump_traceback_later(_HANG_S, exit=True)
        sys.stdout.write(f"{outcome(folder)}\n")
        sys.stdout.flush()
        for file in FILES:
            shutil.copyfile(Path(bundle) / file, folder / file)
    faulthandler.cancel_dump_traceback_later()


def _structured(content: bytes, random_: random.Random) -> bytes:
    try:
        return mutate_json(content, random_)
    except (ValueError, TypeError):
        return mutate(content, random_) or b"\0"


if __name__ == "__main__":
    main(*sys.argv[1:])
