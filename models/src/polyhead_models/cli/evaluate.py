"""Metrics of a checkpoint or a bundle on labelled data, through the same decoders.

For heads with labels also the labels with the lowest F1, and which label is taken for which, ten of
each; --json has all. A wrong span is confused with the missed one that it overlaps, "(other ends)"
where the label is right; "(none)" stands where there is none. What is divided by 0 is 0: the
precision of a label that is never answered, the recall of one that no reference has.

Example:
  polyhead evaluate checkpoint/ config.toml --split test --baseline
  polyhead evaluate bundle/ config.toml --by language --errors errors.csv --picture labels.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.errors import nearest
from polyhead.system.schema import plain
from polyhead.system.shorten import counted, cut
from polyhead_models.errors import ConfigError, DataError

if TYPE_CHECKING:
    from polyhead import Engine, HeadSpec
    from polyhead_models.config import Config
    from polyhead_models.data.examples import Example
    from polyhead_models.evaluation import HeadFigures
    from polyhead_models.metrics.labels import LabelReport
    from polyhead_models.mistakes import Mistake

_SHOWN = 10
_LONGEST = 34  # characters of a label, so that two fit in a line of 80


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A head: its figures, alone and by slice, its labels if it has any, and what was wrong."""

    figures: HeadFigures
    slices: Mapping[str, HeadFigures]
    labels: LabelReport | None
    wrong: Sequence[Mistake]
    baseline: Mapping[str, float] | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead evaluate`."""
    parser.add_argument("model", type=Path, metavar="CHECKPOINT_OR_BUNDLE")
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument(
        "--split", choices=["train", "validation", "test"], default="test", help="(test)"
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="also what TF-IDF and a linear model reach, trained on the training split",
    )
    parser.add_argument("--by", metavar="COLUMN", help="also the metrics of each value in a column")
    parser.add_argument(
        "--errors",
        type=output.table_file,
        metavar="FILE",
        help="write what was answered wrong, the worst first: .jsonl or .csv",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw labels and confusions"
    )
    parser.add_argument(
        "--json", action="store_true", help="all of this as JSON, with each head's ten worst errors"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead evaluate`."""
    from polyhead_models import config as configuration
    from polyhead_models.data import examples as data

    config = configuration.load(arguments.config)
    examples = data.load(config, arguments.split)
    if not examples:
        raise DataError(f"{arguments.config}: no source has a {arguments.split!r} split.")
    _check_column(arguments, examples)
    engine = _engine(arguments.model)
    _check_heads(config, engine.heads, arguments.config)
    examples = data.seen(config, examples, {n: spec.labels for n, spec in engine.heads.items()})
    train = data.load(config, "train") if arguments.baseline else []
    heads = _judged(arguments, engine, examples, train)
    if arguments.by and (outside := sum(e.cell(arguments.by) is None for e in examples)):
        output.progress(f"{arguments.by}: empty in {outside} of {len(examples)} texts")
    if arguments.json:
        _write_json(arguments, heads)
    else:
        _show(arguments, heads)
    _write_files(arguments, heads)
    return 0


def _check_column(arguments: argparse.Namespace, examples: Sequence[Example]) -> None:
    columns = dict.fromkeys(str(key) for example in examples for key in example.fields)
    if arguments.by is not None and arguments.by not in columns:
        raise DataError(
            f"{arguments.by!r}: no row of the {arguments.split!r} split has such a column; there"
            f" are {', '.join(map(repr, columns))}.{nearest(arguments.by, columns)}"
        )


def _check_heads(config: Config, heads: Mapping[str, HeadSpec], path: Path) -> None:
    for head, settings in config.heads.items():
        if head not in heads:
            output.progress(f"{head}: the model does not have this head; passed over")
        elif settings.versioned_kind != heads[head].kind:
            raise ConfigError(
                f"{path}: head {head!r}: kind {settings.kind!r}, but the model's head is a"
                f" {heads[head].kind}."
            )
        elif settings.input != heads[head].input:
            raise ConfigError(
                f"{path}: head {head!r}: 'text' names a {settings.input}, but the model's head"
                f" reads a {heads[head].input}."
            )


def _judged(
    arguments: argparse.Namespace,
    engine: Engine,
    examples: Sequence[Example],
    train: Sequence[Example],
) -> dict[str, _Judged]:
    """Heads that have references; says what their figures do not."""
    from polyhead_models import evaluation
    from polyhead_models.baseline import baseline
    from polyhead_models.metrics.labels import LABELLED, label_report
    from polyhead_models.mistakes import mistakes

    answered = evaluation.ask(engine, examples, label=arguments.split)
    heads = {}
    for name, figures in evaluation.measured(engine.heads, answered).items():
        kind, rows = engine.heads[name].kind, answered[name]
        both = [row.result for row in rows], [row.reference for row in rows]
        if figures.windowed:
            output.progress(
                f"{name}: {figures.windowed} of {figures.texts} texts are longer than the encoder"
                " reads and were read in windows"
            )
        if arguments.baseline:
            output.progress(f"baseline of {name} …")
        heads[name] = _Judged(
            figures=figures,
            slices=evaluation.sliced(kind, rows, arguments.by) if arguments.by else {},
            labels=label_report(engine.heads[name].labels, *both) if kind in LABELLED else None,
            wrong=mistakes(kind, name, rows),
            baseline=baseline(kind, name, train, examples) if arguments.baseline else None,
        )
    return heads


def _write_json(arguments: argparse.Namespace, heads: Mapping[str, _Judged]) -> None:
    judged = {
        name: {**plain(h.figures), **plain(h.labels or {}), "worst": plain(h.wrong[:_SHOWN])}
        for name, h in heads.items()
    }
    report: dict[str, object] = {"split": arguments.split, "heads": judged}
    if arguments.by:
        values = sorted({value for head in heads.values() for value in head.slices})
        report["slices"] = {
            arguments.by: {
                value: {n: plain(h.slices[value]) for n, h in heads.items() if value in h.slices}
                for value in values
            }
        }
    if arguments.baseline:
        report["baseline"] = {name: head.baseline for name, head in heads.items()}
    output.write_json(report)


def _show(arguments: argparse.Namespace, heads: Mapping[str, _Judged]) -> None:
    header = ["head", "metric", arguments.split, "texts"]
    own = {name: head.figures for name, head in heads.items()}
    rows: list[list[object]] = [[n, f.metric, f.value, f.texts] for n, f in own.items()]
    if arguments.baseline:
        header.append("TF-IDF")
        for row, head in zip(rows, heads.values(), strict=True):
            row.append((head.baseline or {}).get(head.figures.metric))
    output.write(output.table(header, rows))
    for name, head in heads.items():
        if head.labels is not None:
            _show_labels(name, head.labels)
        _table(
            f"{name} by {arguments.by}",
            ["", own[name].metric, "texts"],
            [
                [cut(value, _LONGEST), f.value, f.texts]
                for value, f in sorted(head.slices.items(), key=lambda part: part[1].value)
            ],
        )


def _show_labels(head: str, report: LabelReport) -> None:
    _table(
        f"labels of {head}, the lowest F1 first",
        ["label", "precision", "recall", "F1", "support"],
        [
            [cut(name, _LONGEST), f.precision, f.recall, f.f1, f.support]
            for name, f in report.worst_first()
        ],
    )
    _table(
        f"confusions of {head}",
        ["gold", "answer", "times"],
        [[*(cut(side, _LONGEST) for side in c.shown()), c.count] for c in report.confusions],
    )


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The first rows, and how many there are; nothing where there are none."""
    if rows:
        more = f" ({_SHOWN} of {len(rows)})" if len(rows) > _SHOWN else ""
        output.write(f"\n{title}{more}\n{output.table(header, rows[:_SHOWN])}")


def _write_files(arguments: argparse.Namespace, heads: Mapping[str, _Judged]) -> None:
    if arguments.errors:
        from polyhead_models import mistakes

        found = [mistake for head in heads.values() for mistake in head.wrong]
        mistakes.write(arguments.errors, found)
        output.progress(f"{arguments.errors}: {counted(len(found), 'wrong answer')}")
    if arguments.picture:
        from polyhead.system import atomic
        from polyhead_models import plots

        reports = {name: head.labels for name, head in heads.items() if head.labels is not None}
        if reports:
            atomic.write(arguments.picture, plots.labels(reports))
            output.progress(f"picture: {arguments.picture}")
        else:
            output.progress("no head with labels has a reference, so there is no picture")


def _engine(path: Path) -> Engine:
    from polyhead import BundleNotFound, load
    from polyhead.bundle import is_bundle
    from polyhead_models import checkpoint

    if is_bundle(path):
        return load(path)
    if checkpoint.is_checkpoint(path):
        return checkpoint.load(path).engine()
    raise BundleNotFound(
        f"{path}: neither a checkpoint (polyhead.json) nor a bundle (manifest.json) is here."
    )
