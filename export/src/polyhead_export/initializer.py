"""Adds a constant to a graph."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray


def add_constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer of `graph` with the values and dtype of `array`; `name` must be free."""
    value = ir.Value(name=name, const_value=ir.tensor(array))
    graph.register_initializer(value)
    return value
