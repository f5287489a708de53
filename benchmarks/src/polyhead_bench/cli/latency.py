"""One text at a time, a bundle against the PyTorch model behind it: p50 and p99.

Example:
  polyhead bench latency bundle/ --against checkpoint/ --texts test.jsonl --limit 200
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from polyhead.bundle import read
from polyhead.cli import output, texts
from polyhead.inference import threads
from polyhead_bench.errors import BenchError
from polyhead_bench.latency import compare


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench latency`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKPOINT")
    parser.add_argument("--texts", metavar="FILE.jsonl", help="texts (default: the golden ones)")
    parser.add_argument("--field", default="text", help="key of the text in a line (text)")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="at most N texts (200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each engine (5)")
    parser.add_argument("--threads", type=int, metavar="N", help="each engine's (all of them)")
    parser.add_argument("--json", action="store_true", help="the measurements as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench latency`."""
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
