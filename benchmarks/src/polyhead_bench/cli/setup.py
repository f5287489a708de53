"""Make the virtual environments that peers need whose libraries clash with ours.

An environment that is there with the same pins is left as it is. One that cannot be made is told,
the others go on; exit code 1 then.

Examples:
  polyhead bench setup
  polyhead bench setup optimum openvino --environments build/peers
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output
from polyhead_bench import environments
from polyhead_bench.errors import PeerFault


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench setup`."""
    parser.add_argument(
        "names", nargs="*", metavar="ENVIRONMENT", help="files in the folder of pins (all)"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path("build/peers"),
        metavar="DIR",
        help="where they are kept (build/peers)",
    )
    parser.add_argument(
        "--pins",
        type=Path,
        default=Path("benchmarks/environments"),
        metavar="DIR",
        help="folder with a NAME.txt for each (benchmarks/environments)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench setup`."""
    names = arguments.names or sorted(path.stem for path in arguments.pins.glob("*.txt"))
    rows = []
    for name in names:
        try:
            python = environments.install(
                arguments.environments,
                name,
                arguments.pins / f"{name}.txt",
                note=output.progress,
            )
            rows.append([name, "ready", str(python)])
        except PeerFault as fault:
            rows.append([name, "failed", str(fault)])
    output.write(output.table(["environment", "state", "python, or what went wrong"], rows))
    return 0 if rows and all(row[1] == "ready" for row in rows) else 1
