"""What is in the data of a configuration: rows, labels, lengths, duplicates, shared texts.

Nothing is trained and no weights are loaded. Texts of the test split that are in the training
split, too, flatter every metric: look at the last table before you believe one.

Example:
  polyhead data config.toml
  polyhead data config.toml --json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output

if TYPE_CHECKING:
    from polyhead_models.data.report import DataReport, HeadReport


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead data`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--json", action="store_true", help="all statistics as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead data`."""
    from polyhead.system.schema import plain
    from polyhead_models import config
    from polyhead_models.data.report import report

    found = report(config.load(arguments.config))
    if arguments.json:
        output.write_json(plain(found))
        return 0
    _write(found)
    return 0


def _write(found: DataReport) -> None:
    _table(
        ["source", "split", "rows"],
        [[s, split, n] for s, splits in found.rows.items() for split, n in splits.items()],
    )
    _table(
        [
            *("head", "split", "rows", "tokens p50", "p95", "max", f"over {found.max_tokens}"),
            *("duplicates", "differing"),
        ],
        [line for name, head in found.heads.items() for line in _sizes(name, head)],
    )
    _table(
        ["head", "split", "labels", "most frequent"],
        [line for name, head in found.heads.items() for line in _targets(name, head)],
    )
    lines: list[list[object]] = [
        [name, leak.split, leak.also_in, leak.repeated.rows, leak.repeated.differing]
        for name, head in found.heads.items()
        for leak in head.leaks
    ]
    if lines:
        _table(["head", "split", "also in", "texts", "differing"], lines, last=True)
    else:
        output.write("No text is in two splits.")


def _sizes(name: str, head: HeadReport) -> list[list[object]]:
    return [
        [
            *(name, split, s.rows, s.tokens.p50, s.tokens.p95, s.tokens.max, s.tokens.over),
            *(s.duplicates.rows, s.duplicates.differing),
        ]
        for split, s in head.splits.items()
    ]


def _targets(name: str, head: HeadReport) -> list[list[object]]:
    from polyhead_models.data.statistics import Labels, NumberRange, Spans

    lines: list[list[object]] = []
    for split, statistics in head.splits.items():
        match statistics.target:
            case Labels() as labels:
                lines.append([name, split, labels.distinct, _counts(labels.counts, labels.without)])
            case NumberRange() as numbers:
                text = f"{numbers.minimum:g} to {numbers.maximum:g}, mean {numbers.mean:.4g}"
                lines.append([name, split, None, text])
            case Spans() as spans:
                lines.append([name, split, None, _counts({"spans": spans.count}, spans.without)])
            case None:
                lines.append([name, split, None, None])
    return lines


def _counts(counts: Mapping[str, int], without: int) -> str:
    shown = [f"{label} {count}" for label, count in counts.items()]
    return ", ".join([*shown, *([f"(none) {without}"] if without else [])])


def _table(header: list[str], lines: list[list[object]], *, last: bool = False) -> None:
    output.write(output.table(header, lines) + ("" if last else "\n"))
