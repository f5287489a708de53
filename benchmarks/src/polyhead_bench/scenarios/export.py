"""What an export takes: `polyhead export` of the checkpoint, as a user runs it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from polyhead_bench import commands
from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context

_PEER = "polyhead-int8"


def measure(context: Context) -> dict[str, Any]:
    """Of polyhead-int8: ``seconds`` and ``peak`` in bytes, with calibration and gate; once.

    The bundle is thrown away. A checkpoint that cannot be exported is a fault of the peer.
    """
    checkpoint = context.models.checkpoint
    if _PEER not in context.roster.workers:
        return context.found
    if checkpoint is None:
        context.roster.report(_PEER, "export: needs --checkpoint")
        return context.found
    with tempfile.TemporaryDirectory() as folder:
        try:
            cost = commands.measured(["export", checkpoint, "-o", Path(folder) / "bundle"])
        except PeerFault as fault:
            context.roster.report(_PEER, f"export: {fault}")
        else:
            context.found[_PEER] = {"seconds": [cost.seconds], "peak": [cost.peak]}
    return context.found
