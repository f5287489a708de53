"""Several bundles as one folder: every sub-model keeps its figures, golden answers and origin."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import onnx_ir as ir

from polyhead import HeadClash
from polyhead.bundle import (
    Bundle,
    Certificate,
    Collection,
    DecoderGraphs,
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
from polyhead.cli.output import as_markdown, markdown_table
from polyhead.system.schema import plain
from polyhead_export.card_facts import CardFacts
from polyhead_export.combining.groups import group
from polyhead_export.combining.union import free_name, rename_outputs
from polyhead_export.front_matter import front_matter
from polyhead_models.cascade import CascadeHead

_CARD = "README.md"
_Of = TypeVar("_Of")
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


class FileStore:
    """Files of a new folder: one for each content, under a name that is free."""

    def __init__(self, folder: Path, *taken: str) -> None:
        """Begin with an empty folder, and names that are taken in it."""
        self._folder = folder
        self._by_content: dict[str, FileEntry] = {}
        self._names = set(taken)

    def put(self, source: Path, name: str) -> FileEntry:
        """Copy a file, unless its content is there already."""
        found = digest.sha256(source)
        if found not in self._by_content:
            path = self._free(name)
            shutil.copyfile(source, path)
            self._by_content[found] = digest.entry(path)
        return self._by_content[found]

    def write(self, name: str, text: str) -> FileEntry:
        """Make a file of a text."""
        path = self._free(name)
        path.write_text(text, encoding="utf-8")
        return digest.entry(path)

    def _free(self, name: str) -> Path:
        """A name such as this one; taken from now on."""
        stem, dot, suffix = name.partition(".")
        free = free_name(stem, self._names, f"{dot}{suffix}")
        self._names.add(free)
        return self._folder / free


def combine(
    sources: Sequence[tuple[Path, str]],
    target: Path,
    cascade: Mapping[str, CascadeHead] | None = None,
) -> Combined:
    """Put bundles into one, each with its metrics and provenance.

    Graphs over one encoder become one graph if every head gives the golden texts the logits that
    it gave, to the bit, on onnxruntime's CPU provider; its stability is measured again. All other
    graphs are copied; a line of the log says why.

    Args:
        sources: folders of bundles, at least one, and what is put before the names of their heads.
        target: folder of the new bundle; an older bundle is replaced.
        cascade: of a student and a teacher, which stay apart, what `cascade_heads` found; None for
            heads side by side.

    Raises:
        HeadClash: when two heads have one name, other than of a student and its teacher.
        BundleError: when a bundle cannot be read or trusted, or something else is at `target`.
    """
    found = [read_parts(path) for path, _ in sources]
    prefixes = [prefix for _, prefix in sources]
    if cascade is None:
        _refuse_clash([(b, p) for own, p in zip(found, prefixes, strict=True) for b in own])
    thresholds = {n: c.threshold for n, c in (cascade or {}).items() if c.threshold is not None}
    with writer.staged(target) as folder:
        store = FileStore(folder, _CARD)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            graphs, names, merged = _graphs(found, store, Path(work), merge=cascade is None)
        parts = tuple(
            _part(bundle, prefixes[number], names[number], store, graphs[number])
            for number, bundles in enumerate(found)
            for bundle in bundles
        )
        (folder / _CARD).write_text(_card(parts, thresholds), encoding="utf-8")
        whole = Collection(
            format=FORMAT,
            version=COLLECTION,
            card=digest.entry(folder / _CARD),
            parts=parts,
            provenance={
                "combined_of": [part.encoder.name for part in parts],
                "merged": merged,
                **({"cascade": plain(cascade)} if cascade else {}),
            },
            cascade=thresholds if cascade else None,
        )
        writer.write_manifest(folder, whole)
        size = sum(file.stat().st_size for file in folder.iterdir())
    before = sum(file.stat().st_size for path, _ in sources for file in path.iterdir())
    return Combined(target, parts, size, max(0, before - size))


def _graphs(
    sources: Sequence[Sequence[Bundle]], store: FileStore, work: Path, *, merge: bool
) -> tuple[list[_StoredGraphs], list[dict[str, str]], dict[str, list[str]]]:
    """Graphs in the new folder and new names of outputs, by source; what merged files are of."""
    names = _output_names(sources)
    groups = group(sources, names, work, merge=merge)
    moved = {number for each in groups if len(each.keys) > 1 for number, _ in each.keys}
    names = [own if number in moved else {} for number, own in enumerate(names)]
    graphs: list[_StoredGraphs] = [{} for _ in sources]
    merged = {}
    for each in groups:
        path, first = each.path, each.uses[0]
        if len(each.keys) == 1:
            path = _renamed_copy(path, names[first.source], work)
        file = store.put(path, first.graph.file)
        if len(each.keys) > 1:
            merged[file.file] = [sha256 for _, sha256 in each.keys]
        for number, sha256 in each.keys:
            graphs[number][sha256] = file, each.certificate
    return graphs, names, merged


def _output_names(sources: Sequence[Sequence[Bundle]]) -> list[dict[str, str]]:
    """For each source, names of its outputs that no source before it has."""
    taken: set[str] = set()
    found: list[dict[str, str]] = []
    for bundles in sources:
        found.append({})
        outputs = [spec.output for b in bundles for spec in b.manifest.heads.values()]
        for output in dict.fromkeys(outputs):
            found[-1][output] = free_name(output, taken)
            taken.add(found[-1][output])
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
    decoders = {name: _decoder(bundle, two, store) for name, two in manifest.decoders.items()}
    files |= {two.step.file: decoders[n].step.file for n, two in manifest.decoders.items()}
    golden = json.dumps(plain(_golden(bundle.golden(), prefix, files)), ensure_ascii=False)
    picture = manifest.picture  # which may be gone, as the card may
    there = picture is not None and bundle.file(picture).exists()
    shown = _copied(bundle, picture if there else None, store)
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
        quality=_prefixed(manifest.quality, prefix),
        reliability=_prefixed(manifest.reliability, prefix),
        picture=shown,
        calibration=_copied(bundle, manifest.calibration, store),
        gate=None if manifest.gate is None else _gate(manifest.gate, prefix),
        certificate=_certificate(manifest, files, stored),
        decoders=_prefixed(decoders, prefix),
    )


def _decoder(bundle: Bundle, two: DecoderGraphs, store: FileStore) -> DecoderGraphs:
    """The graphs of a head that writes, in the new folder."""
    cross, step = (
        replace(each, **vars(store.put(bundle.file(each), each.file)))
        for each in (two.cross, two.step)
    )
    return DecoderGraphs(cross=cross, step=step)


def _certificate(
    manifest: Manifest, files: Mapping[str, str], stored: _StoredGraphs
) -> Certificate | None:
    """That of the first exact graph: measured again where it was merged."""
    for graph in manifest.graphs:
        if graph.layout == "exact":
            found = stored[graph.sha256][1] or manifest.certificate
            return None if found is None else replace(found, graph=files[graph.file])
    return manifest.certificate


def _copied(bundle: Bundle, entry: FileEntry | None, store: FileStore) -> FileEntry | None:
    return None if entry is None else store.put(bundle.file(entry), entry.file)


def _own_card(bundle: Bundle, shown: FileEntry | None, store: FileStore) -> FileEntry:
    """The part's model card, if only a title; with a link to its picture where that moved."""
    card, picture = bundle.manifest.card, bundle.manifest.picture
    if not bundle.file(card).exists():
        return store.write(card.file, f"# {as_markdown(', '.join(bundle.manifest.heads))}\n")
    if picture is None or shown is None or shown.file == picture.file:
        return store.put(bundle.file(card), card.file)
    text = bundle.file(card).read_text(encoding="utf-8")
    return store.write(card.file, text.replace(f"]({picture.file})", f"]({shown.file})"))


def _golden(golden: Golden, prefix: str, files: Mapping[str, str]) -> Golden:
    tolerance = {files.get(f, f): _prefixed(t, prefix) for f, t in golden.tolerance.items()}
    examples = (_with_prefix(e, prefix, "logits", "results") for e in golden.examples)
    return Golden(tolerance=tolerance, examples=tuple(examples))


def _gate(gate: Gate, prefix: str) -> Gate:
    attempts = (
        _with_prefix(a, prefix, "drop", "changed", "failed", "uncertain") for a in gate.attempts
    )
    return replace(gate, attempts=tuple(attempts))


def _with_prefix(item: _Of, prefix: str, *fields: str) -> _Of:
    """A dataclass with a prefix before the names that are in these of its fields."""
    given: Any = item
    changed: _Of = replace(given, **{n: _prefixed(getattr(given, n), prefix) for n in fields})
    return changed


def _prefixed(names: Any, prefix: str) -> Any:
    """Keys of a mapping, or names in a row, with a prefix before each."""
    if isinstance(names, Mapping):
        return {f"{prefix}{name}": value for name, value in names.items()}
    return tuple(f"{prefix}{name}" for name in names)


def _refuse_clash(found: Sequence[tuple[Bundle, str]]) -> None:
    owner: dict[str, Path] = {}
    for bundle, prefix in found:
        for name in _prefixed(bundle.manifest.heads, prefix):
            if name in owner:
                raise HeadClash(
                    f"{owner[name]} and {bundle.path} both have a head {name!r}. Give the heads of"
                    " one of them another name with --prefix."
                )
            owner[name] = bundle.path


def _card(parts: Sequence[Manifest], thresholds: Mapping[str, float]) -> str:
    heads = {name: spec for part in parts for name, spec in part.heads.items()}
    quality = {name: found for part in parts for name, found in part.quality.items()}
    encoders = {part.encoder.name for part in parts}
    head = front_matter(
        encoders.pop() if len(encoders) == 1 else "",
        [graph.precision for part in parts for graph in part.graphs],
        heads,
        quality,
        CardFacts(),
    )
    rows = [[", ".join(p.heads), p.encoder.name, p.graphs[0].file, p.card.file] for p in parts]
    table = markdown_table(["heads", "encoder", "graph", "model card"], rows)
    cards = ", ".join(f"[{p.card.file}]({p.card.file})" for p in parts)
    title = f"{len(parts)} sub-models"
    if thresholds:
        title = "A student and its teacher"
        table += "\n\nThe first model's answer stands from a confidence of:\n\n"
        table += markdown_table(["head", "threshold"], list(thresholds.items()))
    return f"{head}\n# {title}\n\n{table}\n\nModel cards: {cards}.\n"
