"""Make the virtual environments that peers need whose libraries clash with ours.

A name is a peer's or an environment's. An environment that is there with the same pins is left as
it is. One that cannot be made is told, the others go on; exit code 1 then.

Examples:
  polyhead bench setup
  polyhead bench setup optimum-int8 openvino-int8 --environments build/peers
  polyhead bench setup openvino
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from polyhead.cli import output
from polyhead_bench import environments, peers
from polyhead_bench.errors import PeerFault


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench setup`."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="PEER",
        help="of `polyhead bench run`, or files in the folder of pins (all of these)",
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
            rows.append([name, "ready", str(_install(name, arguments))])
        except PeerFault as fault:
            rows.append([name, "failed", str(fault)])
    output.write(output.table(["peer", "state", "python, or what went wrong"], rows))
    return 0 if rows and all(row[1] == "ready" for row in rows) else 1


def _install(name: str, arguments: argparse.Namespace) -> Path:
    """Make what a peer or an environment of this name needs; its interpreter."""
    environment: str | None = name
    if name in peers.PEERS:
        environment = peers.PEERS[name].environment
    if environment is None:
        peers.check_installed(name)
        return Path(sys.executable)
    pins = arguments.pins / f"{environment}.txt"
    return environments.install(arguments.environments, environment, pins, note=output.progress)
