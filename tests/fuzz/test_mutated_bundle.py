"""A damaged bundle is refused, or says the same as the sound one."""

import json
import random
import shutil
from pathlib import Path

import pytest
from fuzz_budget import INPUTS, SEED
from hostile_bundles import FILES, mutate

import polyhead


def refused_or_harmless(folder, good):
    """By `load`; harmless is a file that says the same, in other spaces say."""
    try:
        polyhead.load(folder, threads=1).close()
    except polyhead.BundleError:
        return True
    return all(meaning(folder / name) == meaning(good / name) for name in FILES)


def meaning(file):
    """A manifest's values, told apart by type; the bytes of all others."""
    content = file.read_bytes()
    if file.name != "manifest.json":
        return content
    return json.dumps(json.loads(content), sort_keys=True)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused_or_harmless(committed, tmp_path, name):
    folder = Path(shutil.copytree(committed, tmp_path / "bundle"))
    content = (committed / name).read_bytes()
    random_, survived = random.Random(f"{SEED} {name}"), []
    for place in range(INPUTS // 10):
        (folder / name).write_bytes(mutate(content, random_))
        if not refused_or_harmless(folder, committed):
            survived.append(place)
    assert survived == []
