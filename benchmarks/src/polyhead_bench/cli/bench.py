"""Measure a bundle against what else answers the same texts.

Each engine runs in a process of its own with the same number of threads; rounds alternate, answers
are compared first, tokenising and decoding are inside every time. Ratios of one run hold; absolute
times depend on the machine.

Examples:
  polyhead bench setup
  polyhead bench run bundle/ --checkpoint checkpoint/ -o report/
  polyhead bench latency bundle/ --against checkpoint/ --texts test.jsonl --limit 200
  polyhead bench compare before/ after/
  polyhead bench roofline bundle/
  polyhead bench runtime bundle/ -o results/
  polyhead bench export bundle/ --checkpoint checkpoint/ -o results/
  polyhead bench soak bundle/ --minutes 30
  polyhead bench --smoke
"""

from __future__ import annotations

import argparse

from polyhead_bench.cli import (
    compare,
    compose,
    export,
    latency,
    roofline,
    run,
    runtime,
    setup,
    smoke,
    soak,
)

_MEASUREMENTS = {
    "setup": (setup, "make the environments that some peers need"),
    "run": (run, "all scenarios, many peers, and a report with pictures"),
    "latency": (latency, "one text at a time against PyTorch: p50 and p99"),
    "compare": (compare, "two runs: has anything become slower?"),
    "compose": (compose, "sub-models combined against apart: time, disk, memory; pass or fail"),
    "roofline": (roofline, "how near the graph is to what this core can do"),
    "runtime": (runtime, "throughput, start, memory, answers under load, against limits"),
    "export": (export, "the graph against others of the same weights, against limits"),
    "soak": (soak, "memory and p99 over a long time"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench`."""
    parser.add_argument(
        "--smoke",
        dest="smoke_alone",
        action="store_true",
        help="no measurement: does every peer of this environment answer right, on a tiny model?",
    )
    parser.set_defaults(bench_error=parser.error)
    measurements = parser.add_subparsers(dest="measurement", metavar="MEASUREMENT")
    for name, (module, summary) in _MEASUREMENTS.items():
        own = measurements.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(own)


def execute(arguments: argparse.Namespace) -> int:
    """Run the measurement that was named, or the smoke test."""
    if arguments.smoke_alone is (arguments.measurement is not None):
        arguments.bench_error(f"expected --smoke alone, or one of {', '.join(_MEASUREMENTS)}")
    if arguments.smoke_alone:
        return smoke.execute()
    code: int = _MEASUREMENTS[arguments.measurement][0].execute(arguments)
    return code
