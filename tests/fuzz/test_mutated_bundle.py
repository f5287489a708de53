"""A damaged bundle is refused, or the damage changes no answer."""

import json
import random
import shutil
from pathlib import Path

import pytest
from hostile_bundles import FILES, mutate

import polyhead
from polyhead.bundle import read
from polyhead.verification import verify

PLACES = 1000


@pytest.fixture(scope="module")
def golden(committed):
    """Texts of the golden set, and what the sound bundle answers."""
    texts = [example.input for example in read(committed).golden().examples]
    with polyhead.load(committed, threads=1) as engine:
        return texts, [json.dumps(p.to_dict()) for p in engine.predict(texts)]


def refused_or_harmless(folder, golden):
    texts, expected = golden
    try:
        with polyhead.load(folder, threads=1) as engine:
            found = [json.dumps(p.to_dict()) for p in engine.predict(texts)]
    except polyhead.BundleError:
        return True
    if found == expected:
        return True
    try:  # a label of the manifest, say: the golden answers tell
        return not verify(folder).passed
    except polyhead.BundleError:
        return True


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused_or_harmless(committed, tmp_path, golden, name):
    folder = Path(shutil.copytree(committed, tmp_path / "bundle"))
    content = (committed / name).read_bytes()
    random_, survived = random.Random(name), []
    for place in range(PLACES // len(FILES)):
        (folder / name).write_bytes(mutate(content, random_))
        if not refused_or_harmless(folder, golden):
            survived.append(place)
    assert survived == []


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_every_byte_that_changes_in_a_file_with_a_digest_is_refused(committed, tmp_path, name):
    folder = Path(shutil.copytree(committed, tmp_path / "bundle"))
    content = (committed / name).read_bytes()
    random_ = random.Random(name)
    for _ in range(50):
        changed = mutate(content, random_)
        if changed == content:
            continue
        (folder / name).write_bytes(changed)
        with pytest.raises(polyhead.BundleError):
            read(folder)
