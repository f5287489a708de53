"""One folder of several bundles: their graphs side by side, equal files once."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from polyhead.bundle import digest, writer
from polyhead.bundle.collection import COLLECTION, Collection
from polyhead.bundle.golden import Golden
from polyhead.bundle.manifest import FORMAT, FileEntry, Manifest
from polyhead.bundle.measured import Gate
from polyhead.bundle.reader import Bundle, read_parts
from polyhead.errors import HeadClash
from polyhead.strict import plain

CARD = "README.md"
T = TypeVar("T")


@dataclass(frozen=True)
class Combined:
    """What was made.

    Attributes:
        path: its folder.
        parts: its sub-models, under the names that their heads have now.
        size: bytes of its files.
        saved: bytes that are not there twice.
        notes: what is shared, what is not, and why.
    """

    path: Path
    parts: tuple[Manifest, ...]
    size: int
    saved: int
    notes: tuple[str, ...]


def combine(sources: Sequence[tuple[Path, str]], target: Path) -> Combined:
    """Put bundles into one, each with its graph, figures and provenance.

    No number is computed, so every head gives the logits that it gave. Graphs are not merged: two
    of the same encoder are told, and should be combined as checkpoints.

    Args:
        sources: folders of bundles, at least one, and what is put before the names of their heads.
        target: folder of the new bundle; an older bundle is replaced.

    Raises:
        HeadClash: when two heads have one name.
        BundleError: when a bundle cannot be read or trusted, or something else is at `target`.
    """
    found = [(bundle, prefix) for path, prefix in sources for bundle in read_parts(path)]
    _check_clash(found)
    with writer.staged(target) as folder:
        store = _Store(folder)
        parts = tuple(_taken(bundle, prefix, store) for bundle, prefix in found)
        notes = _notes(parts)
        (folder / CARD).write_text(_card(parts, notes), encoding="utf-8")
        whole = Collection(
            format=FORMAT,
            version=COLLECTION,
            card=digest.entry(folder / CARD),
            parts=parts,
            provenance={"combined_of": [part.encoder.name for part in parts]},
        )
        writer.write_manifest(folder, whole)
        size = sum(file.stat().st_size for file in folder.iterdir())
    return Combined(target, parts, size, store.saved, notes)


class _Store:
    """Files of the new folder: one for each content, under a name that is free."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_content: dict[str, FileEntry] = {}
        self._names = {CARD}
        self.saved = 0

    def put(self, source: Path, entry: FileEntry) -> FileEntry:
        if (known := self._by_content.get(entry.sha256)) is not None:
            self.saved += entry.size
            return known
        name = self.free(entry.file)
        shutil.copyfile(source, self._folder / name)
        self._by_content[entry.sha256] = found = replace(entry, file=name)
        return found

    def write(self, name: str, text: str) -> FileEntry:
        path = self._folder / self.free(name)
        path.write_text(text, encoding="utf-8")
        return digest.entry(path)

    def free(self, name: str) -> str:
        stem, dot, suffix = name.partition(".")
        for number in itertools.count(1):
            free = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
            if free not in self._names:
                self._names.add(free)
                return free
        raise AssertionError("count ended")


def _taken(bundle: Bundle, prefix: str, store: _Store) -> Manifest:
    manifest = bundle.manifest
    graphs = []
    for graph in manifest.graphs:
        # Two sub-models may have one graph, whose heads have other names in each.
        plain_entry = FileEntry(file=graph.file, sha256=graph.sha256, size=graph.size)
        entry = store.put(bundle.file(graph), plain_entry)
        heads = tuple(f"{prefix}{name}" for name in graph.heads)
        graphs.append(replace(graph, file=entry.file, heads=heads))
    files = {old.file: new.file for old, new in zip(manifest.graphs, graphs, strict=True)}
    golden = json.dumps(plain(_renamed(bundle.golden(), prefix, files)), ensure_ascii=False)
    picture, certificate = manifest.picture, manifest.certificate
    shown = None if picture is None else store.put(bundle.file(picture), picture)
    return replace(
        manifest,
        tokenizer=store.put(bundle.file(manifest.tokenizer), manifest.tokenizer),
        golden=store.write(manifest.golden.file, golden),
        card=_own_card(bundle, shown, store),
        graphs=tuple(graphs),
        heads=_prefixed(manifest.heads, prefix),
        quality=_prefixed(manifest.quality, prefix),
        picture=shown,
        gate=None if manifest.gate is None else _gate(manifest.gate, prefix),
        certificate=None
        if certificate is None
        else replace(certificate, graph=files.get(certificate.graph, certificate.graph)),
    )


def _own_card(bundle: Bundle, shown: FileEntry | None, store: _Store) -> FileEntry:
    """The part's model card; where its picture has another name now, with a link to that."""
    card, picture = bundle.manifest.card, bundle.manifest.picture
    if picture is None or shown is None or shown.file == picture.file:
        return store.put(bundle.file(card), card)
    text = bundle.file(card).read_text(encoding="utf-8")
    return store.write(card.file, text.replace(f"]({picture.file})", f"]({shown.file})"))


def _prefixed(table: Mapping[str, T], prefix: str) -> dict[str, T]:
    return {f"{prefix}{name}": value for name, value in table.items()}


def _renamed(golden: Golden, prefix: str, files: Mapping[str, str]) -> Golden:
    return Golden(
        tolerance={
            files.get(file, file): _prefixed(table, prefix)
            for file, table in golden.tolerance.items()
        },
        examples=tuple(
            replace(
                example,
                logits=_prefixed(example.logits, prefix),
                results=_prefixed(example.results, prefix),
            )
            for example in golden.examples
        ),
    )


def _gate(gate: Gate, prefix: str) -> Gate:
    return replace(
        gate,
        attempts=tuple(
            replace(
                attempt,
                drop=_prefixed(attempt.drop, prefix),
                changed=_prefixed(attempt.changed, prefix),
                failed=tuple(f"{prefix}{name}" for name in attempt.failed),
            )
            for attempt in gate.attempts
        ),
    )


def _check_clash(found: Sequence[tuple[Bundle, str]]) -> None:
    owner: dict[str, Path] = {}
    for bundle, prefix in found:
        for name in _prefixed(bundle.manifest.heads, prefix):
            if name in owner:
                raise HeadClash(
                    f"{owner[name]} and {bundle.path} both have a head {name!r}. Give the heads of"
                    " one of them another name with --prefix."
                )
            owner[name] = bundle.path


def _notes(parts: Sequence[Manifest]) -> tuple[str, ...]:
    """What each two sub-models share."""
    notes = []
    for first, other in itertools.combinations(parts, 2):
        both = f"{_title(first)} and {_title(other)}"
        if first.tokenizer.sha256 == other.tokenizer.sha256:
            notes.append(f"{both}: one tokenizer, a text is tokenised once")
        else:
            notes.append(f"{both}: different tokenizers, kept apart")
        if {graph.sha256 for graph in first.graphs} == {graph.sha256 for graph in other.graphs}:
            once = first.tokenizer.sha256 == other.tokenizer.sha256
            notes.append(f"{both}: one graph, stored {'and run ' if once else ''}once")
        elif first.encoder.fingerprint == other.encoder.fingerprint:
            notes.append(
                f"{both}: the same encoder in two graphs, run twice; combine their checkpoints and"
                " export the result to run it once"
            )
        elif first.encoder.name == other.encoder.name:
            notes.append(
                f"{both}: encoders of one name, {first.encoder.name!r}, with different weights,"
                " never shared"
            )
    return tuple(notes)


def _title(part: Manifest) -> str:
    return ", ".join(part.heads)


def _card(parts: Sequence[Manifest], notes: Sequence[str]) -> str:
    lines = [f"# {len(parts)} sub-models", "", "| heads | encoder | model card |", "|---|---|---|"]
    lines += [
        f"| {_title(part)} | {part.encoder.name} | [{part.card.file}]({part.card.file}) |"
        for part in parts
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"
