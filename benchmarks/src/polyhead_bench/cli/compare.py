"""Two runs of `polyhead bench run`: has anything become slower?

A peer is called worse or better only when the 95% intervals of the two runs do not overlap. With
--baseline, times are taken relative to a peer that did not change, such as torch: that cancels
machine-to-machine noise. Exit code 1 when something is worse, 2 when the runs cannot be compared:
other texts, heads or threads, or a single round.

Example:
  polyhead bench compare before/ after/results.json --baseline torch
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from polyhead.cli import output
from polyhead_bench.compare import compare
from polyhead_bench.errors import BenchError, Incomparable
from polyhead_bench.results import read


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench compare`."""
    parser.add_argument("before", type=Path, metavar="BEFORE.json")
    parser.add_argument("after", type=Path, metavar="AFTER.json")
    parser.add_argument("--baseline", metavar="PEER", help="take times relative to this peer's")
    parser.add_argument("--json", action="store_true", help="the comparison as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench compare`."""
    before, after = read(arguments.before), read(arguments.after)
    try:
        found = compare(before, after, baseline=arguments.baseline)
    except Incomparable as problem:
        arguments.usage_error(str(problem))
    if not found:
        raise BenchError("the two runs have no peer and scenario in common.")
    if arguments.json:
        output.write_json([asdict(change) for change in found])
    else:
        output.write(
            output.table(
                ["peer", "scenario", "before", "after", "verdict"],
                [
                    [c.peer, c.scenario, c.before.shown(".3g"), c.after.shown(".3g"), c.verdict]
                    for c in found
                ],
            )
        )
    return 1 if any(change.verdict == "worse" for change in found) else 0
