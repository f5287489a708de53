"""OpenVINO with the latency hint: over NNCF's int8 graph, or over a bundle's in standard ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from polyhead.bundle import read
from polyhead_bench.peers import padded
from polyhead_bench.peers.base import Feeds


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load the graph in `folder`, which has all wanted heads.

    Args:
        folder: with a ``model.xml``, or a bundle with a graph in standard ONNX.
        threads: that OpenVINO may use.
        options: ``multiple`` pads lengths to multiples of it; ``precision`` is what computes where
            the graph is not int8, OpenVINO's own choice without it.
    """
    heads = read(options["bundle"]).manifest.heads
    outputs = [heads[name].output for name in options["heads"]]
    core = ov.Core()
    model = core.read_model(_graph(folder))
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if "precision" in options:
        settings["INFERENCE_PRECISION_HINT"] = options["precision"]

    def runner(compiled: Any) -> padded.Run:
        request = compiled.create_infer_request()

        def run(feeds: Feeds) -> list[Any]:
            request.infer(dict(feeds))
            return [request.get_tensor(name).data for name in outputs]

        return run

    def workers() -> list[padded.Run]:
        # OpenVINO's own way: one model, a stream of one thread for each of its callers.
        compiled = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": threads})
        return [runner(compiled) for _ in range(threads)]

    compiled = core.compile_model(model, "CPU", settings)
    inputs = [port.get_any_name() for port in compiled.inputs]
    return padded.peer(
        lambda _: (runner(compiled), inputs),
        threads,
        options,
        info={
            "openvino": ov.__version__,
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            "precision": str(compiled.get_property("INFERENCE_PRECISION_HINT")),
        },
        workers=workers,
        multiple=options.get("multiple", 1),
    )


def _graph(folder: Path) -> Path:
    """The graph's file; of a bundle, the first in standard ONNX."""
    if (folder / "model.xml").is_file():
        return folder / "model.xml"
    bundle = read(folder)
    return bundle.file(next(g for g in bundle.manifest.graphs if g.target == "onnx"))
