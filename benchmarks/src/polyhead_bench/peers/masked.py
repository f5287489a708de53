"""The bundle's own graph with an attention mask, in the runtime's session: what padding costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhead.bundle import read
from polyhead.inference.session import Backend, OnnxSession
from polyhead_bench.peers import padded


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load the graph in `folder`, which has all heads of the bundle."""
    heads = read(options["bundle"]).manifest.heads
    outputs = [heads[name].output for name in options["heads"]]
    file = folder / "model.onnx"

    def runner(session: Backend) -> padded.Run:
        return lambda feeds: session.run(outputs, feeds)

    alone = OnnxSession(file)
    together = alone if threads == 1 else alone.with_threads(threads)

    def workers() -> list[padded.Run]:
        return [runner(alone)] * threads  # a session may be called from many threads

    side_by_side = workers if threads > 1 else None
    inputs, info = alone.inputs, {"threads": threads}
    return padded.peer(runner(together), inputs, options, info=info, workers=side_by_side)
