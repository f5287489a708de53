"""A graph in OpenVINO, timed; runs in an environment with `openvino`.

Started as ``python openvino_timer.py GRAPH.xml PRECISION``: PRECISION, ``f32`` or ``bf16``, is what
the operators compute in that are not int8. Speaks as `polyhead_bench.graphs.timer` does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import openvino as ov

_SECONDS, _FEWEST = 0.3, 3


def main(path: str, precision: str) -> None:
    """One thread, latency hint."""
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            found = request.infer(_feeds(np.array(asked["ids"], np.int64)))
            # A tensor that two outputs share has the names of both.
            _say({n: array.tolist() for port, array in found.items() for n in port.get_names()})
        else:
            ids = np.random.default_rng(asked[1]).integers(5, 100, asked, dtype=np.int64)
            _say(_times(request, _feeds(ids)))


def _times(request: Any, feeds: dict[str, Any]) -> list[float]:
    request.infer(feeds)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times) < _FEWEST:
        start = time.perf_counter()
        request.infer(feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _feeds(ids: Any) -> dict[str, Any]:
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
