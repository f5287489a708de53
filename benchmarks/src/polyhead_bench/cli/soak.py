"""A bundle asked by several threads for long: memory and p99 stay flat, or exit code 1.

Example:
  polyhead bench soak bundle/ --minutes 30
"""

from __future__ import annotations

import argparse

from polyhead.cli import output
from polyhead_bench.cli import figures


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench soak`."""
    figures.configure(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the texts (0)")
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="how long (30)")
    parser.add_argument("--threads", type=int, default=8, metavar="N", help="that call (8)")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 when a figure misses its limit."""
    from polyhead_bench import soak

    if arguments.minutes <= 0 or arguments.threads < 1:
        arguments.usage_error("--minutes and --threads: expected more than 0")
    figures.begin(arguments)
    checks, found = soak.run(
        arguments.bundle,
        minutes=arguments.minutes,
        threads=arguments.threads,
        seed=arguments.seed,
    )
    rows = [
        [i + 1, f"{s['rss']:.0f}", f"{s['p50']:.2f}", f"{s['p99']:.2f}", int(s["texts"])]
        for i, s in enumerate(found["slices"])
    ]
    slices = output.table(["slice", "MiB", "p50 ms", "p99 ms", "texts alone"], rows)
    return figures.end(arguments, "soak", checks, found, f"\n{slices}")
