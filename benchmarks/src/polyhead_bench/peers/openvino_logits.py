"""OpenVINO reads an ONNX graph; runs in an environment with `openvino` and numpy.

Started as ``python openvino_logits.py GRAPH.onnx FEEDS.npz LOGITS.npz``. FEEDS holds arrays called
``<row>/<input>``, LOGITS gets arrays called ``<row>/<output>``.
"""

from __future__ import annotations

import collections
import sys
from typing import Any

import numpy as np
import openvino as ov


def main(graph: str, feeds: str, logits: str) -> None:
    """Run every row by itself, on one thread, in the precision that the graph says."""
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(graph, "CPU", options)
    rows: dict[int, dict[str, Any]] = collections.defaultdict(dict)
    with np.load(feeds) as arrays:
        for name in arrays.files:
            row, _, given = name.partition("/")
            rows[int(row)][given] = arrays[name]
    found = {}
    for row in sorted(rows):
        for port, array in compiled(rows[row]).items():
            found[f"{row}/{port.get_any_name()}"] = array
    np.savez(logits, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
