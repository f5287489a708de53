"""A graph in OpenVINO, timed; runs in an environment with `openvino`.

Started as ``python openvino_timer.py GRAPH.xml``; speaks as `polyhead_bench.graphs.timer` does.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import openvino as ov

_SECONDS, _FEWEST = 0.3, 3


def main(path: str) -> None:
    """One thread, latency hint."""
    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    for line in sys.stdin:
        batch, tokens = json.loads(line)
        ids = np.random.default_rng(tokens).integers(5, 100, (batch, tokens), dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        request.infer(feeds)
        times: list[float] = []
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end or len(times) < _FEWEST:
            start = time.perf_counter()
            request.infer(feeds)
            times.append((time.perf_counter() - start) * 1e3)
        sys.stdout.write(json.dumps(times) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
