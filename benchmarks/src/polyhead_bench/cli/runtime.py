"""A bundle as a service would use it, against limits; exit code 1 when a figure misses its own.

Throughput on ragged texts, start, memory, calls from many threads, and what an answer costs beside
the graph; each figure is taken in a process of its own.

Example:
  polyhead bench runtime bundle/ -o results/
"""

from __future__ import annotations

import argparse

from polyhead.cli import output
from polyhead_bench.cli import figures


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench runtime`."""
    figures.configure(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the texts (0)")
    parser.add_argument("--texts", type=int, default=1500, metavar="N", help="ragged list (1500)")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="of each engine (6)")
    parser.add_argument("--threads", type=int, default=16, metavar="N", help="that call (16)")
    parser.add_argument("--calls", type=int, default=20_000, metavar="N", help="of each (20000)")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 when a figure misses its limit."""
    from polyhead_bench import runtime

    counts = (arguments.texts, arguments.rounds, arguments.threads, arguments.calls)
    if min(counts) < 1:
        arguments.usage_error("--texts, --rounds, --threads and --calls: expected at least 1")
    figures.begin(arguments)
    sizes = runtime.Sizes(
        texts=arguments.texts,
        rounds=arguments.rounds,
        threads=arguments.threads,
        calls=arguments.calls,
        seed=arguments.seed,
    )
    checks, found = runtime.run(arguments.bundle, sizes, output.progress)
    rows = found["memory table"]
    counts_of = sorted({row["threads"] for row in rows})
    header = ["batch_tokens", *(f"MiB, {n} thread{'s'[: n > 1]}" for n in counts_of)]
    memory = output.table(header, runtime.memory_rows(rows))
    return figures.end(arguments, "runtime", checks, found, f"\n{memory}")
