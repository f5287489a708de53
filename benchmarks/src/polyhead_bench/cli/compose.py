"""What combining costs and saves, with pass or fail for each figure.

Five single-task sub-models over one encoder, combined: against one head alone, and against the five
run one after the other. Two encoders behind one engine: against one after the other. --optimum is
the python of an environment with optimum-onnx: its int8 folder is run in the lean runtime and
in ORTModel, one text at a time. Sub-models are made of the encoder with untrained linear heads:
times do not depend on what a head has learned. Engines take turns in each round; a figure of times
is the median of the rounds' ratios, with a bootstrap 95% interval. The load average before and
after is told, since what else ran is in the figures.

Example:
  polyhead bench compose -o benchmarks/results/compose.json --optimum peers/optimum/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.system import atomic
from polyhead_bench.folders import require_writable

if TYPE_CHECKING:
    from polyhead_bench.compose import Figure

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench compose`."""
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.json", help="the figures as JSON"
    )
    parser.add_argument("--encoder", default=MINILM, metavar="NAME", help=f"({MINILM})")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="of each engine (15)")
    parser.add_argument("--heads", type=int, default=5, metavar="N", help="sub-models (5)")
    parser.add_argument("--optimum", type=Path, metavar="PYTHON", help="of Optimum's environment")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep what is made here")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench compose`; 1 when a figure is not reached."""
    if arguments.rounds < 1 or arguments.heads < 2:
        arguments.usage_error("--rounds: expected at least 1; --heads: at least 2")
    if arguments.output is not None:
        require_writable(arguments.output.parent)
    from polyhead_bench import compose, machine

    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        made = compose.prepare(arguments.encoder, work, heads=arguments.heads, note=output.progress)
        figures = compose.measure(made, rounds=arguments.rounds)
        if arguments.optimum is not None:
            figures.append(
                compose.against_optimum(made, arguments.optimum, rounds=arguments.rounds)
            )
    load.append(os.getloadavg()[0])
    if arguments.output is not None:
        data = {
            "machine": machine.describe(),
            "load_average": dict(zip(("before", "after"), load, strict=True)),
            "rounds": arguments.rounds,
            "figures": [figure.to_dict() for figure in figures],
        }
        atomic.write_text(arguments.output, json.dumps(data, indent=1) + "\n")
    rows = [
        [f.name, *_shown(f), f"{f.sign} {f.wanted:g}", "pass" if f.passed else "FAIL"]
        for f in figures
    ]
    output.write(output.table(["figure", "found", "95% interval", "wanted", ""], rows))
    for figure in figures:
        if figure.fault is not None:
            output.progress(f"{figure.name}: {figure.fault}")
    output.progress(f"load average: {load[0]:.2f} before, {load[1]:.2f} after")
    return 0 if all(figure.passed for figure in figures) else 1


def _shown(figure: Figure) -> tuple[str, str]:
    if figure.found is None:
        return "-", "-"
    between = "-" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
    return f"{figure.found:.3f}", between
