"""What an export has to reach, against limits; exit code 1 when a figure misses its own.

The graph of a MiniLM bundle against the int8 graphs that people use today, of the same weights in
the same onnxruntime (its own recipe, Optimum's), OpenVINO's, and our fp32 graph: each in its own
process, one thread, in turns, after its answers were compared with PyTorch's. Then decisions
changed on test splits and what heads lost (--decisions, checkpoints that remember their data, in
folders named as the recipes: sst2, snips, clinc150 and assistant have limits), and a model of
BERT-base's shape. Optimum's and OpenVINO's graphs need their environments: polyhead bench setup.

What is measured is written after each part, so that Ctrl-C keeps it.

Example:
  polyhead bench export build/demo/bundle --checkpoint build/demo/checkpoint -o results/
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polyhead.bundle import read
from polyhead.cli import output
from polyhead.system.schema import plain
from polyhead_bench.cli import figures

Part = tuple[str, Callable[[], tuple[list[Any], dict[str, Any]]], Sequence[tuple[str, str]]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench export`."""
    figures.configure(parser)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="CHECKPOINT", help="behind the bundle"
    )
    parser.add_argument(
        "--decisions",
        type=Path,
        nargs="*",
        default=[],
        metavar="CHECKPOINT",
        help="exported, and asked their test splits; folders named as their recipes",
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="of each graph (9)")
    parser.add_argument("--small", action="store_true", help="without the BERT-base-size model")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/peers"), metavar="DIR", help="environments"
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench export`."""
    if arguments.rounds < 1:
        arguments.usage_error("--rounds: expected at least 1")
    figures.begin(arguments)
    from polyhead_bench import checks as limits

    checks, found = [], {"rounds": arguments.rounds}
    without = _without(arguments)
    for name, part, rows in _parts(arguments):
        more, found[name] = limits.attempt(part, rows)
        checks += more
        if arguments.output is not None:
            so_far = [*checks, *without]
            limits.write(arguments.output, "export", so_far, found, complete=False)
    return figures.end(arguments, "export", [*checks, *without], found, "")


def _parts(arguments: argparse.Namespace) -> Iterator[Part]:
    """Name in the figures, what measures it, and its rows should that fail."""
    from polyhead_bench.graphs import decisions, exporting, speed

    bundle, checkpoint, rounds = arguments.bundle, arguments.checkpoint, arguments.rounds
    small = partial(speed.small, checkpoint, bundle, rounds=rounds, cache=arguments.cache)
    yield "export", partial(exporting.demo, checkpoint), exporting.ROWS
    yield "bundle", partial(_bundle, bundle), []
    yield "speed", partial(small, note=output.progress), speed.small_rows()
    for trained in arguments.decisions:
        part = partial(decisions.recipe, trained, output.progress)
        yield trained.name, part, decisions.rows(trained.name)
    if not arguments.small:
        part = partial(speed.large, bundle, rounds=rounds, note=output.progress)
        yield "bert-base", part, speed.large_rows()


def _bundle(bundle: Path) -> tuple[list[Any], dict[str, Any]]:
    """What the manifest tells of the bundle that is raced."""
    from polyhead_bench.graphs import decisions, exporting

    checks = [exporting.size(bundle), *decisions.drops(bundle, limited=False)]
    return checks, {"gate": plain(read(bundle).manifest.gate)}


def _without(arguments: argparse.Namespace) -> list[Any]:
    """Rows of what was not asked for."""
    from polyhead_bench import checks
    from polyhead_bench.graphs import decisions, speed

    given = {checkpoint.name for checkpoint in arguments.decisions}
    missing = [n for n in (*decisions.CHANGED, decisions.DROPPING) if n not in given]
    rows = [row for name in missing for row in decisions.rows(name)]
    reason = "its checkpoint was not given, see --decisions"
    found = checks.unmeasured(rows, reason)
    return found + (checks.unmeasured(speed.large_rows(), "--small") if arguments.small else [])
