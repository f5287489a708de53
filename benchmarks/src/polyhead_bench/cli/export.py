"""What an export has to reach, against limits; exit code 1 when a figure misses its own.

The bundle's graph against the int8 graphs that people use today, of the same weights in the same
onnxruntime (its own recipe, Optimum's), OpenVINO's, and our fp32 graph: each in its own process,
one thread, in turns. Then a model of BERT-base's shape, decisions changed on test splits
(--decisions, checkpoints that remember one), and what the manifest says each head lost. Optimum's
and OpenVINO's graphs need their environments: polyhead bench setup.

Example:
  polyhead bench export build/demo/bundle --checkpoint build/demo/checkpoint -o results/
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from polyhead.cli import output
from polyhead_bench.cli import figures

_LIMITS = {"sst2": {"sentiment": 0.8}, "snips": {"intent": 0.3}, "clinc150": {"intent": 1.0}}


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
        help="exported, and asked their test splits; sst2, snips and clinc150 have limits",
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
    from polyhead_bench.checks import at_most
    from polyhead_bench.graphs import figures as graphs

    sizes = graphs.Sizes(rounds=arguments.rounds, cache=arguments.cache)
    checks, found = [], {}
    with tempfile.TemporaryDirectory() as name:
        output.progress("exporting the checkpoint")
        words = ["export", arguments.checkpoint, "-o", Path(name) / "bundle"]
        seconds, peak = graphs.measured_export(words)
        checks += [
            at_most("export with calibration and gate", seconds, 90, "s"),
            at_most("its peak memory", peak / 2**30, 4, "GiB"),
        ]
        found["export"] = {"seconds": seconds, "peak_bytes": peak}
    more, found["speed"] = graphs.speed(
        arguments.checkpoint, arguments.bundle, sizes, output.progress
    )
    checks += more + graphs.drops(arguments.bundle)
    for checkpoint in arguments.decisions:
        with tempfile.TemporaryDirectory() as name:
            bundle = Path(name) / checkpoint.name
            graphs.measured_export(["export", checkpoint, "-o", bundle])
            limits = _LIMITS.get(checkpoint.name, {})
            more, found[checkpoint.name] = graphs.decisions(
                checkpoint, bundle, limits, output.progress
            )
            checks += more + graphs.drops(bundle)
    if not arguments.small:
        more, found["bert-base"] = graphs.large(arguments.bundle, sizes, output.progress)
        checks += more
    return figures.end(arguments, "export", checks, found, "")
