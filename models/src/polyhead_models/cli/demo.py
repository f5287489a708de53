"""Train, evaluate, export, verify and measure a support-desk model, from nothing, in minutes.

Every stage is a command of polyhead, printed before it runs. What is there already is kept. The
messages are those of examples/support-desk in a checkout of the repository.

Example:
  polyhead demo -o build/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead demo`."""
    parser.add_argument("-o", "--output", type=Path, default=Path("polyhead-demo"), metavar="DIR")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="demo.toml and the three JSONL files (examples/support-desk of the checkout)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead demo`."""
    from polyhead_models.demo import SOURCE, Demo

    Demo(arguments.output, SOURCE if arguments.data is None else arguments.data).run()
    return 0
