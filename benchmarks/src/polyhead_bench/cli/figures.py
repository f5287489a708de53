"""What `polyhead bench runtime`, `export` and `soak` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyhead.bundle import read
from polyhead.cli import output
from polyhead_bench.folders import require_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments that measurements against limits share."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the figures are written as JSON (nowhere)",
    )
    parser.add_argument(
        "--allow-unmeasured",
        action="store_true",
        help="exit code 0 also where a figure with a limit was not measured",
    )


def begin(arguments: argparse.Namespace) -> None:
    """Before anything is measured: is the bundle one, and can the figures be written?"""
    read(arguments.bundle)
    if arguments.output is not None:
        require_writable(arguments.output)


def end(
    arguments: argparse.Namespace,
    name: str,
    checks: Sequence[Any],
    figures: dict[str, Any],
    more: str,
) -> int:
    """Print and write what was found; 1 when a figure misses its limit or was not measured."""
    from polyhead_bench import checks as figures_of

    output.write(figures_of.table(checks))
    output.write(more)
    if arguments.output is not None:
        path = figures_of.write(arguments.output, name, checks, figures)
        output.progress(f"written: {path}")
    allow = arguments.allow_unmeasured
    return 0 if figures_of.passed(checks, allow_unmeasured=allow) else 1
