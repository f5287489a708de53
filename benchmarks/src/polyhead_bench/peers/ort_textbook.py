"""Onnxruntime as its documentation shows it: its BERT optimiser, then `quantize_dynamic`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from polyhead.bundle import read
from polyhead_bench.peers import padded


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load the graph in `folder`, which has all wanted heads."""
    heads = read(options["bundle"]).manifest.heads
    outputs = [heads[name].output for name in options["heads"]]
    session = _session(folder, threads)
    inputs = [node.name for node in session.get_inputs()]

    def runner(session: ort.InferenceSession) -> padded.Run:
        return lambda feeds: session.run(outputs, feeds)

    def workers() -> list[padded.Run]:
        return [runner(_session(folder, 1)) for _ in range(threads)]

    info = {"onnxruntime": ort.__version__, "threads": threads}
    side_by_side = workers if threads > 1 else None
    return padded.peer(runner(session), inputs, options, info=info, workers=side_by_side)


def _session(folder: Path, threads: int) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    file = str(folder / "model.onnx")
    return ort.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
