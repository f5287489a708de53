"""Several bundles as one folder: every sub-model keeps its figures, golden answers and origin."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from polyhead import HeadClash
from polyhead.bundle import (
    Bundle,
    Certificate,
    Collection,
    FileEntry,
    Gate,
    Golden,
    Manifest,
    digest,
    read_parts,
    writer,
)
from polyhead.bundle.collection import COLLECTION
from polyhead.bundle.manifest import FORMAT
from polyhead.system.schema import plain
from polyhead_export.combining.groups import group
from polyhead_export.combining.store import FileStore
from polyhead_export.combining.union import rename_outputs

_CARD = "README.md"
_Value = TypeVar("_Value")
_StoredGraphs = dict[str, tuple[FileEntry, Certificate | None]]
"""By SHA-256 of a graph, its file in the new folder, and what was measured on a merged one."""


@dataclass(frozen=True)
class Combined:
    """What was made.

    Attributes:
        path: its folder.
        parts: its sub-models, under the names that their heads have now.
        size: bytes of its files.
        saved: bytes that the sources have more.
    """

    path: Path
    parts: tuple[Manifest, ...]
    size: int
    saved: int


def combine(sources: Sequence[tuple[Path, str]], target: Path) -> Combined:
    """Put bundles into one, each with its metrics and provenance.

    Graphs over one encoder become one graph if every head gives the golden texts the logits that
    it gave, to the bit, on onnxruntime's CPU provider; its stability is measured again. All other
    graphs are copied; a line of the log says why.

    Args:
        sources: folders of bundles, at least one, and what is put before the names of their heads.
        target: folder of the new bundle; an older bundle is replaced.

    Raises:
        HeadClash: when two heads have one name.
        BundleError: when a bundle cannot be read or trusted, or something else is at `target`.
    """
    found = [read_parts(path) for path, _ in sources]
    prefixes = [prefix for _, prefix in sources]
    _refuse_clash([(b, p) for own, p in zip(found, prefixes, strict=True) for b in own])
    with writer.staged(target) as folder:
        store = FileStore(folder, _CARD)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            graphs, names, merged = _graphs(found, store, Path(work))
        parts = tuple(
            _part(bundle, prefixes[number], names[number], store, graphs[number])
            for number, bundles in enumerate(found)
            for bundle in bundles
        )
        (folder / _CARD).write_text(_card(parts), encoding="utf-8")
        whole = Collection(
            format=FORMAT,
            version=COLLECTION,
            card=digest.entry(folder / _CARD),
            parts=parts,
            provenance={
                "combined_of": [part.encoder.name for part in parts],
                "merged": merged,
            },
        )
        writer.write_manifest(folder, whole)
        size = sum(file.stat().st_size for file in folder.iterdir())
    before = sum(file.stat().st_size for path, _ in sources for file in path.iterdir())
    return Combined(target, parts, size, max(0, before - size))


def _graphs(
    sources: Sequence[Sequence[Bundle]], store: FileStore, work: Path
) -> tuple[list[_StoredGraphs], list[dict[str, str]], dict[str, list[str]]]:
    """Graphs in the new folder and new names of outputs, by source; what merged files are of."""
    names = _output_names(sources)
    groups = group(sources, names, work)
    moved = {number for each in groups if len(each.uses) > 1 for number, _ in each.uses}
    names = [own if number in moved else {} for number, own in enumerate(names)]
    graphs: list[_StoredGraphs] = [{} for _ in sources]
    merged = {}
    for each in groups:
        path = each.path
        if len(each.uses) == 1:
            path = _renamed_copy(path, names[each.first.source], work)
        file = store.put(path, each.first.graph.file)
        if len(each.uses) > 1:
            merged[file.file] = [sha256 for _, sha256 in each.uses]
        for number, sha256 in each.uses:
            graphs[number][sha256] = file, each.certificate
    return graphs, names, merged


def _output_names(sources: Sequence[Sequence[Bundle]]) -> list[dict[str, str]]:
    """For each source, names of its outputs that no source before it has."""
    taken: set[str] = set()
    found: list[dict[str, str]] = []
    for bundles in sources:
        found.append({})
        for output in (s.output for b in bundles for s in b.manifest.heads.values()):
            if output not in found[-1]:
                numbered = (f"{output}-{n}" for n in itertools.count(2))
                free = next(n for n in itertools.chain([output], numbered) if n not in taken)
                found[-1][output] = free
                taken.add(free)
    return found


def _renamed_copy(path: Path, names: Mapping[str, str], work: Path) -> Path:
    """The same graph with other names of its outputs; the file itself where they stay."""
    if all(old == new for old, new in names.items()):
        return path
    model = ir.load(path)
    rename_outputs(model, names)
    copy = work / f"renamed-{len(list(work.iterdir()))}.onnx"
    ir.save(model, copy)
    return copy


def _part(
    bundle: Bundle,
    prefix: str,
    names: Mapping[str, str],
    store: FileStore,
    stored: _StoredGraphs,
) -> Manifest:
    """A sub-model's manifest with its files in the new folder."""
    manifest = bundle.manifest
    graphs = tuple(
        replace(graph, **vars(stored[graph.sha256][0]), heads=_prefixed(graph.heads, prefix))
        for graph in manifest.graphs
    )
    files = {old.file: new.file for old, new in zip(manifest.graphs, graphs, strict=True)}
    golden = json.dumps(plain(_golden(bundle.golden(), prefix, files)), ensure_ascii=False)
    picture, calibration = manifest.picture, manifest.calibration
    shown = None if picture is None else store.put(bundle.file(picture), picture.file)
    kept = None if calibration is None else store.put(bundle.file(calibration), calibration.file)
    return replace(
        manifest,
        tokenizer=store.put(bundle.file(manifest.tokenizer), manifest.tokenizer.file),
        golden=store.write(manifest.golden.file, golden),
        card=_own_card(bundle, shown, store),
        graphs=graphs,
        heads={
            f"{prefix}{name}": replace(spec, output=names.get(spec.output, spec.output))
            for name, spec in manifest.heads.items()
        },
        quality=_prefixed_keys(manifest.quality, prefix),
        picture=shown,
        gate=None if manifest.gate is None else _gate(manifest.gate, prefix),
        certificate=_certificate(manifest, files, stored),
        calibration=kept,
    )


def _certificate(
    manifest: Manifest,
    files: Mapping[str, str],
    stored: _StoredGraphs,
) -> Certificate | None:
    """That of the first exact graph: measured again where it was merged."""
    exact = next((graph for graph in manifest.graphs if graph.layout == "exact"), None)
    measured = None if exact is None else stored[exact.sha256][1]
    found = measured or manifest.certificate
    if exact is None or found is None:
        return found
    return replace(found, graph=files[exact.file])


def _own_card(bundle: Bundle, shown: FileEntry | None, store: FileStore) -> FileEntry:
    """The part's model card; where its picture has another name now, with a link to that."""
    card, picture = bundle.manifest.card, bundle.manifest.picture
    if picture is None or shown is None or shown.file == picture.file:
        return store.put(bundle.file(card), card.file)
    text = bundle.file(card).read_text(encoding="utf-8")
    return store.write(card.file, text.replace(f"]({picture.file})", f"]({shown.file})"))


def _golden(golden: Golden, prefix: str, files: Mapping[str, str]) -> Golden:
    return Golden(
        tolerance={
            files.get(file, file): _prefixed_keys(table, prefix)
            for file, table in golden.tolerance.items()
        },
        examples=tuple(
            replace(
                example,
                logits=_prefixed_keys(example.logits, prefix),
                results=_prefixed_keys(example.results, prefix),
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
                drop=_prefixed_keys(attempt.drop, prefix),
                changed=_prefixed_keys(attempt.changed, prefix),
                failed=_prefixed(attempt.failed, prefix),
            )
            for attempt in gate.attempts
        ),
    )


def _prefixed(names: Sequence[str], prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}" for name in names)


def _prefixed_keys(table: Mapping[str, _Value], prefix: str) -> dict[str, _Value]:
    return {f"{prefix}{name}": value for name, value in table.items()}


def _refuse_clash(found: Sequence[tuple[Bundle, str]]) -> None:
    owner: dict[str, Path] = {}
    for bundle, prefix in found:
        for name in _prefixed(tuple(bundle.manifest.heads), prefix):
            if name in owner:
                raise HeadClash(
                    f"{owner[name]} and {bundle.path} both have a head {name!r}. Give the heads of"
                    " one of them another name with --prefix."
                )
            owner[name] = bundle.path


def _card(parts: Sequence[Manifest]) -> str:
    lines = [f"# {len(parts)} sub-models", "", "| heads | encoder | graph | model card |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {', '.join(part.heads)} | {part.encoder.name} | {part.graphs[0].file} |"
        f" [{part.card.file}]({part.card.file}) |"
        for part in parts
    ]
    return "\n".join(lines) + "\n"
