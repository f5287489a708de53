"""One graph in a process of its own, asked for its outputs, then timed at shapes.

Started as ``python -m polyhead_bench.graphs.timer GRAPH.onnx OPTIONS``: OPTIONS ``runtime`` runs it
as the runtime does, ``plain`` with onnxruntime's defaults; one thread either way. It says
``{"ready": true}``. A line ``{"ids": [[…]]}`` is answered by all outputs by name, as nested lists;
a line ``[batch, tokens]`` by a list of milliseconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from polyhead_bench.graphs.session import Opened, Options, feeds, opened

_SECONDS, _FEWEST = 0.3, 3


def main(path: str, options: str) -> None:
    """Serve until standard input ends."""
    graph = opened(Path(path), cast(Options, options))
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            found = graph.all(feeds(np.array(asked["ids"], np.int64), graph.inputs))
            _say({name: array.tolist() for name, array in found.items()})
        else:
            ids = np.random.default_rng(asked[1]).integers(5, 100, asked, dtype=np.int64)
            _say(_times(graph, feeds(ids, graph.inputs)))


def _times(graph: Opened, given: dict[str, NDArray[np.int64]]) -> list[float]:
    graph.run(graph.outputs, given)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times) < _FEWEST:
        start = time.perf_counter()
        graph.run(graph.outputs, given)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
