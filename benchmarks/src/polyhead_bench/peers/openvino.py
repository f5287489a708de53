"""OpenVINO over NNCF's int8 graph, with the latency hint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from polyhead.bundle import read
from polyhead_bench.peers import padded


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load the graph in `folder`, which has all wanted heads; ``multiple`` pads lengths to it."""
    heads = read(options["bundle"]).manifest.heads
    outputs = [heads[name].output for name in options["heads"]]
    core = ov.Core()
    model = core.read_model(folder / "model.xml")
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}

    def runner(compiled: Any) -> padded.Run:
        request = compiled.create_infer_request()

        def run(feeds: dict[str, Any]) -> list[Any]:
            request.infer(feeds)
            return [request.get_tensor(name).data for name in outputs]

        return run

    def workers() -> list[padded.Run]:
        # OpenVINO's own way: one model, a stream of one thread for each of its callers.
        compiled = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": threads})
        return [runner(compiled) for _ in range(threads)]

    compiled = core.compile_model(model, "CPU", settings)
    info = {
        "openvino": ov.__version__,
        "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
        "precision": str(compiled.get_property("INFERENCE_PRECISION_HINT")),
    }
    return padded.peer(
        runner(compiled),
        [port.get_any_name() for port in compiled.inputs],
        options,
        info=info,
        workers=workers if threads > 1 else None,
        multiple=options.get("multiple", 1),
    )
