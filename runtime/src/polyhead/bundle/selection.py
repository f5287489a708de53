"""Which graph of a bundle is run."""

from __future__ import annotations

from collections.abc import Iterable

from polyhead.bundle.head_spec import check_name
from polyhead.bundle.manifest import Graph, Manifest
from polyhead.errors import ProviderUnavailable

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
"""Execution providers of onnxruntime."""

# By preference: layout and target. A CPU runs rows of equal length without a mask; a GPU wants
# large batches, and so a mask. int8 lowered for the CPU does not run on CUDA.
_SUITABLE = {
    CPU: (("exact", "ort-cpu"), ("exact", "onnx"), ("padded", "onnx")),
    CUDA: (("padded", "ort-cuda"), ("padded", "onnx")),
}


def graph_for(
    manifest: Manifest,
    provider: str,
    heads: Iterable[str] | None = None,
    precision: str | None = None,
) -> Graph:
    """The graph that a provider runs best.

    Of the graphs in the best layout for the provider, the first in the manifest. If
    heads are named, the smallest one with the same precision, layout and target that has them all,
    so that their answers stay the same to the bit.

    Args:
        manifest: of the bundle.
        provider: onnxruntime's name.
        heads: names of the wanted heads; None for those of the bundle's first graph.
        precision: of the graph; None for any.

    Raises:
        UnknownHead: for a head that no graph of the bundle has.
        ProviderUnavailable: when no graph suits the provider, and has the heads and the precision.
    """
    wanted = set(manifest.graphs[0].heads if heads is None else heads)
    for name in sorted(wanted, key=str):
        check_name(name, manifest.heads)
    for layout, target in _SUITABLE[provider]:
        having = [
            graph
            for graph in manifest.graphs
            if (graph.layout, graph.target) == (layout, target)
            and wanted <= set(graph.heads)
            and precision in (None, graph.precision)
        ]
        if having and heads is None:
            return having[0]
        if having:
            alike = [graph for graph in having if graph.precision == having[0].precision]
            return min(alike, key=lambda graph: graph.size)
    found = ", ".join(
        f"{g.file} ({g.precision}, {g.layout}, {g.target}: {list(g.heads)})"
        for g in manifest.graphs
    )
    asked = "" if precision is None else f" in {precision}"
    also = "cuda" if provider == CUDA else "fp32" if precision == "fp32" else ""
    raise ProviderUnavailable(
        f"no graph of this bundle has {sorted(wanted)!s:.500}{asked} for {provider}; it has"
        f" {found:.999}. Export again{f' with --also {also}' if also else ''}, or ask for other"
        f" heads{' or another precision' if asked else ''}."
    )
