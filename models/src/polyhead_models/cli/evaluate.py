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
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.system.schema import plain
from polyhead.system.shorten import counted, cut

if TYPE_CHECKING:
    from polyhead import Engine, HeadSpec
    from polyhead_models.config import Config
    from polyhead_models.data.examples import Example
    from polyhead_models.evaluation import HeadFigures
    from polyhead_models.metrics.labels import LabelReport
    from polyhead_models.mistakes import Mistake

_SHOWN = 10
_LONGEST = 34  # characters of a label, so that two fit in a line of 80


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
    from polyhead_models import evaluation
    from polyhead_models.data import examples as data
    from polyhead_models.errors import DataError
    from polyhead_models.metrics.labels import LABELLED, label_report
    from polyhead_models.mistakes import mistakes

    config = configuration.load(arguments.config)
    examples = data.load(config, arguments.split, by=arguments.by)
    if not examples:
        raise DataError(f"{arguments.config}: no source has a {arguments.split!r} split.")
    engine = _engine(arguments.model)
    _check_heads(config, engine.heads, arguments.config)
    labels = {name: spec.labels for name, spec in engine.heads.items()}
    examples = data.seen(config, examples, labels)
    results = evaluation.ask(engine, examples, label=arguments.split)
    found = evaluation.measured(engine.heads, results)
    reports = {
        head: label_report(
            engine.heads[head].labels,
            [row.result for row in results[head]],
            [row.reference for row in results[head]],
        )
        for head in found
        if engine.heads[head].kind in LABELLED
    }
    wrong = {head: mistakes(engine.heads[head].kind, head, results[head]) for head in found}
    slices = evaluation.sliced(engine.heads, results)
    _tell(arguments, found, examples)
    baselines: dict[str, Mapping[str, float] | None] = {}
    if arguments.baseline:
        from polyhead_models.baseline import baseline

        train = data.load(config, "train")
        for head in found:
            output.progress(f"baseline of {head} …")
            baselines[head] = baseline(engine.heads[head].kind, head, train, examples)
    if arguments.json:
        _write_json(arguments, found, reports, wrong, slices, baselines)
    else:
        _show(arguments, found, reports, slices, baselines)
    _write_files(arguments, reports, wrong)
    return 0


def _tell(
    arguments: argparse.Namespace,
    found: Mapping[str, HeadFigures],
    examples: Sequence[Example],
) -> None:
    """What the figures do not say."""
    for head, metrics in found.items():
        if metrics.windowed:
            output.progress(
                f"{head}: {metrics.windowed} of {metrics.texts} texts are longer than the encoder"
                " reads and were read in windows"
            )
    if arguments.by and (outside := sum(example.slice is None for example in examples)):
        output.progress(f"{arguments.by}: empty in {outside} of {len(examples)} texts")


def _check_heads(config: Config, heads: Mapping[str, HeadSpec], path: Path) -> None:
    from polyhead_models.errors import ConfigError

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


def _write_json(
    arguments: argparse.Namespace,
    found: Mapping[str, HeadFigures],
    reports: Mapping[str, LabelReport],
    wrong: Mapping[str, Sequence[Mistake]],
    slices: Mapping[str, Mapping[str, HeadFigures]],
    baselines: Mapping[str, Mapping[str, float] | None],
) -> None:
    heads = {
        head: {
            **plain(figures),
            **plain(reports.get(head, {})),
            "worst": plain(wrong[head][:_SHOWN]),
        }
        for head, figures in found.items()
    }
    report: dict[str, object] = {"split": arguments.split, "heads": heads}
    if arguments.by:
        report["slices"] = {arguments.by: plain(slices)}
    if baselines:
        report["baseline"] = baselines
    output.write_json(report)


def _show(
    arguments: argparse.Namespace,
    found: Mapping[str, HeadFigures],
    reports: Mapping[str, LabelReport],
    slices: Mapping[str, Mapping[str, HeadFigures]],
    baselines: Mapping[str, Mapping[str, float] | None],
) -> None:
    header = ["head", "metric", arguments.split, "texts"]
    rows: list[list[object]] = [[h, f.metric, f.value, f.texts] for h, f in found.items()]
    if baselines:
        header.append("TF-IDF")
        for row, (head, metrics) in zip(rows, found.items(), strict=True):
            row.append((baselines[head] or {}).get(metrics.metric))
    output.write(output.table(header, rows))
    for head in found:
        if head in reports:
            _show_labels(head, reports[head])
        parts = [(value, by_head[head]) for value, by_head in slices.items() if head in by_head]
        parts.sort(key=lambda part: part[1].value)
        _table(
            f"{head} by {arguments.by}",
            ["", found[head].metric, "texts"],
            [[cut(value, _LONGEST), f.value, f.texts] for value, f in parts],
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
    """The first rows, and how many there are."""
    if rows:
        more = f" ({_SHOWN} of {len(rows)})" if len(rows) > _SHOWN else ""
        output.write(f"\n{title}{more}\n{output.table(header, rows[:_SHOWN])}")


def _write_files(
    arguments: argparse.Namespace,
    reports: Mapping[str, LabelReport],
    wrong: Mapping[str, Sequence[Mistake]],
) -> None:
    if arguments.errors:
        from polyhead_models import mistakes

        found = [mistake for head in wrong.values() for mistake in head]
        mistakes.write(arguments.errors, found)
        output.progress(f"{arguments.errors}: {counted(len(found), 'wrong answer')}")
    if arguments.picture and reports:
        from polyhead.system import atomic
        from polyhead_models import plots

        atomic.write(arguments.picture, plots.labels(reports))
        output.progress(f"picture: {arguments.picture}")
    elif arguments.picture:
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
