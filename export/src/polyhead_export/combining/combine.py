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
    found = [(bundle, prefix) for path, prefix in sources for bundle in read_parts(path)]
    _refuse_clash(found)
    bundles = [bundle for bundle, _ in found]
    owners, names = _output_names([bundle.manifest for bundle in bundles])
    with writer.staged(target) as folder:
        store = FileStore(folder, _CARD)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            groups = group(bundles, names, Path(work))
            merged = [each for each in groups if len(each.uses) > 1]
            moved = {owners[bundles.index(use.bundle)] for each in merged for use in each.all_uses}
            names = [own if i in moved else {} for i, own in zip(owners, names, strict=True)]
            for each in groups:
                if each not in merged:
                    own = names[bundles.index(each.all_uses[0].bundle)]
                    each.path = _renamed_copy(each.path, own, Path(work))
            files = {id(each): store.put(each.path, each.name) for each in groups}
        by_digest = {
            sha: (files[id(each)], each.certificate) for each in groups for sha in each.uses
        }
        parts = tuple(
            _part(bundle, prefix, own, store, by_digest)
            for (bundle, prefix), own in zip(found, names, strict=True)
        )
        (folder / _CARD).write_text(_card(parts), encoding="utf-8")
        whole = Collection(
            format=FORMAT,
            version=COLLECTION,
            card=digest.entry(folder / _CARD),
            parts=parts,
            provenance={
                "combined_of": [part.encoder.name for part in parts],
                "merged": {files[id(each)].file: list(each.uses) for each in merged},
            },
        )
        writer.write_manifest(folder, whole)
        size = sum(file.stat().st_size for file in folder.iterdir())
    before = sum(file.stat().st_size for path, _ in sources for file in path.iterdir())
    return Combined(target, parts, size, max(0, before - size))


def _output_names(parts: Sequence[Manifest]) -> tuple[list[int], list[dict[str, str]]]:
    """A number for sub-models that have a graph in common, and a free name for each output."""
    owners: list[int] = []
    for number, part in enumerate(parts):
        digests = {graph.sha256 for graph in part.graphs}
        same = {
            owner
            for owner, other in zip(owners, parts, strict=False)
            if digests & {graph.sha256 for graph in other.graphs}
        }
        owner = min(same, default=number)
        owners = [*(owner if known in same else known for known in owners), owner]
    taken: dict[str, tuple[int, str]] = {}
    found = []
    for part, owner in zip(parts, owners, strict=True):
        outputs = {spec.output for spec in part.heads.values()}
        found.append({output: _free(output, (owner, output), taken) for output in outputs})
    return owners, found


def _free(name: str, of: tuple[int, str], taken: dict[str, tuple[int, str]]) -> str:
    numbered = (f"{name}-{n}" for n in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if taken.setdefault(n, of) == of)


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
    by_digest: Mapping[str, tuple[FileEntry, Certificate | None]],
) -> Manifest:
    """A sub-model's manifest with its files in the new folder."""
    manifest = bundle.manifest
    graphs = tuple(
        replace(graph, **vars(by_digest[graph.sha256][0]), heads=_prefixed(graph.heads, prefix))
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
        certificate=_certificate(manifest, files, by_digest),
        calibration=kept,
    )


def _certificate(
    manifest: Manifest,
    files: Mapping[str, str],
    by_digest: Mapping[str, tuple[FileEntry, Certificate | None]],
) -> Certificate | None:
    """That of the first exact graph: measured again where it was merged."""
    exact = next((graph for graph in manifest.graphs if graph.layout == "exact"), None)
    measured = None if exact is None else by_digest[exact.sha256][1]
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
