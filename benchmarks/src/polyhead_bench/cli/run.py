"""Measure a bundle and its peers in scenarios, and write a report.

Writes results.json (all samples), report.md and its pictures. Peers that need the PyTorch model or
another export need --checkpoint. A peer that cannot be loaded, crashes, hangs or gives other
answers is reported; the others go on. With --check, exit code 1 when a figure misses its limit or
was not measured, see `polyhead bench check`.

Examples:
  polyhead bench run bundle/ --checkpoint checkpoint/ -o report/
  polyhead bench run bundle/ --checkpoint checkpoint/ --peers polyhead-int8,torch --heads topic
  polyhead bench run bundle/ --checkpoint checkpoint/ --scenarios shapes --threads 1 --check
  polyhead bench run bundle/ --scenarios soak --peers polyhead-int8 --minutes 30 --check
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from polyhead.cli import output
from polyhead.inference import threads
from polyhead_bench import peers, scenarios
from polyhead_bench.cli import check
from polyhead_bench.convert.cache import Models
from polyhead_bench.report.tables import tables
from polyhead_bench.run import run
from polyhead_bench.scenarios import RunSettings
from polyhead_bench.texts import GOLDEN, SYNTHETIC, asked_of

_COUNTS: Mapping[str, tuple[int, str]] = {
    "limit": (300, "at most N texts"),
    "rounds": (9, "of each peer"),
    "callers": (16, "threads of concurrency and soak"),
    "calls": (2000, "of each caller in concurrency"),
    "many": (10_000, "texts of memory"),
}
_SETTINGS = ("rounds", "callers", "calls", "many", "minutes", "limit_s")
_NUMBERS: Mapping[str, tuple[float, str, str]] = {
    "mean": (28.0, "TOKENS", "of the seeded mix"),
    "p99-ms": (50.0, "MS", "bound of the open loop"),
    "limit-s": (300.0, "S", "for a peer's answer"),
    "minutes": (30.0, "N", "of soak"),
}
_FOLDERS: Mapping[str, tuple[str, str]] = {
    "cache": ("build/bench", "for models in other forms"),
    "environments": ("build/peers", "that 'polyhead bench setup' made"),
    "output": ("build/report", "of the report"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench run`."""
    add = parser.add_argument
    usual = tuple(name for name, spec in peers.PEERS.items() if spec.usual)
    add("bundle", type=Path, metavar="BUNDLE")
    add("--checkpoint", type=Path, metavar="CHECKPOINT", help="behind the bundle")
    add("--student", type=Path, metavar="BUNDLE", help="that of the peer polyhead-student")
    for name, default, about in (
        ("--peers", usual, f"ratios are of the first; {', '.join(peers.PEERS)}"),
        ("--scenarios", scenarios.USUAL, ", ".join(scenarios.SCENARIOS)),
        ("--heads", (), "to answer with"),
    ):
        text = f"{about} ({', '.join(default) or 'all'})"
        add(name, type=names, default=default, metavar="NAME[,NAME…]", help=text)
    add(
        "--texts",
        default=SYNTHETIC,
        metavar="FILE.jsonl",
        help=f"or {GOLDEN}, the bundle's own; or {SYNTHETIC}, a seeded mix of lengths, cut from"
        f" these ({SYNTHETIC})",
    )
    add("--field", default="text", help="key of the text in a line (text)")
    add("--seed", type=int, default=0, help="of the mix of lengths (0)")
    add("--threads", type=int, metavar="N", help="each peer's (all of them)")
    for name, (count, about) in _COUNTS.items():
        add(f"--{name}", type=int, default=count, metavar="N", help=f"{about} ({count})")
    for name, (number, unit, about) in _NUMBERS.items():
        text = f"{about} ({number:g})"
        add(f"--{name}", type=float, default=number, metavar=unit, help=text)
    for name, (folder, about) in _FOLDERS.items():
        flags = ["-o"] * (name == "output") + [f"--{name}"]
        text = f"{about} ({folder})"
        add(*flags, type=Path, default=Path(folder), metavar="DIR", help=text)
    add("--check", action="store_true", help="then hold the run against limits")
    check.add_limits(parser)
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench run`."""
    _check_usage(arguments)
    models = Models(
        bundle=arguments.bundle,
        checkpoint=arguments.checkpoint,
        student=arguments.student,
        cache=arguments.cache,
        environments=arguments.environments,
    )
    settings = RunSettings(
        peers=arguments.peers,
        scenarios=arguments.scenarios,
        heads=arguments.heads,
        threads=threads.budget(arguments.threads),
        bound_ms=arguments.p99_ms,
        **{name: getattr(arguments, name) for name in _SETTINGS},
        command=f"polyhead {shlex.join(sys.argv[1:])}",
    )
    texts = asked_of(
        arguments.bundle,
        arguments.texts,
        field=arguments.field,
        limit=arguments.limit,
        mean=arguments.mean,
        seed=arguments.seed,
    )
    results = run(models, texts, arguments.output, settings)
    for table in tables(results):
        output.write(f"{table.title}\n")
        output.write(output.table(list(table.header), [list(row) for row in table.rows]))
        output.write("")
    output.progress(f"report: {arguments.output / 'report.md'}")
    return check.checked(results, arguments) if arguments.check else 0


def _check_usage(arguments: argparse.Namespace) -> None:
    if min(getattr(arguments, name) for name in _COUNTS) < 1 or arguments.minutes <= 0:
        counts = ", ".join(f"--{name}" for name in _COUNTS)
        arguments.usage_error(f"{counts}: expected at least 1; --minutes: more than 0")


def names(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
