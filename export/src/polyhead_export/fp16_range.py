"""The nodes of a float graph that see values which fp16 cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.passes.half_precision import LARGEST
from polyhead_export.subgraph import session_of

LIMIT = LARGEST / 8
"""Texts that were not measured may reach further than those that were."""


def nodes_beyond_fp16(
    model: ir.Model, feeds: Iterable[Mapping[str, NDArray[np.int64]]], *, limit: float = LIMIT
) -> frozenset[str]:
    """Names of the nodes that make or read a value outside -limit to limit.

    Args:
        model: a float graph.
        feeds: inputs of the graph, such as tokenised texts; without any, no node is named.
        limit: of the absolute value; NaN and infinity are outside, too.
    """
    graph = model.graph
    values = [v for node in graph for v in node.outputs if v.dtype == ir.DataType.FLOAT]
    session = session_of(graph, graph.inputs, values)
    names = [value.name for value in values]
    beyond: set[ir.Value] = set()
    for feed in feeds:
        for value, array in zip(values, session.run(names, dict(feed)), strict=True):
            if array.size and not float(np.abs(array).max()) <= limit:
                beyond.add(value)
    nodes = [v.producer() for v in beyond] + [use.node for v in beyond for use in v.uses()]
    return frozenset(str(node.name) for node in nodes if node is not None)
