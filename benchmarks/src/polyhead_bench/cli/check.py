"""A run against limits: every figure that was asked for, and whether it reaches its own.

Exit code 1 when a figure misses its limit or was not measured, or when no limit is for such a run.
--limits names another file than the project's own, limits.toml in polyhead_bench, whose first lines
say what its keys are.

Examples:
  polyhead bench check report/
  polyhead bench check report/ --limits ours.toml --allow-unmeasured
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polyhead.cli import output
from polyhead_bench import limits, results
from polyhead_bench.limits import Check
from polyhead_bench.results import Results


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench check`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a report, or its JSON")
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The arguments of everything that reads limits."""
    parser.add_argument(
        "--limits",
        type=Path,
        default=limits.LIMITS,
        metavar="FILE.toml",
        help="(the project's own)",
    )
    parser.add_argument(
        "--allow-unmeasured",
        action="store_true",
        help="exit code 0 also where a figure with a limit was not measured",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench check`."""
    return checked(results.read(arguments.run), arguments)


def checked(found: Results, arguments: argparse.Namespace) -> int:
    """Show a run against the limits of the arguments; the exit code."""
    rows = limits.check(found, limits.read(arguments.limits))
    _show(rows)
    return 0 if limits.passed(rows, allow_unmeasured=arguments.allow_unmeasured) else 1


def _show(rows: Sequence[Check]) -> None:
    """A table of figures against limits."""
    if not rows:
        output.write("no limit is for a run of these scenarios, peers, threads and model")
        return
    cells = []
    for row in rows:
        found = None if row.found is None else row.found.shown(".3g")
        cells.append([row.name, found, row.limit, row.state, row.reason])
    output.write(output.table(["figure", "found, 95% interval", "limit", "", ""], cells))
