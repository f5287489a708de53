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

    def make(count: int) -> tuple[padded.Run, list[str]]:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = count, 1
        file = str(folder / "model.onnx")
        session = ort.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
        inputs = [node.name for node in session.get_inputs()]
        return lambda feeds: session.run(outputs, feeds), inputs

    return padded.peer(make, threads, options, info={"onnxruntime": ort.__version__})
