"""One graph in a process of its own, timed at the shapes that it is told.

Started as ``python -m polyhead_bench.graphs.timer GRAPH.onnx OPTIONS``: OPTIONS ``runtime`` runs it
as the runtime does, ``plain`` with onnxruntime's defaults; one thread either way. It says
``{"ready": true}``; each line ``[batch, tokens]`` is answered by a list of milliseconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.session import OnnxSession

_SECONDS, _FEWEST = 0.3, 3


def main(path: str, options: str) -> None:
    """Serve until standard input ends."""
    run, inputs = _runtime(path) if options == "runtime" else _plain(path)
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    for line in sys.stdin:
        batch, tokens = json.loads(line)
        ids = np.random.default_rng(tokens).integers(5, 100, (batch, tokens), dtype=np.int64)
        known = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        feeds = {name: known.get(name, np.zeros_like(ids)) for name in inputs}
        run(feeds)
        times: list[float] = []
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end or len(times) < _FEWEST:
            start = time.perf_counter()
            run(feeds)
            times.append((time.perf_counter() - start) * 1e3)
        sys.stdout.write(json.dumps(times) + "\n")
        sys.stdout.flush()


def _runtime(path: str) -> tuple[Callable[[dict[str, Any]], Any], list[str]]:
    session = OnnxSession(Path(path))
    return lambda feeds: session.run(session.outputs, feeds), list(session.inputs)


def _plain(path: str) -> tuple[Callable[[dict[str, Any]], Any], list[str]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda feeds: session.run(None, feeds), names


if __name__ == "__main__":
    main(*sys.argv[1:])
