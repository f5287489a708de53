"""A model of a Triton repository: configuration, Python code and the bundle, in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polyhead
from polyhead.bundle import Manifest, manifest_digest
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead.text.encoding import Input
from polyhead_export.errors import ExportError
from polyhead_export.pipeline import export
from polyhead_export.selection import select
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints

CONFIG, VERSION, MODEL, BUNDLE = "config.pbtxt", "1", "model.py", "bundle"
INPUTS = {"text": ("TEXT",), "pair": ("QUERY", "TEXT")}
"""Names of the inputs, by the kind of input that the heads read."""
_BATCH = 64


def write(source: Path, target: Path, settings: ExportSettings, **texts: Any) -> Manifest:
    """Export a checkpoint as `polyhead_export.pipeline.export` does, into such a folder.

    Args:
        source: a checkpoint.
        target: the model's folder in the repository, whose name is the model's; an older one of
            this form is replaced at the very end.
        settings: how to export.
        texts: `config` and `examples`, as for `export`.

    Raises:
        ExportError: when something else is at `target`, or there are heads for texts and for pairs:
            a configuration fixes the inputs.
        PolyheadError: what `export` raises.
    """
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if (target.exists() and not target.is_dir()) or not found <= {CONFIG, VERSION}:
        raise ExportError(
            f"{target}: exists and is not such a folder; it is left as it is. Name another."
        )
    kind = _kind(select(checkpoints.load(source), settings.heads).model.specs)
    with atomic.folder(target) as folder:
        inside = folder / VERSION
        inside.mkdir()
        manifest = export(source, inside / BUNDLE, settings, **texts)
        shutil.copy(Path(__file__).with_name(MODEL), inside)
        config = "\n".join([*_configuration(target.name, kind, inside / BUNDLE), ""])
        (folder / CONFIG).write_text(config, encoding="utf-8")
    return manifest


def _kind(heads: Mapping[str, HeadSpec]) -> str:
    kinds = {spec.input: name for name, spec in heads.items()}
    if len(kinds) > 1:
        raise ExportError(
            f"--format triton: the head {kinds['text']!r} reads texts and {kinds['pair']!r} pairs,"
            " and a model of Triton has the same inputs for all. Name those of one kind with"
            " --heads, and export the others as a model of their own."
        )
    return next(iter(kinds))


def _configuration(name: str, kind: str, bundle: Path) -> Iterator[str]:
    """The lines of `config.pbtxt`; outputs are the columns of `Prediction.to_row`."""
    probe: Input = "a" if kind == "text" else ("a", "a")
    with polyhead.load(bundle, threads=1) as engine:
        row = engine(probe).to_row()
    yield f"name: {json.dumps(name)}"
    yield 'backend: "python"'
    yield f"max_batch_size: {_BATCH}"
    for each in INPUTS[kind]:
        yield f"input {{ name: {json.dumps(each)} data_type: TYPE_STRING dims: 1 }}"
    for column, value in row.items():
        if column not in ("query", "text"):
            kind_of, size = _type(value)
            yield (f"output {{ name: {json.dumps(column)} data_type: {kind_of} dims: {size} }}")
    yield "dynamic_batching { }"
    yield "instance_group { count: 1 kind: KIND_CPU }"
    told = json.dumps(manifest_digest(bundle))
    yield f'parameters {{ key: "polyhead.bundle" value: {{ string_value: {told} }} }}'


def _type(value: Any) -> tuple[str, int]:
    """The type of an output, and how many there are for a text; what is nested is JSON."""
    if isinstance(value, list) and value and all(isinstance(each, float) for each in value):
        return "TYPE_FP32", len(value)
    kinds = {float: "TYPE_FP32", int: "TYPE_INT32"}
    return kinds.get(type(value), "TYPE_STRING"), 1
