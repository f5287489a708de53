"""One folder of several bundles: graphs over one encoder merged, equal files once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from polyhead.bundle import digest, writer
from polyhead.bundle.collection import COLLECTION, Collection
from polyhead.bundle.golden import Golden
from polyhead.bundle.manifest import FORMAT, FileEntry, Manifest
from polyhead.bundle.measured import Gate
from polyhead.bundle.placing import Placing, placed
from polyhead.bundle.reader import Bundle, read_parts
from polyhead.bundle.store import Store
from polyhead.errors import HeadClash
from polyhead.system.schema import plain

CARD = "README.md"
_OTHER_BITS = "onnxruntime gives other bits for what they make together"
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

    Graphs that compute mostly the same, as those of one encoder do, become one graph with the
    outputs of all; then every head must give the logits that it gave for the golden texts, to the
    bit, or the graphs are kept apart. All others are copied.

    Args:
        sources: folders of bundles, at least one, and what is put before the names of their heads.
        target: folder of the new bundle; an older bundle is replaced.

    Raises:
        HeadClash: when two heads have one name.
        BundleError: when a bundle cannot be read or trusted, or something else is at `target`.
    """
    found = [(bundle, prefix) for path, prefix in sources for bundle in read_parts(path)]
    _check_clash(found)
    with placed([bundle for bundle, _ in found]) as placing:
        try:
            return _written(found, target, placing)
        except _OtherBits:
            return _written(found, target, placing.without_groups(_OTHER_BITS))


class _OtherBits(Exception):
    """A merged graph gives other logits."""


def _written(found: Sequence[tuple[Bundle, str]], target: Path, placing: Placing) -> Combined:
    with writer.staged(target) as folder:
        store = Store(folder, CARD)
        merged = _merged(placing, store)
        parts = tuple(_taken(bundle, prefix, store, merged) for bundle, prefix in found)
        notes = _notes([bundle.manifest for bundle, _ in found], parts, placing)
        (folder / CARD).write_text(_card(parts, notes), encoding="utf-8")
        whole = Collection(
            format=FORMAT,
            version=COLLECTION,
            card=digest.entry(folder / CARD),
            parts=parts,
            provenance={
                "combined_of": [part.encoder.name for part in parts],
                "merged": {
                    file.file: [member.graph.sha256 for member in group.members]
                    for group, file in zip(placing.groups, merged.files, strict=True)
                },
            },
        )
        writer.write_manifest(folder, whole)
        if placing.groups:
            _check_bits(found, folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
    return Combined(target, parts, size, store.saved, notes)


def _check_bits(found: Sequence[tuple[Bundle, str]], folder: Path) -> None:
    from polyhead.verify.golden import same_logits  # which needs this package

    for (before, prefix), after in zip(found, read_parts(folder), strict=True):
        if not same_logits(before, after, prefix):
            raise _OtherBits


@dataclass(frozen=True)
class _Merged:
    """Files of merged graphs.

    Attributes:
        files: in the order of their groups.
        by_digest: by the SHA-256 of a graph that is in one: the file, and its names of outputs.
    """

    files: tuple[FileEntry, ...]
    by_digest: Mapping[str, tuple[FileEntry, Mapping[str, str]]]


def _merged(placing: Placing, store: Store) -> _Merged:
    files, by_digest = [], {}
    for group in placing.groups:
        first = group.members[0].graph
        files.append(store.write(first.file, group.union.content()))
        for member, joined in zip(group.members, group.joined, strict=True):
            by_digest[member.graph.sha256] = files[-1], joined.outputs
        store.saved += sum(member.graph.size for member in group.members) - files[-1].size
    return _Merged(tuple(files), by_digest)


def _taken(bundle: Bundle, prefix: str, store: Store, merged: _Merged) -> Manifest:
    manifest = bundle.manifest
    graphs = []
    names: dict[str, str] = {}
    for graph in manifest.graphs:
        # Two sub-models may have one graph, whose heads have other names in each.
        entry, outputs = merged.by_digest.get(graph.sha256, (None, {}))
        if entry is None:
            plain_entry = FileEntry(file=graph.file, sha256=graph.sha256, size=graph.size)
            entry = store.put(bundle.file(graph), plain_entry)
        heads = tuple(f"{prefix}{name}" for name in graph.heads)
        graphs.append(
            replace(graph, file=entry.file, sha256=entry.sha256, size=entry.size, heads=heads)
        )
        names.update(outputs)
    specs = {
        name: replace(spec, output=names.get(spec.output, spec.output))
        for name, spec in manifest.heads.items()
    }
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
        heads=_prefixed(specs, prefix),
        quality=_prefixed(manifest.quality, prefix),
        picture=shown,
        gate=None if manifest.gate is None else _gate(manifest.gate, prefix),
        certificate=None
        if certificate is None
        else replace(certificate, graph=files.get(certificate.graph, certificate.graph)),
    )


def _own_card(bundle: Bundle, shown: FileEntry | None, store: Store) -> FileEntry:
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


def _notes(
    before: Sequence[Manifest], parts: Sequence[Manifest], placing: Placing
) -> tuple[str, ...]:
    """What each two sub-models share."""
    notes = []
    pairs = zip(itertools.combinations(before, 2), itertools.combinations(parts, 2), strict=True)
    for sources, (first, other) in pairs:
        both = f"{_title(first)} and {_title(other)}"
        if first.tokenizer.sha256 == other.tokenizer.sha256:
            notes.append(f"{both}: one tokenizer, a text is tokenised once")
        else:
            notes.append(f"{both}: different tokenizers, kept apart")
        if {graph.sha256 for graph in first.graphs} == {graph.sha256 for graph in other.graphs}:
            once = first.tokenizer.sha256 == other.tokenizer.sha256
            notes.append(f"{both}: one graph, stored {'and run ' if once else ''}once")
        elif first.graphs[0].sha256 == other.graphs[0].sha256:
            notes.append(f"{both}: one first graph, stored and run once; other graphs apart")
        elif first.encoder.fingerprint == other.encoder.fingerprint:
            why = placing.why_apart(*sources)
            notes.append(f"{both}: one encoder, run twice: {why}")
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
