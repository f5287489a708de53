"""`polyhead bench runtime` and `polyhead bench soak`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyhead.bundle import read
from polyhead.cli import output


def configure_runtime(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench runtime`."""
    _configure(parser)
    parser.add_argument("--texts", type=int, default=1500, metavar="N", help="ragged list (1500)")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="of each engine (6)")
    parser.add_argument("--threads", type=int, default=16, metavar="N", help="that call (16)")
    parser.add_argument("--calls", type=int, default=20_000, metavar="N", help="of each (20000)")
    parser.set_defaults(usage_error=parser.error, measurement=run_runtime)


def configure_soak(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench soak`."""
    _configure(parser)
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="how long (30)")
    parser.add_argument("--threads", type=int, default=8, metavar="N", help="that call (8)")
    parser.set_defaults(usage_error=parser.error, measurement=run_soak)


def run_runtime(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 when a figure misses its limit."""
    from polyhead_bench import runtime

    counts = (arguments.texts, arguments.rounds, arguments.threads, arguments.calls)
    if min(counts) < 1:
        arguments.usage_error("--texts, --rounds, --threads and --calls: expected at least 1")
    read(arguments.bundle)
    sizes = runtime.Sizes(
        texts=arguments.texts,
        rounds=arguments.rounds,
        threads=arguments.threads,
        calls=arguments.calls,
        seed=arguments.seed,
    )
    checks, figures = runtime.run(arguments.bundle, sizes, output.progress)
    rows = figures["memory table"]
    counts_of = sorted({row["threads"] for row in rows})
    header = ["batch_tokens", *(f"MiB, {n} thread{'s'[: n > 1]}" for n in counts_of)]
    memory = output.table(header, runtime.memory_rows(rows))
    return _end(arguments, "runtime", checks, figures, f"\n{memory}")


def run_soak(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 when a figure misses its limit."""
    from polyhead_bench import soak

    if arguments.minutes <= 0 or arguments.threads < 1:
        arguments.usage_error("--minutes and --threads: expected more than 0")
    read(arguments.bundle)
    checks, figures = soak.run(
        arguments.bundle,
        minutes=arguments.minutes,
        threads=arguments.threads,
        seed=arguments.seed,
    )
    rows = [
        [i + 1, f"{s['rss']:.0f}", f"{s['p50']:.2f}", f"{s['p99']:.2f}", int(s["texts"])]
        for i, s in enumerate(figures["slices"])
    ]
    slices = output.table(["slice", "MiB", "p50 ms", "p99 ms", "texts alone"], rows)
    return _end(arguments, "soak", checks, figures, f"\n{slices}")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--seed", type=int, default=0, help="of the texts (0)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the figures are written as JSON (nowhere)",
    )


def _end(
    arguments: argparse.Namespace,
    name: str,
    checks: Sequence[Any],
    figures: dict[str, Any],
    more: str,
) -> int:
    from polyhead_bench import checks as figures_of

    output.write(figures_of.table(checks))
    output.write(more)
    if arguments.output is not None:
        path = figures_of.write(arguments.output, name, checks, figures)
        output.progress(f"written: {path}")
    return 0 if figures_of.passed(checks) else 1
