"""One engine in a process of its own, driven over pipes by JSON lines.

Started as ``python -m polyhead_bench.worker ENGINE FOLDER THREADS``. It says ``{"ready": true}``
once loaded and warm; then each line ``["text", …]`` is answered by
``{"ms": […], "decisions": […]}``: one text at a time, tokenising and decoding inside the time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from polyhead import Prediction
from polyhead_bench.engines import ENGINES

_WARM_UP = ("Hello.", "The battery of my phone died in May, and nobody answers my messages. " * 3)


def main(name: str, folder: str, threads: str) -> None:
    """Serve until standard input ends."""
    engine = ENGINES[name](Path(folder), int(threads))
    pairs_only = all(spec.input == "pair" for spec in engine.heads.values())
    for text in _WARM_UP * 5:
        engine((text, text) if pairs_only else text)
    _say({"ready": True})
    for line in sys.stdin:
        times, decisions = [], []
        for text in json.loads(line):
            start = time.perf_counter()
            prediction = engine(text)
            times.append((time.perf_counter() - start) * 1e3)
            decisions.append(_decisions(prediction))
        _say({"ms": times, "decisions": decisions})


def _decisions(prediction: Prediction) -> dict[str, Any]:
    return {name: result.decision for name, result in prediction.results.items()}


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
