"""A bundle as a service would use it, against limits; exit code 1 when a figure misses its own.

Throughput on ragged texts, start, memory, calls from many threads, threads for a lone text, and
what an answer costs beside the graph; each figure is taken in a process of its own. With the
checkpoint behind the bundle, throughput is held against the same weights in the padded layout, and
against Optimum's int8 graph, which needs its environment: polyhead bench setup optimum. A figure
with a limit that was not measured is not reached; --allow-unmeasured leaves it aside.

What is measured is written after each part, so that Ctrl-C keeps it.

Example:
  polyhead bench runtime bundle/ --checkpoint checkpoint/ -o results/
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

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
    parser.add_argument("--alone", type=int, default=2000, metavar="N", help="lone texts (2000)")
    parser.add_argument(
        "--many", type=int, default=10_000, metavar="N", help="texts, for memory (10000)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="CHECKPOINT", help="behind the bundle, for other graphs"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("build/peers"), metavar="DIR", help="environments"
    )
    parser.set_defaults(usage_error=parser.error)


_COUNTS = ("texts", "rounds", "threads", "calls", "alone", "many")


def execute(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 when a figure misses its limit or was not measured."""
    counts = {name: getattr(arguments, name) for name in _COUNTS}
    if min(counts.values()) < 1:
        arguments.usage_error(f"{', '.join(f'--{name}' for name in counts)}: expected at least 1")
    figures.begin(arguments)
    from polyhead_bench import checks as limits
    from polyhead_bench import runtime

    checks, found = [], {}
    for name, part, rows in runtime.parts(
        arguments.bundle,
        runtime.Sizes(seed=arguments.seed, **counts),
        checkpoint=arguments.checkpoint,
        cache=arguments.cache,
        note=output.progress,
    ):
        output.progress(f"measuring: {name}")
        more, found[name] = limits.attempt(part, rows)
        checks += more
        if arguments.output is not None:
            limits.write(arguments.output, "runtime", checks, found, complete=False)
    return figures.end(arguments, "runtime", checks, found, _tables(found))


def _tables(found: dict[str, Any]) -> str:
    """What there is in tables; parts that failed have none."""
    from polyhead_bench import intra_op, runtime, throughput

    tables = []
    if "texts_per_s" in found["throughput"]:
        rows = throughput.rows(found["throughput"])
        tables.append(output.table(["schedule", "texts/s", "same decisions"], rows))
    if rows := intra_op.rows(found["intra_op"]):
        header = ["tokens", "1 thread, ms", "several, ms", "ratio (95% interval)"]
        tables.append(output.table(header, rows))
    if "rows" in found["memory table"]:
        tables.append(runtime.memory_markdown(found["memory table"]))
    return "".join(f"\n{table}\n" for table in tables)
