"""Make the virtual environments that peers need whose libraries clash with ours.

A name is a peer's or an environment's. An environment that is there with the same pins is left as
it is. One that cannot be made is reported, the others go on; exit code 1 then.

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
        help="of `polyhead bench run`, or environments (all of these)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path("build/peers"),
        metavar="DIR",
        help="where they are kept (build/peers)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench setup`."""
    known = sorted(path.stem for path in environments.PINS.glob("*.txt"))
    rows = []
    for name in arguments.names or known:
        try:
            rows.append([name, "ready", str(_install(name, arguments.environments))])
        except PeerFault as fault:
            rows.append([name, "failed", str(fault)])
    output.write(output.table(["peer", "state", "python, or what went wrong"], rows))
    return 0 if all(row[1] == "ready" for row in rows) else 1


def _install(name: str, cache: Path) -> Path:
    """Make what a peer or an environment of this name needs; its interpreter."""
    environment = peers.PEERS[name].environment if name in peers.PEERS else name
    if environment is None:
        peers.check_installed(name)
        return Path(sys.executable)
    return environments.install(cache, environment)
