"""A bundle or checkpoint is loaded over and over while others take its place."""

import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

import polyhead
from polyhead import PolyheadError
from polyhead.bundle import read_parts, writer
from polyhead.bundle.digest import entry
from polyhead.system import atomic

SECONDS = 12
PAUSE = 0.05


@contextmanager
def replaced(target, sources):
    """Each of the folders in turn is put at the target; gives a list of what was put there."""
    ended, put = threading.Event(), []

    def deploy():
        while not ended.wait(PAUSE):
            source = sources[len(put) % len(sources)]
            with atomic.folder(target) as folder:
                shutil.copytree(source, folder, dirs_exist_ok=True)
            put.append(source)

    thread = threading.Thread(target=deploy)
    thread.start()
    try:
        yield put
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def versions(real_bundle, tmp_path):
    """Two bundles of the same size whose tokenizers, graphs and cards differ."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (part,) = read_parts(real_bundle)
        manifest = part.manifest
        with writer.staged(folder) as staged:
            shutil.copytree(real_bundle, staged, dirs_exist_ok=True)
            card = staged / manifest.card.file
            card.write_text(f"{card.read_text()}{name}\n")
            tokenizer = staged / manifest.tokenizer.file
            tokenizer.write_text(tokenizer.read_text() + (" \n" if name == "one" else "\n "))
            changed = replace(
                manifest, card=entry(card), tokenizer=entry(tokenizer), provenance={"name": name}
            )
            writer.write_manifest(staged, changed)
        found.append(folder)
    return found


@pytest.mark.parametrize("verify", ["digest", "none"])
def test_a_load_meets_neither_a_gap_nor_a_mix(versions, tmp_path, verify):
    target = tmp_path / "bundle"
    shutil.copytree(versions[0], target)
    loads, end = 0, time.monotonic() + SECONDS
    with replaced(target, versions[::-1]) as put:
        while time.monotonic() < end:
            polyhead.load(target, threads=1, verify=verify).close()
            loads += 1
    assert loads > 10
    assert len(put) > 20


def test_a_read_gives_one_version_or_the_other(versions, tmp_path):
    target = tmp_path / "bundle"
    shutil.copytree(versions[0], target)
    known = {path.name: read_parts(path)[0].manifest for path in versions}
    end, seen = time.monotonic() + SECONDS, set()
    with replaced(target, versions[::-1]):
        while time.monotonic() < end:
            (found,) = read_parts(target)
            name = found.manifest.provenance["name"]
            assert found.manifest == known[name]
            seen.add(name)
    assert seen == {"one", "two"}


@pytest.mark.parametrize("verify", ["digest", "none"])
def test_files_that_are_overwritten_in_place_are_an_error_and_no_crash(versions, tmp_path, verify):
    """As by `cp`, which no reader can see as a whole."""
    target = tmp_path / "bundle"
    shutil.copytree(versions[0], target)
    ended, outcomes, end = threading.Event(), [], time.monotonic() + SECONDS

    def overwrite():
        while not ended.is_set():
            for source in versions:
                shutil.copytree(source, target, dirs_exist_ok=True)

    thread = threading.Thread(target=overwrite)
    thread.start()
    try:
        while time.monotonic() < end:
            try:
                polyhead.load(target, threads=1, verify=verify).close()
                outcomes.append("works")
            except PolyheadError as problem:
                outcomes.append(type(problem).__name__)
    finally:
        ended.set()
        thread.join()
    assert len(outcomes) > 10
    polyhead.load(target, threads=1, verify=verify).close()
