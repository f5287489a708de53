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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.session import OnnxSession

_SECONDS, _FEWEST = 0.3, 3

Run = Callable[[dict[str, NDArray[np.int64]]], Sequence[Any]]


def main(path: str, options: str) -> None:
    """Serve until standard input ends."""
    run, inputs, outputs = _runtime(path) if options == "runtime" else _plain(path)
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            feeds = _feeds(np.array(asked["ids"], np.int64), inputs)
            arrays = zip(outputs, run(feeds), strict=True)
            _say({name: array.tolist() for name, array in arrays})
        else:
            ids = np.random.default_rng(asked[1]).integers(5, 100, asked, dtype=np.int64)
            _say(_times(run, _feeds(ids, inputs)))


def _times(run: Run, feeds: dict[str, NDArray[np.int64]]) -> list[float]:
    run(feeds)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times) < _FEWEST:
        start = time.perf_counter()
        run(feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _feeds(ids: NDArray[np.int64], inputs: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return {name: known.get(name, np.zeros_like(ids)) for name in inputs}


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _runtime(path: str) -> tuple[Run, Sequence[str], Sequence[str]]:
    session = OnnxSession(Path(path))
    return lambda feeds: session.run(session.outputs, feeds), session.inputs, session.outputs


def _plain(path: str) -> tuple[Run, Sequence[str], Sequence[str]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = [node.name for node in session.get_inputs()]
    outputs = [node.name for node in session.get_outputs()]
    return lambda feeds: session.run(None, feeds), inputs, outputs


if __name__ == "__main__":
    main(*sys.argv[1:])
