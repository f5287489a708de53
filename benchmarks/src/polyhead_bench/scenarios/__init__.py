"""Ways of asking, after MLPerf LoadGen (Reddi et al. 2020, section 4.1), one file each.

A scenario is a function of a `Context`; it gives plain data by peer, which goes into results.json
as it is. Rounds are interleaved A-B-B-A; a peer that fails is left out of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyhead_bench.scenarios import (
    concurrency,
    heads,
    lengths,
    memory,
    offline,
    profile,
    server,
    shapes,
    single,
    soak,
    startup,
)
from polyhead_bench.scenarios.context import Context, RunSettings

SCENARIOS: dict[str, Callable[[Context], dict[str, Any]]] = {
    "single": single.measure,
    "offline": offline.measure,
    "lengths": lengths.measure,
    "shapes": shapes.measure,
    "server": server.measure,
    "heads": heads.measure,
    "startup": startup.measure,
    "profile": profile.measure,
    "memory": memory.measure,
    "concurrency": concurrency.measure,
    "soak": soak.measure,
}
"""By name, in the order in which they run."""

USUAL = ("single", "offline", "lengths", "server", "heads", "startup", "profile")
"""Those of a run that names none."""

__all__ = ["SCENARIOS", "USUAL", "Context", "RunSettings"]
