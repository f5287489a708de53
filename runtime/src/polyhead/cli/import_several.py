"""`polyhead import` of several sources: one bundle or one checkpoint, and a report."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polyhead
from polyhead.bundle import is_bundle, read_parts
from polyhead.cli import output
from polyhead.cli.delegated import Checkpoints, United
from polyhead.cli.import_ import checkpoints_for, wishes_of
from polyhead.cli.main import GROUP, Command
from polyhead.cli.timing import Times, alone_and_together
from polyhead.errors import HeadClash, PolyheadError, SourceError
from polyhead.system import atomic, plugins


class NeedsExport(PolyheadError):
    """What was asked for needs the distribution polyhead-export, which is not installed."""


@dataclass(frozen=True)
class _Source:
    """One of several.

    Attributes:
        name: what the user called it.
        prefix: of its heads.
        made: the bundle or checkpoint that it became.
        models: what made a checkpoint of it; None for a bundle.
        heads: as they are called in the end.
    """

    name: str
    prefix: str
    made: Path
    models: Checkpoints | None
    heads: tuple[str, ...]


@dataclass(frozen=True)
class _Whole:
    """What all of them became: heads with encoder, graph and tokenizer, and what was saved."""

    places: Mapping[str, tuple[str, str | None, str]]
    encoder_passes: int
    saved: int
    notes: Sequence[str]


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import` for at least two sources."""
    target = arguments.output
    if target.exists() and not is_bundle(target):
        raise SourceError(f"{target}: exists and is not a bundle. Name another folder.")
    makers = [checkpoints_for(Path(name)) for name in arguments.source]
    if arguments.texts is None and any(makers) and not all(makers):
        arguments.usage_error(
            "--texts: expected a file: checkpoints beside ONNX graphs become graphs, too"
        )
    with tempfile.TemporaryDirectory(prefix="polyhead-import-") as folder:
        work = Path(folder)
        sources = _imported(arguments, makers, work)
        united, notes = _united(sources, work)
        if not arguments.texts and all(makers):
            whole, engine = _as_checkpoint(sources, united, notes, target)
        else:
            whole = _as_bundle(arguments, sources, united, notes, work)
            engine = polyhead.load(target)
        with engine:
            times = alone_and_together(
                engine, [source.heads for source in sources], arguments.texts, arguments.field
            )
    _report(arguments, sources, whole, times)
    return 0


def _imported(
    arguments: argparse.Namespace, makers: Sequence[Checkpoints | None], work: Path
) -> list[_Source]:
    """Each source by itself; two heads of one name are told before anything else takes time."""
    from polyhead.importing import import_folder

    count = len(arguments.source)
    prefixes, names = arguments.prefix or [""] * count, arguments.head or [None] * count
    found: list[_Source] = []
    for number, (name, models) in enumerate(zip(arguments.source, makers, strict=True)):
        output.progress(f"importing {name}")
        wishes, made = wishes_of(arguments, names[number]), work / f"source-{number}"
        if models is None:
            own = [import_folder(Path(name), made, wishes, note=output.progress).name]
        else:
            own = list(models.bring(name, made, wishes, output.progress))
        heads = tuple(f"{prefixes[number]}{head}" for head in own)
        for other in found:
            if twice := [head for head in heads if head in other.heads]:
                raise HeadClash(
                    f"{other.name} and {name} both give a head {twice[0]!r}. Name them with --head"
                    " or --prefix, once for each SOURCE."
                )
        found.append(_Source(name, prefixes[number], made, models, heads))
    return found


def _united(sources: Sequence[_Source], work: Path) -> tuple[list[United], list[str]]:
    """Checkpoints over the encoders that they share; members are numbers of sources."""
    numbers = [i for i, source in enumerate(sources) if source.models is not None]
    if not numbers:
        return [], []
    notes: list[str] = []
    shown = {str(sources[i].made): sources[i].name for i in numbers}

    def note(text: str) -> None:
        for made, name in shown.items():
            text = text.replace(made, name)
        notes.append(text)

    models = cast(Checkpoints, sources[numbers[0]].models)
    parts = [(sources[i].made, sources[i].prefix) for i in numbers]
    united = [
        United(u.path, tuple(numbers[m] for m in u.members), u.encoder, u.saved, u.head_bytes)
        for u in models.unite(parts, work, note)
    ]
    for each in united:
        if len(each.members) > 1:
            names = ", ".join(sources[m].name for m in each.members)
            notes.append(f"{names}: one encoder, one pass")
    return united, notes


def _as_checkpoint(
    sources: Sequence[_Source], united: Sequence[United], notes: Sequence[str], target: Path
) -> tuple[_Whole, polyhead.Engine]:
    if len(united) > 1:
        raise SourceError(
            f"the models have {len(united)} encoders, and a checkpoint has one: {' '.join(notes)}"
            " Name some texts with --texts, then each becomes a graph of one bundle."
        )
    if target.exists():
        raise SourceError(f"{target}: exists. Name another folder, or remove this one.")
    (whole,) = united
    with atomic.folder(target) as staged:
        shutil.copytree(whole.path, staged, dirs_exist_ok=True)
    place = (whole.encoder, None, "tokenizer.json")
    places = {head: place for source in sources for head in source.heads}
    models = cast(Checkpoints, sources[0].models)
    return _Whole(places, 1, whole.saved, notes), models.engine(target)


def _as_bundle(
    arguments: argparse.Namespace,
    sources: Sequence[_Source],
    united: Sequence[United],
    notes: Sequence[str],
    work: Path,
) -> _Whole:
    """Graphs of the checkpoints, beside those that there are."""
    from polyhead.bundle.combining import combine

    bundles = {i: (s.made, s.prefix) for i, s in enumerate(sources) if s.models is None}
    for each in united:
        alone = len(united) == 1 and not bundles
        made = arguments.output if alone else work / f"bundle-{each.members[0]}"
        _export(each.path, made, arguments)
        bundles[each.members[0]] = (made, "")
    saved, more = 0, list(notes)
    if united and arguments.output == bundles[united[0].members[0]][0]:
        parts = [bundle.manifest for bundle in read_parts(arguments.output)]
    else:
        whole = combine([bundles[i] for i in sorted(bundles)], arguments.output)
        parts, saved = list(whole.parts), whole.saved
        more += whole.notes
    for each in united:
        head = sources[each.members[0]].heads[0]
        part = next(part for part in parts if head in part.heads)
        # What each other source's own graph would hold: the encoder and the tokenizer again.
        again = part.graphs[0].size - each.head_bytes + part.tokenizer.size
        saved += (len(each.members) - 1) * again
    places = {
        head: (part.encoder.name, part.graphs[0].file, part.tokenizer.file)
        for part in parts
        for head in part.heads
    }
    passes = {(part.graphs[0].sha256, part.tokenizer.sha256) for part in parts}
    return _Whole(places, len(passes), saved, more)


def _export(checkpoint: Path, target: Path, arguments: argparse.Namespace) -> None:
    """`polyhead export`; its table goes to stderr, since stdout is for the report."""
    for point in plugins.points(GROUP):
        if point.name == "export":
            command = cast(Command, plugins.load(point))
            break
    else:
        raise NeedsExport(
            "graphs of checkpoints are made by polyhead-export: pip install polyhead-export."
        )
    parser = argparse.ArgumentParser(prog="polyhead export")
    command.configure(parser)
    words = [str(checkpoint), "-o", str(target), "--precision", arguments.precision]
    words += ["--texts", str(arguments.texts), "--field", arguments.field]
    with contextlib.redirect_stdout(sys.stderr):
        command.execute(parser.parse_args(words))


def _report(
    arguments: argparse.Namespace, sources: Sequence[_Source], whole: _Whole, times: Times
) -> None:
    target = arguments.output
    size = sum(file.stat().st_size for file in target.iterdir())
    rows = [
        {
            "head": head,
            "source": source.name,
            **dict(zip(("encoder", "graph", "tokenizer"), whole.places[head], strict=True)),
            "ms_alone": ms,
        }
        for source, ms in zip(sources, times.alone, strict=True)
        for head in source.heads
    ]
    if arguments.json:
        output.write_json(
            {
                "path": str(target),
                "heads": rows,
                "encoder_passes": whole.encoder_passes,
                "bytes": size,
                "bytes_saved": whole.saved,
                "ms_apart": sum(times.alone),
                "ms_together": times.together,
                "notes": list(whole.notes),
            }
        )
        return
    header = ["head", "source", "encoder", "graph", "tokenizer", "ms alone"]
    cells = [[f"{v:.2f}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    output.write(output.table(header, cells))
    for note in whole.notes:
        output.progress(note)
    output.progress(
        f"{whole.encoder_passes} encoder passes; {size / 1e6:.2f} MB, {whole.saved / 1e6:.2f} MB"
        f" saved; {sum(times.alone):.2f} ms a text one after the other, {times.together:.2f} ms"
        " together"
    )
    output.progress(f"{'bundle' if is_bundle(target) else 'checkpoint'}: {target}")
