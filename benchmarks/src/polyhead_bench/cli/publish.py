"""A README's tables and pictures, made of the newest published runs: `make readme`.

RUNS is a folder of publications, <date>-<cpu>/<model>/results.json. The files need the two lines of
comment between which the tables stand. Every peer has its state there: one that was refused, or
failed, is a row that says why.

Example:
  polyhead bench publish benchmarks/results README.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output
from polyhead_bench.cli.run import names
from polyhead_bench.report import publish


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench publish`."""
    parser.add_argument("runs", type=Path, metavar="RUNS")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.md")
    parser.add_argument(
        "--models", type=names, default=(), metavar="NAME[,NAME…]", help="of the runs (all)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench publish`."""
    for file in arguments.files:
        publish.fill(file, arguments.runs, models=arguments.models)
        output.write(f"written: {file}")
    return 0
