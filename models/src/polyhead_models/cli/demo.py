"""Train, evaluate, export, verify and measure a support-desk model, from nothing, in minutes.

Every stage is a command of polyhead, printed before it runs. What is there already is kept.

Example:
  polyhead demo -o build/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead demo`."""
    parser.add_argument("-o", "--output", type=Path, default=Path("polyhead-demo"), metavar="DIR")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead demo`."""
    from polyhead_models.demo.stages import Demo

    Demo(arguments.output).run()
    return 0
