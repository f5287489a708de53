"""The bundle's own graph with an attention mask, in the runtime's session: what padding costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyhead.bundle import read
from polyhead.inference.session import OnnxSession
from polyhead_bench.peers import padded


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load the graph in `folder`, which has all heads of the bundle."""
    heads = read(options["bundle"]).manifest.heads
    outputs = [heads[name].output for name in options["heads"]]

    def make(count: int) -> tuple[padded.Run, Sequence[str]]:
        single = OnnxSession(folder / "model.onnx")
        session = single if count == 1 else single.with_threads(count)
        return lambda feeds: session.run(outputs, feeds), session.inputs

    return padded.peer(make, threads, options, info={})
