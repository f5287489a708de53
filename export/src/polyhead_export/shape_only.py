"""Values of a graph that depend on the input's shape only, never on the token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.subgraph import session_of


def shape_only(graph: ir.Graph) -> set[ir.Value]:
    """Values that are computed from the shapes of inputs and from constants alone."""
    found: set[ir.Value] = set()
    for node in graph:
        known = all(v is None or v in found or v.is_initializer() for v in node.inputs)
        if node.op_type == "Shape" or known:
            found.update(node.outputs)
    return found


def require_token_inputs(graph: ir.Graph) -> None:
    """What `evaluate` takes for granted.

    Raises:
        PreconditionError: when an input is not int64 `(batch, tokens)`.
    """
    wrong = [
        value.name
        for value in graph.inputs
        if value.dtype != ir.DataType.INT64 or value.shape is None or len(value.shape) != 2
    ]
    if wrong:
        raise ir.passes.PreconditionError(f"inputs that are not int64 (batch, tokens): {wrong}")


def evaluate(
    graph: ir.Graph, values: Sequence[ir.Value], shapes: Sequence[tuple[int, int]]
) -> list[list[NDArray[Any]]]:
    """Compute shape-only values.

    Args:
        graph: a sorted graph whose inputs are int64 `(batch, tokens)`.
        values: what to compute.
        shapes: `(batch, tokens)` pairs.

    Returns:
        For each shape, one array a value.
    """
    if not values:
        return [[] for _ in shapes]
    session = session_of(graph, graph.inputs, values)
    names = [value.name for value in values]
    return [
        session.run(names, {i.name: np.zeros(shape, np.int64) for i in session.get_inputs()})
        for shape in shapes
    ]
