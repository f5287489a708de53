"""What is in the data of a configuration: rows, labels, lengths, duplicates, shared texts.

Nothing is trained and no weights are loaded. It also lists what often is a mistake: labels with
fewer than 3 training rows, labels in one split only, and spans that begin or end inside a word; and
it says how many steps a training takes. Texts of the test split that are in the training split,
too, flatter every metric: look at that table before you believe one.

Example:
  polyhead data config.toml
  polyhead data config.toml --json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.system.shorten import first
from polyhead_models.cli import add_max_errors

if TYPE_CHECKING:
    from polyhead_models.data.statistics import DataReport, Labels, NumberRange, Spans

_SHOWN = 10  # labels in a line


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead data`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    add_max_errors(parser)
    parser.add_argument("--json", action="store_true", help="all statistics as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead data`."""
    from polyhead.system.schema import plain
    from polyhead_models import config
    from polyhead_models.data.statistics import report

    found = report(config.load(arguments.config), max_errors=arguments.max_errors)
    if arguments.json:
        output.write_json(plain(found))
        return 0
    _write(found)
    return 0


def _write(found: DataReport) -> None:
    heads = found.heads.items()
    splits = [(name, split, s) for name, head in heads for split, s in head.splits.items()]
    _table(
        ["source", "split", "rows"],
        [[s, split, n] for s, rows in found.rows.items() for split, n in rows.items()],
    )
    _table(
        [
            *("head", "split", "rows", "tokens p50", "p95", "max", f"over {found.max_tokens}"),
            *("duplicates", "differing"),
        ],
        [
            [
                *(name, split, s.rows, s.tokens.p50, s.tokens.p95, s.tokens.max, s.tokens.over),
                *(s.duplicates.rows, s.duplicates.differing),
            ]
            for name, split, s in splits
        ],
    )
    _table(
        ["head", "split", "labels", "most frequent"],
        [[name, split, *_target(s.target)] for name, split, s in splits],
    )
    if edges := [[name, split, s.blank_edges] for name, split, s in splits if s.blank_edges]:
        _table(["head", "split", "spans with a blank at an edge, which is left out"], edges)
    if suspects := list(_suspects(found)):
        _table(["head", "split", "often a mistake", "which"], suspects)
    shared: list[list[object]] = [
        [name, leak.split, leak.also_in, leak.repeated.rows, leak.repeated.differing]
        for name, head in heads
        for leak in head.leaks
    ]
    header = ["head", "split", "also in", "texts", "differing"]
    output.write(output.table(header, shared) if shared else "No text is in two splits.")
    output.write(f"\nTraining: {found.schedule}.")
    if found.schedule.warning:
        output.write(f"Warning: {found.schedule.warning}")


def _suspects(found: DataReport) -> Iterator[list[object]]:
    for name, head in found.heads.items():
        if head.rare:
            few = [f"{label} {count}" for label, count in head.rare.items()]
            yield [name, "train", "labels with fewer than 3 rows", first(few, _SHOWN)]
        for split, labels in head.lone.items():
            where = "labels of no other split" if split == "train" else "labels not in training"
            yield [name, split, where, first(labels, _SHOWN)]
        for split, statistics in head.splits.items():
            if statistics.cut_words:
                cut = f"{statistics.cut_words:,}, the first {statistics.cut_example}"
                yield [name, split, "spans that cut a word", cut]


def _target(target: Labels | NumberRange | Spans | None) -> tuple[int | None, str | None]:
    """Number of labels, and what the target is in words."""
    from polyhead_models.data.statistics import Labels, NumberRange

    if target is None:
        return None, None
    if isinstance(target, NumberRange):
        return None, f"{target.minimum:g} to {target.maximum:g}, mean {target.mean:.4g}"
    labels = target if isinstance(target, Labels) else None
    counts = target.counts if isinstance(target, Labels) else {"spans": target.count}
    shown = [f"{label} {count}" for label, count in counts.items()]
    shown += [f"(none) {target.without}"] if target.without else []
    return (labels.distinct if labels else None), ", ".join(shown)


def _table(header: list[str], lines: list[list[object]]) -> None:
    output.write(output.table(header, lines) + "\n")
