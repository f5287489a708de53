"""Measure a bundle: against the PyTorch model behind it, and as a service would use it.

`latency` answers one text at a time and gives p50 and p99. Each engine runs in a process of its own
with the same number of threads; rounds alternate, and the decisions are compared first. The ratio
holds; absolute times depend on the machine.

`runtime` holds throughput, start, memory and answers under load against their limits; `soak` asks
for as long as you like. Each figure is taken in a process of its own. Both end with 1 when one
misses its limit.

Examples:
  polyhead bench latency bundle/ --against checkpoint/ --texts test.jsonl --limit 200
  polyhead bench runtime bundle/ -o results/
  polyhead bench soak bundle/ --minutes 30
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from polyhead import threads
from polyhead.bundle import read
from polyhead.cli import output, texts
from polyhead_bench.cli import figures
from polyhead_bench.errors import BenchError
from polyhead_bench.latency import compare


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench`."""
    measurements = parser.add_subparsers(dest="figure", required=True, metavar="MEASUREMENT")
    _configure_latency(measurements.add_parser("latency", help="one text at a time: p50 and p99"))
    figures.configure_runtime(
        measurements.add_parser("runtime", help="throughput, start, memory, answers under load")
    )
    figures.configure_soak(measurements.add_parser("soak", help="memory and p99 over a long time"))


def _configure_latency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKPOINT")
    parser.add_argument("--texts", metavar="FILE.jsonl", help="texts (default: the golden ones)")
    parser.add_argument("--field", default="text", help="key of the text in a line (text)")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="at most N texts (200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each engine (5)")
    parser.add_argument("--threads", type=int, metavar="N", help="each engine's (all of them)")
    parser.add_argument("--json", action="store_true", help="the measurements as JSON")
    parser.set_defaults(usage_error=parser.error, measurement=run_latency)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench`."""
    code: int = arguments.measurement(arguments)
    return code


def run_latency(arguments: argparse.Namespace) -> int:
    """Measure one text at a time against the PyTorch model."""
    if min(arguments.limit, arguments.rounds) < 1:
        arguments.usage_error("--limit and --rounds: expected at least 1")
    if arguments.texts is None:
        answered = [example.input for example in read(arguments.bundle).golden().examples]
    else:
        answered = list(texts.read(arguments.texts, arguments.field))
    if not answered:
        raise BenchError(f"{arguments.texts}: no texts; expected at least one.")
    found = compare(
        arguments.bundle,
        ("torch", arguments.against),
        answered[: arguments.limit],
        threads=threads.budget(arguments.threads),
        rounds=arguments.rounds,
    )
    if arguments.json:
        output.write_json(asdict(found))
        return 0
    output.write(
        output.table(
            ["engine", "p50 ms", "p99 ms", "same decisions"],
            [
                [e.engine, f"{e.p50:.2f}", f"{e.p99:.2f}", f"{e.same_decisions:.3f}"]
                for e in found.engines
            ],
        )
    )
    low, high = found.interval
    output.write(
        f"\n{found.speedup:.1f}x faster at p50 (95% interval {low:.1f} to {high:.1f}),"
        f" {found.texts} texts, {found.rounds} rounds, {found.threads} threads each"
    )
    return 0
